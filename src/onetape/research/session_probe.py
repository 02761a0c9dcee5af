"""Runs one configured session again and again over changed data, in memory."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from onetape.domain.errors import ConfigError
from onetape.domain.events import Payload, SessionStarted, SessionStopped, TimerFired
from onetape.domain.numbers import INT64_MAX
from onetape.execution.simulated.terms import VenueTerms
from onetape.marketdata.catalog import Catalog
from onetape.marketdata.loading import load_market_data
from onetape.marketdata.timeline import Timeline
from onetape.risk.limits import RiskLimits
from onetape.runtime.config import HistoricalClock, SessionConfig, config_hash, decision_json
from onetape.runtime.sessions.backtest import (
    BacktestSession,
    SessionIdentity,
    StrategySpec,
    build_spec,
    build_terms,
)
from onetape.strategy.context import TimerRequest
from onetape.strategy.guard import watching
from onetape.strategy.sdk import Strategy

FeatureColumns = Mapping[str, Mapping[str, npt.NDArray[np.float64]]]
"""Columns by strategy and feature, float64 of shape (rows,) in the order of the timeline."""

_CALLBACKS = {name for name in vars(Strategy) if name.startswith("on_")} | {"generate_orders"}


class Trace(msgspec.Struct, frozen=True, eq=False):
    """What a session decided and what became of it.

    Attributes:
        events: (engine time, payload) of every event but the header and those of the last step,
            in which `on_stop` is heard and nothing is decided any more.
        columns: The features.
        makers: Which callback of a strategy asked for what; empty unless asked for.
    """

    events: list[tuple[int, Payload]]
    columns: FeatureColumns
    makers: Makers

    def maker_of(self, payload: Payload) -> str:
        """`callback (file:line)` that asked for this event; empty when no strategy did."""
        return self.makers.find(payload)


class Makers:
    """The callbacks behind intents, signals and timers."""

    def __init__(self) -> None:
        self._places: list[tuple[object, str]] = []
        self._timers: dict[tuple[str, str], str] = {}

    def note(self, item: object, place: str) -> None:
        """`item` was asked for at `place`."""
        self._places.append((item, place))
        if isinstance(item, TimerRequest):
            self._timers[item.strategy, item.name] = place

    def find(self, payload: Payload) -> str:
        """Where it was asked for; empty when no strategy did."""
        if isinstance(payload, TimerFired):
            return self._timers.get((payload.strategy, payload.name), "")
        return next((place for item, place in self._places if item is payload), "")


class Probe:
    """The inputs of a session, its strategies loaded anew for every run.

    What a strategy's module remembers is so gone before the next run, as between two processes.

    Args:
        timeline: The data as it is.
        build: Makes the strategies, called once a session.
        terms: How the simulated venue fills and charges.
        limits: Risk limits.
        identity: What the sessions are called after; it has to be the same for all of them.
    """

    def __init__(
        self,
        timeline: Timeline,
        build: Callable[[], Sequence[StrategySpec]],
        terms: VenueTerms,
        limits: RiskLimits,
        identity: SessionIdentity | None = None,
    ) -> None:
        self.timeline = timeline
        self.runs = 0
        self._build = build
        self._terms = terms
        self._limits = limits
        self._identity = identity or SessionIdentity()

    def build(self) -> list[StrategySpec]:
        """The strategies, as they are before anything has run."""
        return list(self._build())

    def columns(self, timeline: Timeline) -> FeatureColumns:
        """The features over `timeline`, without running it.

        Raises:
            StrategyError: `features` or an estimator raises.
        """
        session, _ = self._open(timeline, _EventTape(INT64_MAX))
        return _columns_of(session)

    def run(self, timeline: Timeline, until: int = INT64_MAX, *, noted: bool = False) -> Trace:
        """Run over `timeline` and give the events up to engine time `until` (ns UTC).

        Args:
            timeline: Rows, with the instruments and pins of the original.
            until: The run ends as soon as something happens after it.
            noted: Whether to note which callback asked for what, which is slower.

        Raises:
            StrategyError: `features` or an estimator raises.
        """
        tape = _EventTape(until)
        session, specs = self._open(timeline, tape)
        makers = Makers()
        if noted:
            for runner in session.runners.values():
                runner.context.queue = _NotedQueue(runner.strategy, makers)
        self.runs += 1
        with watching([type(each.strategy) for each in specs]), suppress(_SeenEnough):
            session.run()
        return Trace(tape.events, _columns_of(session), makers)

    def _open(
        self, timeline: Timeline, tape: _EventTape
    ) -> tuple[BacktestSession, list[StrategySpec]]:
        specs = self.build()
        session = BacktestSession(timeline, specs, self._terms, self._limits, tape, self._identity)
        return session, specs


def probe_config(config: SessionConfig) -> Probe:
    """The probe of a configured backtest, loaded as `run_backtest` loads it.

    Raises:
        ConfigError: The configuration does not fit the instruments.
        DataError: The catalog lacks what is asked for.
        StrategyError: A strategy can't be loaded, or refuses its params.
    """
    clock = config.clock
    if not isinstance(clock, HistoricalClock):
        raise ConfigError("a backtest needs a historical clock", where="clock.type")
    timeline = load_market_data(
        Catalog(Path(config.data.path)), config.data.instruments, config.data.timeframe,
        clock.ts_start, clock.ts_end, config.data.versions, config.data.files,
        config.data.reading,
    )  # fmt: skip
    identity = SessionIdentity(
        config=decision_json(config), config_hash=config_hash(config), seed=config.seed
    )
    terms = build_terms(config.execution, config.seed, timeline.instruments)
    packages = {
        module.partition(".")[0]
        for each in _build_anew(config, set())
        for module in modules_of(each.strategy)
    }
    packages -= {"onetape", "__main__"}  # ours keep nothing between runs

    def build() -> list[StrategySpec]:
        return _build_anew(config, packages)

    return Probe(timeline, build, terms, config.risk.limits(), identity)


def _build_anew(config: SessionConfig, packages: set[str]) -> list[StrategySpec]:
    """The strategies of a configuration, the modules of some packages run again for them."""
    for name in [each for each in sys.modules if each.partition(".")[0] in packages]:
        del sys.modules[name]
    return [build_spec(each) for each in config.enabled_strategies]


def modules_of(strategy: Strategy) -> list[str]:
    """Names of the modules that its class, and the strategies it inherits from, stand in."""
    owners = [
        each.__module__
        for each in type(strategy).__mro__
        if issubclass(each, Strategy) and each is not Strategy
    ]
    return list(dict.fromkeys(owners))


def _columns_of(session: BacktestSession) -> FeatureColumns:
    return {name: runner.columns for name, runner in session.runners.items()}


class _SeenEnough(Exception):
    """Nothing that a run still does can matter to who asked for it."""


class _EventTape:
    """Keeps the events up to a time, then ends the run."""

    def __init__(self, until: int) -> None:
        self.events: list[tuple[int, Payload]] = []
        self._until = until

    def append(
        self, first_seq: int, ts: int, market_index: int, events: Sequence[tuple[Payload, int, int]]
    ) -> None:
        """Take the events of one step (see `TapeWriter`)."""
        if ts > self._until:
            raise _SeenEnough
        if isinstance(events[-1][0], SessionStopped):
            return
        self.events += [
            (ts, payload) for payload, _, _ in events if not isinstance(payload, SessionStarted)
        ]

    def commit(self) -> None:
        """Nothing waits to be written."""


class _NotedQueue(list[Any]):
    """The queue of a context that notes where in the strategy's code each item comes from."""

    def __init__(self, strategy: Strategy, makers: Makers) -> None:
        super().__init__()
        self._modules = set(modules_of(strategy))
        self._makers = makers

    def append(self, item: Any) -> None:
        """Take an item of the callback that is on the stack."""
        super().append(item)
        self._makers.note(item, self._place())

    def _place(self) -> str:
        """`on_bar (file.py:12)`; intents that an own `generate_orders` returned have no line."""
        callback, line = "generate_orders", ""
        frame = inspect.currentframe()
        while frame is not None:
            if frame.f_globals.get("__name__") in self._modules:
                code = frame.f_code
                if not line:
                    line = f" ({code.co_filename.rpartition('/')[2]}:{frame.f_lineno})"
                if code.co_name in _CALLBACKS:
                    callback = code.co_name
            frame = frame.f_back
        return callback + line
