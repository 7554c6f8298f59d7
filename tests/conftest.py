"""What holds for all tests."""

import signal

# A shell that starts tests in its background has Ctrl-C ignored in them and in every program that they start.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
