"""Notices a strategy or a feature that does not come back, and takes the strategy out.

Callbacks and features run in the one thread that also runs everything else, so one that loops for
ever would stop the session, and no operator could reach it. A thread looks at how long the core has
been busy; after too long it interrupts the main thread. Where a callback of a strategy, or a
feature that is not ours, is on the stack then, it raises there, and the strategy is quarantined
like one that raised by itself. Our own code is never interrupted: where the strategy waits for an
answer of `ctx`, it raises when it has got it.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterable
from time import monotonic
from types import FrameType
from typing import Any

from onetape.domain.errors import StrategyError, StrategyStuck
from onetape.domain.rule_definition import list_rules
from onetape.features.cross_section import CrossSection
from onetape.features.estimator import Estimator, Expression
from onetape.features.timeframe import Timeframed
from onetape.strategy.sdk import Strategy

_SIGNAL = signal.SIGUSR1
_OURS = __name__.partition(".")[0]


class Watchdog:
    """Watches the main thread while a session runs.

    Args:
        modules: Names of the modules of the strategies and of their features.
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
        is_ours = False
        while frame is not None:
            module = str(frame.f_globals.get("__name__"))
            if module in self._modules:
                break
            is_ours = is_ours or module.partition(".")[0] == _OURS
            frame = frame.f_back
        if frame is None:
            return
        if not is_ours:
            self._raise_stuck()
        frame.f_trace = self._trace  # our code comes back first: it may have begun to change things
        sys.settrace(_trace_nothing)

    def _trace(self, _frame: FrameType, _event: str, _argument: Any) -> None:
        """The next thing that the strategy itself does."""
        sys.settrace(None)
        self._raise_stuck()

    def _raise_stuck(self) -> None:
        self._began = monotonic()  # what is done next has time of its own
        raise StrategyStuck(
            f"did not come back within {self._seconds:g} s (look for a loop without an end)"
        )


def _trace_nothing(_frame: FrameType, _event: str, _argument: Any) -> None:
    """Functions that are called meanwhile are not traced."""


def list_modules(strategies: Iterable[Strategy]) -> list[str]:
    """The modules of strategies and of the strategies that they extend, by their objects."""
    return sorted(
        owner.__module__
        for each in strategies
        for owner in type(each).__mro__
        if issubclass(owner, Strategy) and owner is not Strategy
    )


def list_feature_modules(features: Iterable[Estimator]) -> list[str]:
    """The modules of the rules of features, but for ours: of users, and of archived definitions."""
    found: set[str] = set()
    for each in features:
        if isinstance(each, CrossSection | Timeframed):
            found.update(list_feature_modules([each.feature]))
        elif isinstance(each, Expression):
            found.update(list_feature_modules(node.estimator for node in each.plan.nodes))
        else:
            update = type(each).update
            try:
                rules = list_rules(update)
            except StrategyError:  # it breaks the rules of a rule, and may run all the same
                rules = (update,)
            found.update(str(rule.__module__) for rule in rules)
    return sorted(each for each in found if each.partition(".")[0] != _OURS)
