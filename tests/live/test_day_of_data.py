"""A day of real minutes through a local venue: paper, live and a backtest decide the same.

Must-show of the product: one strategy file; what a venue's real client library makes of it at a
server that speaks the venue's protocol; and the simulated venue. AAPL of 2014-06-05 (Lean's sample
data), BTC of 2018-04-04 (Coinbase's dollars stand for Binance's USDT).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from onetape.domain.events import OrderCancelPending, OrderSubmitted
from onetape.domain.instrument import InstrumentId
from onetape.domain.numbers import E8
from onetape.domain.orders import CancelIntent, OrderIntent
from onetape.domain.timestamps import to_iso
from onetape.execution.simulated.fees import BpsFees
from onetape.marketdata.feeds.binance import BinanceFeed
from onetape.marketdata.feeds.binance_client import BinanceSettings
from onetape.runtime.config import SessionConfig
from onetape.runtime.local_venues.exchange import LocalExchange
from onetape.runtime.parity.sentinel import check_parity
from onetape.runtime.sessions.adapters import build_parts
from onetape.runtime.sessions.live_run import LiveParts, drive_live
from onetape.runtime.verification import Verdict
from onetape.tape.opening import open_tape
from tests.live.test_session_alpaca import read_fills
from tests.support.alpaca_venue import ACCOUNT, LocalAlpaca, local_alpaca
from tests.support.binance_live import KEY, SECRET
from tests.support.binance_live import World as LocalBinance
from tests.support.ibkr_venue import LocalTws, local_tws
from tests.support.ibkr_venue import make_parts as make_tws_parts
from tests.support.intraday import AAPL, AAPL_AT_IB, BTCUSDT, read_minutes
from tests.support.live_sessions import WARM_UP, RunningSession, VenueClock, make_parts
from tests.support.shared_data import needs_shared

pytestmark = needs_shared

STRATEGY = '''
"""Buys what rises; sells it a little dearer, or when the day turns."""

from onetape.domain.events import OrderEvent, OrderFilled
from onetape.domain.market import Bar
from onetape.domain.orders import Side
from onetape.features.average import Sma
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, param


class RiseAndRest(Strategy):
    """Market in; a limit rests from the fill on, until the fast average is below the slow one."""

    quantity: float = param(1.0, gt=0)
    gain_bps: float = param(8.0, gt=0)

    def features(self):
        return {"fast": Sma(5), "slow": Sma(20)}

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        f = ctx.features
        if f.slow != f.slow:
            return
        held = ctx.position(bar.instrument)
        waiting = ctx.open_orders(bar.instrument)
        if f.fast > f.slow and not held and not waiting:
            ctx.buy(bar.instrument, self.quantity, label="rise")
        elif f.fast < f.slow and held > 0:
            for each in waiting:
                ctx.cancel(each.client_order_id)
            if not waiting:
                ctx.sell(bar.instrument, held)

    def on_order_update(self, update: OrderEvent, ctx: Context) -> None:
        if isinstance(update, OrderFilled) and update.side is Side.BUY:
            price = ctx.mark(update.instrument) * (1 + self.gain_bps / 10_000)
            limit = ctx.round_price(update.instrument, price, Side.SELL)
            ctx.sell(update.instrument, ctx.position(update.instrument), limit=limit)
'''


AFTER = 5
"""Bars that are left for what is to be canceled at the end."""


class Venue:
    """What the test needs of a local venue, whichever."""

    def __init__(self, world: LocalAlpaca | LocalBinance | LocalTws, account: str) -> None:
        self.world = world
        self.account = account

    @property
    def exchange(self) -> LocalExchange:
        return self.world.exchange


class DaySession(RunningSession):
    """A session at a local venue that plays as fast as the session follows.

    The venue waits after each thing that it tells until the session knows of the same open orders,
    and the venue of every cancel: what arrives when is not left to chance.
    """

    def __init__(
        self, venue: Venue, config: SessionConfig, parts: LiveParts, run_dir: Path
    ) -> None:
        self.venue = venue
        self.run_dir = run_dir
        self.is_live = parts.gateway is not None
        self.canceling = self.followed = 0
        if parts.gateway is not None:
            self._cancel = parts.gateway.cancel
            parts.gateway.cancel = self.cancel
        self.task = asyncio.create_task(drive_live(config, run_dir, parts))

    async def cancel(self, command: OrderCancelPending, order: OrderSubmitted) -> None:
        """Counts cancels that are under way; of orders that are, both sides know the number."""
        self.canceling += 1
        try:
            await self._cancel(command, order)
        finally:
            self.canceling -= 1

    async def play(self, bars: int) -> None:
        self.venue.world.player.barriers.append(self.hear)
        self.came = (await self.until(0))["bars"] - self.venue.exchange.rows_played
        for _ in range(bars):
            await self.venue.world.player.play_rows(1)
            await self.until(self.came + self.venue.exchange.rows_played)
            await self.follow()
        self.venue.world.player.barriers.remove(self.hear)

    async def hear(self) -> None:
        """What the venue has said of orders comes before the bar that made it say so."""
        if self.venue.exchange.updates != self.followed:
            await self.follow()

    async def follow(self) -> None:
        """Until both have the same orders, twice."""
        if not self.is_live:
            return
        same = 0
        for _ in range(5_000):
            status = await self.ask("status")
            there = len(self.venue.exchange.open_orders(self.venue.account))
            same = same + 1 if status["open_orders"] == there and not self.canceling else 0
            if same == 2:
                self.followed = self.venue.exchange.updates
                return
        raise AssertionError("the orders of session and venue differ")


def make_config(
    venue: str, mode: str, instrument: InstrumentId, strategy: Path, quantity: float,
    connections: Mapping[str, Any], fees: Mapping[str, Any] | None = None,
) -> SessionConfig:  # fmt: skip
    """Paper and live differ in where orders go, and in nothing else."""
    currency = "USDT" if venue == "binance" else "USD"
    return SessionConfig.model_validate(
        {
            "mode": mode,
            "clock": {"type": "live"},
            "data": {"source": venue, "timeframe": "1m", "instruments": [instrument],
                     **connections.get("data", {})},
            "execution": {"venue": "simulated" if mode == "paper" else venue,
                          "fees": fees or {"model": "none"},
                          **(connections.get("execution", {}) if mode == "live" else {})},
            "risk": {"max_order_quantity": 100, "max_daily_loss_pct": 50},
            "strategies": [
                {"name": "rise", "path": f"{strategy}:RiseAndRest", "capital": 40_000,
                 "currency": currency, "params": {"quantity": quantity}},
                {"name": "sma_cross", "capital": 40_000, "currency": currency,
                 "params": {"fast": 5, "slow": 20, "quantity": quantity}},
            ],
            "live": {"look_seconds": 1, "power_loss": False, "foreign_cash": "ignore",
                     "stop_seconds": 300},
        }
    )  # fmt: skip


async def play_day(session: DaySession, bars: int) -> None:
    await session.until(1)
    if session.is_live:
        await session.until(1, paused=[])
    await asyncio.sleep(0.1)
    await session.play(bars - AFTER)
    await session.ask("stop")
    while not session.task.done() and await session.venue.world.player.play_rows(1):
        await asyncio.sleep(0.05)  # cancels are answered by bars
    assert (await asyncio.wait_for(session.task, 30)).reason == "stopped by an operator"


def run_alpaca(mode: str, run_dir: Path, strategy: Path) -> None:
    async def run() -> None:
        timeline = read_minutes("2014-06-05", AAPL)
        async with local_alpaca(timeline, rows=WARM_UP, is_open=False) as world:
            run_dir.mkdir()
            config = make_config("alpaca", mode, AAPL.id, strategy, 10, {})
            session = DaySession(Venue(world, ACCOUNT), config, make_parts(world, mode), run_dir)
            await play_day(session, len(timeline) - WARM_UP)

    asyncio.run(run())


def run_ibkr(mode: str, run_dir: Path, strategy: Path) -> None:
    """With IB's commissions, which come in messages of their own."""

    async def run() -> None:
        timeline = read_minutes("2014-06-05", AAPL_AT_IB)
        async with local_tws(timeline, rows=WARM_UP, is_open=False) as world:
            run_dir.mkdir()
            fees = {"model": "ibkr_us_fixed"}
            config = make_config("ibkr", mode, AAPL_AT_IB.id, strategy, 10, {}, fees)
            parts = make_tws_parts(world, mode)
            session = DaySession(Venue(world, ACCOUNT), config, parts, run_dir)
            await play_day(session, len(timeline) - WARM_UP)

    asyncio.run(run())


