"""Only one start makes environments or exchanges releases at a time; the others wait. The system lets the lock go when its holder dies.

Not here: the locks of jobs on a folder (locks.py), which need installed packages. Standard library only, any Python 3.8 or newer.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lorabake import console, switching
from lorabake.errors import UserError

WAIT_EVERY_S, WAIT_SAID_EVERY_S = 0.5, 60.0


@contextmanager
def locked(root: Path, *, what: str = "the environment", others: str = "another start is making the environment") -> Iterator[None]:
    """Alone in the folder `root`, which is made. `what` cannot be made here: UserError; `others` do it just now: it is said, and waited."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        number = os.open(root / "_lock", os.O_RDWR | os.O_CREAT)
    except OSError as error:
        todo = "put lorabake into a folder of your own (not Program Files), or set LORABAKE_PYTHON=current and use your own Python"
        raise UserError(f"{what} cannot be made here: {error.strerror}", where=str(root), todo=todo) from error
    try:
        said_at = None
        while not switching.try_lock(number):
            if said_at is None or time.monotonic() - said_at > WAIT_SAID_EVERY_S:
                console.say(f"{others}; waiting for it")
                said_at = time.monotonic()
            time.sleep(WAIT_EVERY_S)
        yield
    finally:
        os.close(number)
