"""What every test process has, however it was started."""

from __future__ import annotations

import signal
from collections.abc import Sequence

import pytest

# A shell lets what it puts in the background ignore these two, and so would everything that a test starts.
for _number, _usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGQUIT, signal.SIG_DFL)):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, _usual)


def pytest_collection_modifyitems(items: Sequence[pytest.Function]) -> None:
    """What a module makes for its tests is made once: they stay on one worker (`--dist=loadgroup`)."""
    for item in items:
        fixtures = [one for same in item._fixtureinfo.name2fixturedefs.values() for one in same]
        if any(fixture.scope == "module" for fixture in fixtures):
            item.add_marker(pytest.mark.xdist_group(item.path.as_posix()))