def run_binance(mode: str, run_dir: Path, strategy: Path) -> None:
    async def run() -> None:
        timeline = read_minutes("2018-04-04", BTCUSDT, bars=360)
        world = LocalBinance(
            timeline=timeline, fees=BpsFees(maker_bps=0, taker_bps=0), cash={"USDT": 100_000 * E8}
        )
        async with world.serve():
            await world.play(WARM_UP)
            run_dir.mkdir()
            url = world.server.rest_url
            keys = {"url": url, "key": "env:KEY", "secret": "env:SECRET"}
            connections = {"data": {"connection": {"url": url}}, "execution": {"connection": keys}}
            wired = make_config("binance", mode, BTCUSDT.id, strategy, 0.5, connections)
            clock = VenueClock(world)
            parts = LiveParts(
                feed=BinanceFeed(BinanceSettings(base_url=url), clock=clock.now), clock=clock,
                gateway=build_parts(wired, {"KEY": KEY, "SECRET": SECRET}).gateway,
            )  # fmt: skip
            config = make_config("binance", mode, BTCUSDT.id, strategy, 0.5, {})
            session = DaySession(Venue(world, "me"), config, parts, run_dir)
            await play_day(session, len(timeline) - WARM_UP)

    asyncio.run(run())


RUNS = {"alpaca": run_alpaca, "binance": run_binance, "ibkr": run_ibkr}


