"""A process that takes and gives back the lock of a folder again and again, for the tests of locks: whoever holds it is alone, or says so.

Start it with the folder, the number of times, and a word: `plain`, `no-links` or `nfs`.
"""

import errno
import os
import random
import stat
import sys
import time
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "py"))

from lorabake import locks
from lorabake.errors import UserError


def refuse(*_, **__):
    raise PermissionError(1, "no second names on this disk")


def flock_of_nfs(real):
    """NFS locks only what was opened for writing, which a folder never is."""

    def flock(number, how):
        if stat.S_ISDIR(os.fstat(number).st_mode):
            raise OSError(errno.EBADF, "Bad file descriptor")
        return real(number, how)

    return flock


def alone(folder: Path) -> bool:
    """Whether nobody else is inside. The mark of being inside is not made by the module that is tested."""
    try:
        number = os.open(folder / "inside", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return False
    time.sleep(random.random() * 0.003)
    os.close(number)
    (folder / "inside").unlink()
    return True


def main(folder: Path, times: int, how: str) -> int:
    if how == "no-links":
        locks.os.link = refuse
    if how == "nfs":
        import fcntl

        fcntl.flock = flock_of_nfs(fcntl.flock)
    held = 0
    for _ in range(times):
        try:
            with locks.dataset(folder):
                held += 1
                if not alone(folder):
                    print("two holders at once")
                    return 1
                if random.random() < 0.3:  # die with the lock: its file stays, and the next one takes it over
                    left = f'{{"pid": {dead()}, "since": 1.0}}'
                    with suppress(OSError):
                        (folder / "_lock.json").write_text(left, encoding="utf-8")
        except UserError:
            time.sleep(0.001)
    print(f"held {held} times")
    return 0


def dead() -> int:
    """A number that no process has."""
    return 2**22 + random.randrange(1000, 2000)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
