"""Ctrl-C and SIGTERM while a session runs: the first asks it to stop, the second ends it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_asked() -> Generator[Callable[[], bool]]:
    """A function that says whether somebody has asked the block to stop.

    The second signal raises `KeyboardInterrupt` where the program stands.
    """
    asked = False

    def ask(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        print("\nstopping; once more to stop at once", file=sys.stderr)

    before = [signal.signal(each, ask) for each in _SIGNALS]
    try:
        yield lambda: asked
    finally:
        for number, handler in zip(_SIGNALS, before, strict=True):
            signal.signal(number, handler)