@pytest.fixture(scope="module", params=list(RUNS))
def days(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """The run of each mode."""
    parent = tmp_path_factory.mktemp(request.param)
    strategy = parent / "rise.py"
    strategy.write_text(STRATEGY, encoding="utf-8")
    for mode in ("paper", "live"):
        RUNS[request.param](mode, parent / mode, strategy)
    return {mode: parent / mode for mode in ("paper", "live")}


def read_decisions(run_dir: Path) -> list[tuple[str, object]]:
    """Every intent of a run, in order; ids without the session that they begin with."""
    reader = open_tape(run_dir / "tape.db")
    try:
        decided: list[tuple[str, object]] = []
        for each in reader.events():
            intent = each.payload
            if isinstance(intent, CancelIntent):
                order = intent.client_order_id.partition("-")[2]
                intent = msgspec.structs.replace(intent, client_order_id=order)
            if isinstance(intent, OrderIntent | CancelIntent):
                decided.append((to_iso(each.ts_event)[:16], intent))
        return decided
    finally:
        reader.close()


def test_paper_and_live_decide_and_fill_the_same(days: dict[str, Path]) -> None:
    decided = read_decisions(days["paper"])
    assert decided == read_decisions(days["live"])
    assert len(decided) > 60
    assert read_fills(days["paper"]) == read_fills(days["live"])


@pytest.mark.parametrize("mode", ["paper", "live"])
def test_tape_verifies_and_its_backtest_has_the_same_books(
    days: dict[str, Path], mode: str
) -> None:
    found = check_parity(days[mode] / "tape.db")
    assert found.verification.verdict is Verdict.IDENTICAL, found.verification.what
    assert found.no_backtest == ""
    for comparison in (found.comparison, found.backtest):
        assert comparison is not None
        assert not comparison.partings
        assert not comparison.differences
        for each in comparison.strategies:
            assert each.same_decisions == each.decisions > 20
            assert each.session_result == each.backtest_result != 0
