"""What holds for all tests."""

import signal

import pytest

import windows_house

BARE = ("test_windows_front.py", "test_windows_offline.py", "test_windows_releases.py")  # need no environment on Windows

# A shell that starts tests in its background has Ctrl-C ignored in them and in every program that they start.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config, items):
    """Side by side (-n), what takes longest begins first: Windows, then the files with slow tests."""
    if hasattr(config, "workerinput"):
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: (not item.get_closest_marker("windows"), item.path not in slow))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """A file's tests stay in one process, because they share what they made; so do those of Windows that share an environment."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file = nodeid.split("::")[0]
            name = file.rpartition("/")[2]
            return file if not name.startswith("test_windows") else "windows, bare" if name in BARE else "windows"

    return ByFile(config, log)


@pytest.fixture(scope="session")
def house():
    """A copy of the checkout on Windows, without an environment until a test makes it; one for the whole session."""
    yield from windows_house.made()


@pytest.fixture(scope="session")
def baker(house):
    """The same with its environment (four minutes, once): what test_windows.py makes, for whoever runs another file alone."""
    if not (house / "venv" / "current.txt").exists():
        done = windows_house.setup(house, limit_s=windows_house.BUILD_LIMIT_S)
        assert done.returncode == 0, done.stdout + done.stderr
    return house
