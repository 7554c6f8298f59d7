"""What holds for all tests."""

import signal

import pytest

import windows_house

# A shell that starts tests in its background has Ctrl-C ignored in them and in every program that they start.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(config, items):
    """Side by side (-n): a file's tests stay in one process, all of Windows' in one more, and what takes longest begins first."""
    if not getattr(config.option, "loadgroup", False):  # which xdist sets in the processes that run tests
        return
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    for item in items:
        item.add_marker(pytest.mark.xdist_group("windows" if item.get_closest_marker("windows") else item.path.stem))
    items.sort(key=lambda item: (not item.get_closest_marker("windows"), item.path not in slow))


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
