"""What every test process has, however it was started."""

from __future__ import annotations

import signal

# A shell lets what it puts in the background ignore these two, and so would everything that a test starts.
for _number, _usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGQUIT, signal.SIG_DFL)):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, _usual)
