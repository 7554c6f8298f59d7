"""What people type, or a cat on the keyboard: nothing of it is a number, a choice or a path. Not here: what is answered."""

RUBBISH = ["x" * 10_000, "\0", "\U0001f600", "[", "{a: b", "- a", "!!python/object:x", "&a *a", "%", "'", '"', "\ud800", "nan", "-1"]
