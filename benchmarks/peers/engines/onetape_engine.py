"""onetape: the same strategy in the Python host (variant `python`) and the compiled one.

Fees and every risk gate in both; the Python host writes its tape to disk.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from measure import Ending, Task, measure, read_task, same, sweep_pairs

import onetape
from benchmarks.peers.strategies import Flip, Reorder, TopMomentum
from onetape.domain.events import OrderFilled
from onetape.domain.instrument import Instrument, make_equity
from onetape.domain.numbers import E8
from onetape.domain.timestamps import NS_PER_DAY
from onetape.execution.simulated.bar_matching import LIMIT_TRADED_THROUGH
from onetape.execution.simulated.fees import BpsFees, build_fee_schedule
from onetape.execution.simulated.latency import LatencyTerms
from onetape.execution.simulated.slippage import SlippageTerms
from onetape.execution.simulated.terms import VenueTerms
from onetape.marketdata.tick_timeline import build_trade_timeline
from onetape.marketdata.timeline import Timeline, build_timeline
from onetape.research.sweep_pool import NumberedSet, in_tiles
from onetape.risk.limits import RiskLimits
from onetape.runtime.sessions.backtest import BacktestSession, SessionIdentity, StrategySpec
from onetape.strategy.library.sma_cross import SmaCross
from onetape.strategy.sdk import Strategy
from onetape.tape.reader import SqliteTapeReader
from onetape.tape.sqlite_store import SqliteTape

MINUTE_NS = 60_000_000_000
CAPITAL_MINOR = 10_000_000 * E8
ALL_GATES = RiskLimits(
    max_order_quantity=100_000,
    max_order_notional=1_000_000,
    max_position_quantity=100_000,
    max_position_pct=100,
    max_concentration_pct=100,
    max_gross_exposure_pct=100,
    max_net_exposure_pct=100,
    max_leverage=1,
    max_daily_loss_pct=50,
    max_drawdown_pct=90,
    max_orders_per_minute=1_000,
)


class Job(NamedTuple):
    """A workload for either host: the params of each set, and how much one call works off."""

    timeline: Timeline
    strategy: type[Strategy]
    sets: Sequence[dict[str, Any]]
    timing: str = "next_open"

    @property
    def units(self) -> int:
        """Bars or trades times sets."""
        return len(self.timeline) * len(self.sets)

    def spec(self, number: int) -> StrategySpec:
        """The strategy with the params of one set."""
        strategy = self.strategy(**self.sets[number])
        return StrategySpec(name="bench", strategy=strategy, capital=CAPITAL_MINOR)

    def terms(self) -> VenueTerms:
        """10 bps, no slippage, no latency; a limit fills when it is traded through."""
        fees = BpsFees(maker_bps=10, taker_bps=10)
        return VenueTerms(
            fees={each.id: build_fee_schedule(fees, each) for each in self.timeline.instruments},
            slippage=SlippageTerms(),
            latency=LatencyTerms(),
            limit_reach=LIMIT_TRADED_THROUGH,
        )


def main() -> None:
    """Measure the workload of the command line."""
    task = read_task()
    begun = time.perf_counter()
    job = make_job(task)
    prepared = time.perf_counter() - begun
    if task.variant == "python":
        measure_python(task, job, prepared)
    else:
        measure_compiled(task, job, prepared)


def make_job(task: Task) -> Job:
    """The market of the task as a timeline, and the strategy with its sets."""
    market = task.market
    if task.workload == "W5":
        columns = {"ts_event": market["ts"], "price": market["price"], "size": market["quantity"]}
        instrument = make_equity("BENCH.XNAS", calendar="24/7")
        timeline = build_trade_timeline([(instrument, columns)], source="benchmark")
        return Job(timeline, Flip, [{"every": 1_000}], "next_trade")
    if task.workload == "W2":
        names = ("open", "high", "low", "close", "volume")
        series = [
            make_bars(
                make_equity(f"S{index:03d}.XNAS", calendar="24/7"), market["ts_open"], NS_PER_DAY,
                {name: np.ascontiguousarray(market[name][:, index]) for name in names},
            )
            for index in range(market["close"].shape[1])
        ]  # fmt: skip
        timeline = build_timeline(series, source="benchmark", timeframe="1d")
        return Job(timeline, TopMomentum, [{"days": 126, "top": 50, "notional": 20_000.0}])
    instrument = make_equity("BENCH.XNAS", tick_size="0.00001", calendar="24/7")
    series = [make_bars(instrument, market["ts_open"], MINUTE_NS, market)]
    timeline = build_timeline(series, source="benchmark", timeframe="1m")
    if task.workload == "W4":
        return Job(timeline, Reorder, [{"offset": 0.08}])
    pairs = sweep_pairs(task.sets) if task.workload == "W3" else [(10, 50)]
    tiles = in_tiles(NumberedSet(*each) for each in enumerate(pairs))  # the order of a sweep
    sets = [{"fast": each[0], "slow": each[1], "quantity": 1.0} for _, each in tiles]
    return Job(timeline, SmaCross, sets)


def make_bars(
    instrument: Instrument, ts_open: Any, length_ns: int, prices: dict[str, Any]
) -> tuple[Instrument, dict[str, Any]]:
    """Bars that are known when they close."""
    ts_close = ts_open + length_ns
    columns = {
        "ts_open": ts_open,
        "ts_close": ts_close,
        "ts_known": ts_close,
        "session_close": (ts_open // NS_PER_DAY + 1) * NS_PER_DAY,
        "quality": np.zeros(len(ts_open), dtype=np.int64),
    }
    for name in ("open", "high", "low", "close", "volume"):
        columns[name] = prices[name]
    return instrument, columns


def measure_python(task: Task, job: Job, prepared: float) -> None:
    """Whole sessions, one after the other; the fills are counted on the tape afterwards."""

    def run() -> list[tuple[tempfile.TemporaryDirectory[str], int]]:
        done: list[tuple[tempfile.TemporaryDirectory[str], int]] = []
        for number in range(len(job.sets)):
            folder = tempfile.TemporaryDirectory()
            tape = SqliteTape.create(Path(folder.name) / "tape.db")
            session = BacktestSession(
                job.timeline, [job.spec(number)], job.terms(), ALL_GATES, tape, SessionIdentity()
            )
            session.run()
            tape.close()
            valuation = session.runners["bench"].valuation
            valuation.refresh()
            done.append((folder, valuation.equity))
        return done

    def settle(done: list[tuple[tempfile.TemporaryDirectory[str], int]]) -> Ending:
        fills = 0
        for folder, _ in done:
            reader = SqliteTapeReader(Path(folder.name) / "tape.db")
            fills += sum(isinstance(each.payload, OrderFilled) for each in reader.events())
            reader.close()
            folder.cleanup()
        return Ending(fills, sum(equity for _, equity in done) / E8)

    measure(
        "onetape Python host", onetape.__version__, task, run, settle, units=job.units,
        timing=job.timing, prepared_seconds=prepared, note="every gate, the tape on disk",
    )  # fmt: skip


def measure_compiled(task: Task, job: Job, prepared: float) -> None:
    """A host a call, with its compilation (or its cache) and feature columns; then runs alone."""
    from onetape.runtime.compiled.host import CompiledHost

    kept: list[CompiledHost] = []

    def run() -> Ending:
        kept[:] = [CompiledHost(job.timeline, job.spec(0), job.terms(), ALL_GATES)]
        return run_again()

    def run_again() -> Ending:
        host = kept[0]
        if task.workers == 1:
            outcomes = [host.run(params) for params in job.sets]
        else:
            with ThreadPoolExecutor(task.workers) as pool:
                outcomes = list(pool.map(host.run, job.sets))
        return Ending(
            sum(each.summary.fills for each in outcomes),
            float(sum(each.summary.equity for each in outcomes)),
        )

    if len(job.sets) > 1:  # a sweep is told over the data and the compiled code
        CompiledHost(job.timeline, job.spec(0), job.terms(), ALL_GATES).run(job.sets[0])
    measure(
        "onetape compiled host", onetape.__version__, task, run, same,
        units=job.units, timing=job.timing, simulate=run_again,
        prepared_seconds=prepared, note="every gate; figures of each set, no tape",
    )  # fmt: skip


if __name__ == "__main__":
    main()
