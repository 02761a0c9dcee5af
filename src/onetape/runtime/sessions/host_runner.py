"""Which host runs a backtest; the tape, the figures and every file but performance.json are equal.

| `host`   | what runs                                                                            |
| -------- | ------------------------------------------------------------------------------------ |
| auto     | the Python host; after a second of a run that would take it long, compiled code takes |
|          | over, if it carries the session: it begins anew, and what is on the tape must come    |
|          | again                                                                                 |
| python   | the Python host                                                                       |
| compiled | compiled code from the start; a session that it does not carry is an error            |

What compiled code can't run to its end goes on in the Python host, in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter  # taken out of its module: the guard replaces what is in there
from typing import TYPE_CHECKING

import msgspec

from onetape.domain.errors import ConfigError, FixInput
from onetape.domain.events import SessionStarted, StrategyQuarantined
from onetape.execution.simulated.terms import VenueTerms
from onetape.marketdata.timeline import Timeline
from onetape.runtime.compiled.carried import check_carried
from onetape.runtime.config import HistoricalClock, SessionConfig
from onetape.runtime.pacing import Pacer
from onetape.runtime.run_monitor import Measurements, RunMonitor
from onetape.runtime.session_spec import OnProgress, Progress, SessionIdentity, StrategySpec
from onetape.runtime.sessions.backtest import BacktestSession, Snapshots
from onetape.runtime.set_outcome import GivenUp
from onetape.strategy.guard import watching
from onetape.tape.repeated import RepeatedTape
from onetape.tape.store import TapeStore

if TYPE_CHECKING:
    from onetape.runtime.compiled.host import CompiledHost

PATIENCE_SECONDS = 1.0
"""How long the Python host runs before anything else is thought of."""

WORTH_SECONDS = 5.0
"""What it must still need then: loading compiled code takes 1 s, compiling a strategy some 4."""


class HostedRun(msgspec.Struct, frozen=True, kw_only=True):
    """What has run."""

    session: str
    quarantined: tuple[StrategyQuarantined, ...]
    measurements: Measurements | None


class _Switch(Exception):
    """The Python host would need so long that compiled code is worth its loading."""


class HostRunner:
    """Runs one backtest in the host that its configuration asks for.

    Args:
        config: The configuration.
        timeline: The market data.
        specs: The strategies.
        terms: How the simulated venue fills and charges.
        identity: What the header of the tape says.
        tape: Where the events go.
        on_progress: Told how far it is.
        is_stop_asked: Asked after each block of rows.
    """

    def __init__(
        self,
        config: SessionConfig,
        timeline: Timeline,
        specs: Sequence[StrategySpec],
        terms: VenueTerms,
        identity: SessionIdentity,
        tape: TapeStore,
        on_progress: OnProgress | None = None,
        is_stop_asked: Callable[[], bool] = lambda: False,
    ) -> None:
        self._config = config
        self._timeline = timeline
        self._specs = specs
        self._terms = terms
        self._limits = config.risk.limits()
        self._identity = identity
        self._tape = tape
        self._is_stop_asked = is_stop_asked
        self._on_progress = on_progress
        self._rows_told = 0

    def run(self) -> HostedRun:
        """Run it to its end.

        Raises:
            FixInput: The configuration does not fit the instruments; or it is to run in compiled
                code, which does not carry it.
            InvariantBroken: A promise of ours does not hold.
            KeyboardInterrupt: It was asked to stop; the tape is sound as far as it goes.
        """
        if self._config.host == "python":
            return self._run_python(self._open(self._tape), RunMonitor(), "")
        if self._config.host == "auto":
            return self._run_auto(self._open(self._tape))
        header = self._open(self._tape).header()
        self._check_carried()
        return self._record(self._compile(), header, "")

    def _run_auto(self, session: BacktestSession) -> HostedRun:
        """Begin in the Python host; go on in compiled code where that pays."""
        try:
            self._check_carried()
        except ConfigError as error:
            return self._run_python(session, RunMonitor(), str(error))
        monitor = RunMonitor()
        begun = perf_counter()
        try:
            why = "compiled code would not pay"
            return self._run_python(session, monitor, why, self._is_long(begun))
        except _Switch:
            note = f"after {perf_counter() - begun:.1f} s in the Python host"
        try:
            host = self._compile()
        except FixInput as error:
            return self._run_python(session, monitor, str(error))
        header = session.header()
        del session  # what it holds of the market is not needed twice
        return self._record(host, header, note)

    def _check_carried(self) -> None:
        """Raise `ConfigError` for what needs no look at the code of the strategy."""
        clock = self._config.clock
        where, what = "", ""
        if len(self._specs) > 1:
            where, what = "strategies", f"the session has {len(self._specs)} strategies"
        elif self._config.drift is not None:
            where, what = "drift", "the session watches features for drift"
        elif isinstance(clock, HistoricalClock) and Pacer(clock.speed).is_paced:
            where, what = "clock.speed", "the session is paced"
        if what:
            raise ConfigError(f"{what}, which the compiled host does not carry", where=where,
                              remedy="run it in the Python host")  # fmt: skip
        check_carried(self._timeline, self._specs[0], self._terms, self._limits)

    def _open(self, tape: TapeStore | RepeatedTape) -> BacktestSession:
        """The session from its start: no strategy remembers an earlier one."""
        drift = self._config.drift.settings() if self._config.drift else None
        specs = [
            msgspec.structs.replace(each, strategy=each.strategy.renew()) for each in self._specs
        ]
        return BacktestSession(
            self._timeline, specs, self._terms, self._limits, tape, self._identity, drift
        )

    def _is_long(self, begun: float) -> OnProgress:
        """Raises `_Switch` when a run that began then is going to take long."""

        def look(now: Progress) -> None:
            spent = perf_counter() - begun
            left = spent / now.rows_done * (now.rows_total - now.rows_done)
            if spent > PATIENCE_SECONDS and left > WORTH_SECONDS:
                raise _Switch

        return look

    def _run_python(
        self,
        session: BacktestSession,
        monitor: RunMonitor,
        note: str,
        look: OnProgress | None = None,
        again: RepeatedTape | None = None,
    ) -> HostedRun:
        """Run a session from where it stands; `again` is its tape when it is not the first."""

        def tell(now: Progress) -> None:
            self._tell(now)
            if look is not None:
                look(now)

        clock = self._config.clock
        snapshots = Snapshots(
            keeper=again or self._tape, events=self._config.output.snapshot_events,
            is_stop_asked=self._is_stop_asked,
        )  # fmt: skip
        session.measure(monitor)
        with watching([type(each.strategy) for each in self._specs]):
            session.run(
                tell if look is not None or self._on_progress is not None else None,
                Pacer(clock.speed if isinstance(clock, HistoricalClock) else "max"),
                snapshots=snapshots,
            )
        if again is not None:
            again.check_over()
        quarantined = tuple(session.pipeline.quarantined)
        return _tell_run(session.session, "python", note, monitor, quarantined)

    def _compile(self) -> CompiledHost:
        """The compiled host of the session.

        Raises:
            FixInput: It does not carry the session or its strategy.
        """
        from onetape.runtime.compiled.host import CompiledHost

        host = CompiledHost(
            self._timeline, self._specs[0], self._terms, self._limits, self._identity
        )
        host.check_labels()
        return host

    def _record(self, host: CompiledHost, header: SessionStarted, note: str) -> HostedRun:
        """Run the session in compiled code, and in the Python host if that gives up."""
        strategy = self._specs[0].strategy
        monitor = RunMonitor()
        monitor.begin(0)

        def tell(now: Progress) -> None:
            monitor.reach(now.rows_done)
            self._tell(now)
            if self._is_stop_asked():
                raise KeyboardInterrupt

        try:
            host.record(strategy, lambda: RepeatedTape(self._tape), header, tell)
        except GivenUp as error:
            again = RepeatedTape(self._tape)
            why = f"compiled code gave up: {error}"
            return self._run_python(self._open(again), RunMonitor(), why, None, again)
        return _tell_run(header.session, "compiled", note, monitor, ())

    def _tell(self, now: Progress) -> None:
        """Tell how far it is; a run that began anew says nothing until it is further."""
        if self._on_progress is not None and now.rows_done > self._rows_told:
            self._rows_told = now.rows_done
            self._on_progress(now)


def _tell_run(
    session: str,
    host: str,
    note: str,
    monitor: RunMonitor,
    quarantined: tuple[StrategyQuarantined, ...],
) -> HostedRun:
    measured = monitor.finish()
    if measured is not None:
        measured = msgspec.structs.replace(measured, host=host, host_note=note)
    return HostedRun(session=session, quarantined=quarantined, measurements=measured)
