"""How long an order takes: from a bar in the inbox to the venue's client, the tape durable.

`python -m benchmarks.live [--seconds N] [--rate N] [--no-power-loss]`

A feed tells 1,000 bars a second, one at a time; a strategy sends an order on every tenth. The
core is the real one, with limits; the tape is a SQLite file whose commits wait for the disk; the
venue is a gateway that answers at once. Measured is what `onetape status` shows: from the moment
a bar has come into the inbox to the moment its order is handed to the gateway.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import msgspec

from onetape.domain.events import OrderCancelPending, OrderReplacePending, OrderSubmitted
from onetape.domain.instrument import Instrument, InstrumentId, make_equity
from onetape.domain.market import Bar
from onetape.domain.orders import OrderType, TimeInForce
from onetape.domain.venue import (
    BarClosed,
    OperatorAction,
    OperatorCommand,
    ReportKind,
    VenueBalance,
    VenuePosition,
    VenueReport,
    VenueSnapshot,
)
from onetape.execution.gateway import Capabilities, Hear
from onetape.execution.simulated.fees import NoFees, build_fee_schedule
from onetape.execution.simulated.latency import LatencyModel, build_latency
from onetape.execution.simulated.slippage import SlippageTerms
from onetape.execution.simulated.terms import VenueTerms
from onetape.marketdata.feeds.port import Take
from onetape.risk.limits import RiskLimits
from onetape.runtime.realtime.clock import MachineClock
from onetape.runtime.realtime.shell import RealtimeShell, ShellFigures, ShellTerms
from onetape.runtime.sessions.backtest import StrategySpec
from onetape.runtime.sessions.realtime import RealtimeIdentity, RealtimePolicy, RealtimeSession
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, state
from onetape.tape.sqlite_store import Durability, SqliteTape

STOCK = make_equity("ACME.BENCH", calendar="24/7")
CAPITAL = 1_000_000 * 10**8


class EveryTenth(Strategy):
    """Buys and sells in turn, on every tenth bar."""

    bars: int = state(0)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        self.bars += 1
        if self.bars % 10:
            return
        if ctx.position(bar.instrument) > 0:
            ctx.sell(bar.instrument, 1)
        else:
            ctx.buy(bar.instrument, 1)


class InstantGateway:
    """A venue that accepts and fills at once."""

    name = "BENCH"
    capabilities = Capabilities(
        order_types=frozenset({OrderType.MARKET}), times_in_force=frozenset(TimeInForce)
    )

    def __init__(self) -> None:
        self.lots = 0
        self.cash = CAPITAL

    async def define(self, instruments: Sequence[InstrumentId]) -> tuple[Instrument, ...]:
        return (STOCK,)

    async def open(self, instruments: Sequence[Instrument], hear: Hear) -> None:
        self._hear = hear

    async def submit(self, order: OrderSubmitted) -> None:
        self.lots += order.side * order.lots
        self.cash -= order.side * order.lots * 10_000 * STOCK.minor_per_tick_lot
        accepted = VenueReport(
            kind=ReportKind.ACCEPTED, client_order_id=order.client_order_id,
            instrument=order.instrument, side=order.side, venue_order_id=order.client_order_id,
        )  # fmt: skip
        await self._hear(accepted)
        await self._hear(
            msgspec.structs.replace(
                accepted, kind=ReportKind.FILLED, execution_id=order.client_order_id,
                lots=order.lots, ticks=10_000, filled_lots=order.lots,
            )
        )  # fmt: skip

    async def cancel(self, command: OrderCancelPending, order: OrderSubmitted) -> None:
        """Nothing is ever open."""

    async def replace(self, command: OrderReplacePending, order: OrderSubmitted) -> None:
        """Nothing is ever open."""

    async def look(
        self, reason: str, orders: Sequence[OrderSubmitted], since: int
    ) -> VenueSnapshot:
        return VenueSnapshot(
            name=self.name, reason=reason, ts_venue=0, orders=[], reports=[],
            positions=[VenuePosition(instrument=STOCK.id, lots=self.lots)],
            balances=[VenueBalance(currency="USD", amount=self.cash)],
        )  # fmt: skip

    async def close(self) -> None:
        """Nothing is held."""


class SteadyFeed:
    """Bars at a steady rate; each of the nanosecond before."""

    name = "bench"

    def __init__(self, rate: int, bars: int) -> None:
        self._rate, self._bars = rate, bars
        self.over = asyncio.Event()

    async def run(self, instruments: Sequence[Instrument], timeframe: str, take: Take) -> None:
        begun, clock = perf_counter(), MachineClock()
        for number in range(self._bars):
            wait = begun + number / self._rate - perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            ts = clock.now()
            await take(BarClosed(STOCK.id, ts - 1, ts, 0, 0, 100.0, 100.0, 100.0, 100.0, 1.0))
        self.over.set()
        await asyncio.Event().wait()

    async def define(self, instruments: Sequence[InstrumentId]) -> tuple[Instrument, ...]:
        return (STOCK,)

    async def read_history(
        self, instruments: Sequence[Instrument], timeframe: str, bars: int
    ) -> list[BarClosed]:
        return []


def build_session(tape: SqliteTape) -> RealtimeSession:
    """One strategy with the limits that live asks for."""
    terms = VenueTerms(
        fees={STOCK.id: build_fee_schedule(NoFees(), STOCK)}, slippage=SlippageTerms(),
        latency=build_latency(LatencyModel(), 0), limit_reach=0.0,
    )  # fmt: skip
    limits = RiskLimits(max_order_quantity=100, max_position_pct=50, max_daily_loss_pct=10,
                        max_drawdown_pct=20)  # fmt: skip
    return RealtimeSession(
        (STOCK,), "1m", "bench", [StrategySpec(name="s", strategy=EveryTenth(), capital=CAPITAL)],
        terms, limits, tape, RealtimeIdentity(mode="live"), RealtimePolicy(is_simulated=False),
    )  # fmt: skip


async def measure(path: Path, durability: Durability, rate: int, seconds: int) -> ShellFigures:
    """Run for so many seconds; what the shell counted."""
    tape = SqliteTape.create(path, durability)
    session = build_session(tape)
    feed, gateway = SteadyFeed(rate, rate * seconds), InstantGateway()
    shell = RealtimeShell(session, tape, MachineClock(), feed, gateway, (STOCK,), "1m",
                          ShellTerms(look_seconds=5.0))  # fmt: skip
    await gateway.open((STOCK,), shell.hear_venue)
    session.start(MachineClock().now())
    task = asyncio.create_task(shell.run())
    await feed.over.wait()
    shell.tell(OperatorCommand(OperatorAction.STOP, "", "bench"))
    await task
    tape.close()
    return shell.figures()


def main() -> None:
    """What `python -m benchmarks.live` does."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--rate", type=int, default=1_000)
    chosen = parser.parse_args()
    print_live(chosen.rate, chosen.seconds)


def print_live(rate: int = 1_000, seconds: int = 10) -> None:
    """Measure both durabilities, and print a line for each."""
    print(f"live at {rate:,} events/s; to reach: order p50 < 500 us, p99 < 5,000 us, tape durable")
    for durability in (Durability.POWER_LOSS, Durability.PROCESS_END):
        with tempfile.TemporaryDirectory() as folder:
            found = asyncio.run(measure(Path(folder) / "tape.db", durability, rate, seconds))
        print(
            f"{durability.name:12} {found.inputs:,} inputs, {found.orders:,} orders: order p50 "
            f"{found.order_p50_us:,.0f} us, p99 {found.order_p99_us:,.0f} us; input p50 "
            f"{found.input_p50_us:,.0f} us, p99 {found.input_p99_us:,.0f} us; "
            f"deepest inbox {found.deepest}"
        )


if __name__ == "__main__":
    main()
