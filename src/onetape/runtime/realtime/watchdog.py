"""Notices a strategy that does not come back, and takes it out.

Callbacks run in the one thread that also runs everything else, so a strategy that loops for ever
would stop the session, and no operator could reach it. A thread looks at how long the core has been
busy; after too long it interrupts the main thread. Where a callback of a strategy is on the stack
then, it raises there, and the strategy is quarantined like one that raised by itself. Our own code
is never interrupted.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterable
from time import monotonic
from types import FrameType

from onetape.domain.errors import StrategyStuck

_SIGNAL = signal.SIGUSR1


class Watchdog:
    """Watches the main thread while a session runs.

    Args:
        modules: Names of the modules of the strategies.
        seconds: How long one input may take.
    """

    def __init__(self, modules: Iterable[str], seconds: float) -> None:
        self._modules = frozenset(modules)
        self._seconds = seconds
        self._began: float | None = None
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> Watchdog:
        self._before = signal.signal(_SIGNAL, self._interrupt)
        self._main = threading.get_ident()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()
        signal.signal(_SIGNAL, self._before)

    def begin(self) -> None:
        """The core takes an input."""
        self._began = monotonic()

    def end(self) -> None:
        """The core is done with it."""
        self._began = None

    @property
    def busy_seconds(self) -> float:
        """How long the core has been busy with one input; 0 when it is not."""
        began = self._began
        return 0.0 if began is None else monotonic() - began

    def interrupt(self) -> None:
        """Interrupt the strategy that runs now, if one does; an operator may not wait."""
        signal.pthread_kill(self._main, _SIGNAL)

    def _watch(self) -> None:
        while not self._is_over.wait(min(0.2, self._seconds / 4)):
            if self.busy_seconds > self._seconds:
                self.interrupt()

    def _interrupt(self, _number: int, frame: FrameType | None) -> None:
        while frame is not None:
            if frame.f_globals.get("__name__") in self._modules:
                self._began = monotonic()  # what it does next has time of its own
                raise StrategyStuck(
                    f"did not come back within {self._seconds:g} s",
                    remedy="look for a loop without an end",
                )
            frame = frame.f_back


def list_modules(strategies: Iterable[object]) -> list[str]:
    """The modules of strategies, by their objects."""
    return sorted({type(each).__module__ for each in strategies} & set(sys.modules))
