"""All hosts: whole sessions with fees, every risk gate, and the tape on disk.

They take turns, and CPU time counts: a machine that does other things too tells the same. What a
host loads, compiles and computes before the first bar is not counted in either.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.market import make_days, make_minutes
from onetape.domain.errors import InvariantBroken
from onetape.domain.market import Bar
from onetape.domain.numbers import E8
from onetape.domain.ports import TapeWriter
from onetape.execution.simulated.bar_matching import LIMIT_TRADED_THROUGH
from onetape.execution.simulated.fees import BpsFees, build_fee_schedule
from onetape.execution.simulated.latency import LatencyTerms
from onetape.execution.simulated.slippage import SlippageTerms
from onetape.execution.simulated.terms import VenueTerms
from onetape.marketdata.timeline import Timeline
from onetape.risk.limits import RiskLimits
from onetape.runtime.compiled.host import CompiledHost
from onetape.runtime.session_spec import SessionIdentity, StrategySpec
from onetape.runtime.sessions.backtest import BacktestSession
from onetape.strategy.context import Context
from onetape.strategy.library.momentum_rebalance import MomentumRebalance
from onetape.strategy.library.sma_cross import SmaCross
from onetape.strategy.sdk import Strategy, state
from onetape.tape.repeated import RepeatedTape
from onetape.tape.sqlite_store import SqliteTape

ALL_GATES = RiskLimits(
    max_order_quantity=1_000_000,
    max_order_notional=1_000_000,
    max_position_quantity=1_000_000,
    max_position_pct=100,
    max_concentration_pct=100,
    max_gross_exposure_pct=100,
    max_net_exposure_pct=100,
    max_leverage=1,
    max_daily_loss_pct=50,
    max_drawdown_pct=90,
    max_orders_per_minute=1_000,
)


class CancelAndReorder(Strategy):
    """Cancels its limit order and sends a new one, far from the market, at every bar."""

    working: str = state("")

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        """Cancel, then order again at 90 % of the close."""
        if self.working:
            ctx.cancel(self.working)
        self.working = ctx.buy(bar.instrument, 1.0, limit=round(bar.close * 0.9, 2))


class Result:
    """What a benchmark prints: rows a second (median), and what was done."""

    def __init__(self, name: str, rows: int, seconds: list[float], events: int) -> None:
        self.name = name
        self.rows_per_second = rows / statistics.median(seconds)
        self.events = events


def measure(name: str, timeline: Timeline, make: Callable[[], Strategy], runs: int) -> list[Result]:
    """Median of `runs` sessions in each host, after one that is not counted.

    The mixed host is compiled code that calls the strategy in Python.

    Raises:
        InvariantBroken: The tapes of the hosts are not the same.
    """

    def run_python(tape: SqliteTape) -> Callable[[], object]:
        session = make_session(timeline, make(), tape)
        return session.run

    def run_compiled(host: CompiledHost) -> Callable[[SqliteTape], Callable[[], object]]:
        def prepare(tape: SqliteTape) -> Callable[[], object]:
            strategy = make()
            header = make_session(timeline, strategy, tape).header()
            return lambda: host.record(strategy, lambda: RepeatedTape(tape), header)

        return prepare

    hosts = {
        "Python": run_python,
        "mixed": run_compiled(make_compiled(timeline, make(), in_python=True)),
        "compiled": run_compiled(make_compiled(timeline, make())),
    }
    seconds: dict[str, list[float]] = {name: [] for name in hosts}
    events = 0
    for _ in range(runs + 1):
        digests: list[str] = []
        for host, prepare in hosts.items():
            with tempfile.TemporaryDirectory() as folder:
                tape = SqliteTape.create(Path(folder) / "tape.db")
                run = prepare(tape)
                begun = time.process_time()
                run()
                tape.close()
                seconds[host].append(time.process_time() - begun)
                events = tape.events_written
                digests.append(tape.digest)
        if len(set(digests)) > 1:
            raise InvariantBroken(f"the hosts do not write the same tape: {name}")
    return [
        Result(f"{host} host, {name}", len(timeline), taken[1:], events)
        for host, taken in seconds.items()
    ]


def make_session(timeline: Timeline, strategy: Strategy, tape: TapeWriter) -> BacktestSession:
    """A session with fees and every gate."""
    return BacktestSession(
        timeline, [make_spec(strategy)], make_terms(timeline), ALL_GATES, tape, SessionIdentity()
    )


def make_compiled(
    timeline: Timeline, strategy: Strategy, *, in_python: bool = False
) -> CompiledHost:
    """The compiled host of such sessions; with `in_python` the strategy is not compiled."""
    return CompiledHost(
        timeline, make_spec(strategy), make_terms(timeline), ALL_GATES, in_python=in_python
    )


def make_spec(strategy: Strategy) -> StrategySpec:
    """A strategy with more money than it needs."""
    return StrategySpec(name="bench", strategy=strategy, capital=1_000_000 * E8)


def make_terms(timeline: Timeline) -> VenueTerms:
    """Ten basis points a fill, at once."""
    fees = BpsFees(maker_bps=10, taker_bps=10)
    return VenueTerms(
        fees={each.id: build_fee_schedule(fees, each) for each in timeline.instruments},
        slippage=SlippageTerms(),
        latency=LatencyTerms(),
        limit_reach=LIMIT_TRADED_THROUGH,
    )


def run_hosts(runs: int) -> list[tuple[Result, float]]:
    """The first rows of DESIGN 13, in both hosts: (result, target in bars a second)."""
    minutes = make_minutes()
    days = make_days()
    rows = [
        (
            measure("SMA cross 10/50, a year of minutes", minutes,
                    lambda: SmaCross(fast=10, slow=50), runs),
            1_000_000.0,
        ),
        (
            measure("cancel + new limit, 100,000 minutes", make_minutes(100_000),
                    CancelAndReorder, runs),
            100_000.0,
        ),
        (
            measure("monthly top 50 of 500, ten years", days,
                    lambda: MomentumRebalance(bars=126, top=50), runs),
            len(days) / 3,
        ),
    ]  # fmt: skip
    return [(result, target) for results, target in rows for result in results]
