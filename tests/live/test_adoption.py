"""Orders that somebody gives at a venue beside a session that adopts them, through real clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from onetape.domain.events import OrderAdopted, OrderCanceled, OrderFilled, OrderReplaced
from onetape.domain.instrument import Instrument
from onetape.domain.numbers import E8
from onetape.domain.orders import DenialCode, Side
from onetape.domain.venue import OperatorAction, OperatorCommand
from onetape.execution.binance.gateway import BinanceGateway
from onetape.execution.oms import OPEN
from onetape.execution.simulated.fees import BpsFees
from onetape.marketdata.feeds.binance import BinanceFeed
from onetape.runtime.config import SessionConfig
from onetape.runtime.local_venues.faults import FaultSchedule
from onetape.runtime.local_venues.messages import PlacedOrder
from onetape.runtime.parity.causes import Cause
from onetape.runtime.parity.paths import OrderPath
from onetape.runtime.parity.sentinel import check_parity
from onetape.runtime.realtime.shell import RealtimeShell
from onetape.runtime.sessions.live_run import LiveParts
from onetape.tape.reader import SqliteTapeReader
from onetape.telemetry.run_projection import project_run
from onetape.telemetry.why import trace_order
from tests.support import ibkr_venue
from tests.support.alpaca_venue import AAPL, MINUTE, local_alpaca, make_minutes
from tests.support.binance_live import COIN, World, make_settings
from tests.support.live_books import check_session, read_tape
from tests.support.live_sessions import VenueClock, make_parts
from tests.support.manual_orders import AlpacaHand, BinanceHand, Hand, TwsHand
from tests.support.mortal_sessions import MortalSession, PlayedVenue, install, is_quiet, run_to_end
from tests.support.runs import make_walks

CASH = 500_000
WARM_UP = 6

STRATEGY = '''
from onetape.domain.events import OrderAdopted, OrderEvent
from onetape.domain.market import Bar
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, param, state


class Keeper(Strategy):
    """Trades nothing by itself; changes and cancels what it was given, at a bar."""

    replace_at: int = param(-1)
    cancel_at: int = param(-1)
    bars: int = state(0)
    adopted: int = state(0)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        self.bars += 1
        for each in ctx.open_orders(bar.instrument):
            if self.bars == self.replace_at:
                limit = ctx.round_price(bar.instrument, each.limit * 0.99, 1)
                ctx.replace(each.client_order_id, bar.instrument, limit=limit)
            if self.bars == self.cancel_at:
                ctx.cancel(each.client_order_id)

    def on_order_update(self, update: OrderEvent, ctx: Context) -> None:
        if isinstance(update, OrderAdopted):
            self.adopted += 1
            found = [each.client_order_id for each in ctx.open_orders(update.instrument)]
            assert update.client_order_id in found
            ctx.signal("adopted", float(self.adopted))
'''


class Site(msgspec.Struct, kw_only=True):
    """A venue, a session's way to it, and somebody beside it."""

    name: str
    world: PlayedVenue
    instrument: Instrument
    currency: str
    make: Callable[[], LiveParts]
    hand: Hand
    bar_lots: int = 10

    @property
    def price(self) -> int:
        """Ticks of the newest close."""
        rows = self.world.exchange.rows(self.instrument.symbol)
        event: Any = rows[-1].event
        return round(event.close / self.instrument.tick_float)

    def lots_of(self, tenths: int) -> int:
        """So many tenths of what a bar fills."""
        return tenths * self.bar_lots // 10

    def orders(self) -> list[PlacedOrder]:
        return self.world.exchange.open_orders(self.hand.account)


MODELS: dict[str, Any] = {"max_volume_ratio": 1e-5, "limit_reach": 0.0}
"""An order fills in parts, a few units a bar."""


@asynccontextmanager
async def open_alpaca(faults: FaultSchedule | None = None) -> AsyncGenerator[Site]:
    async with local_alpaca(
        make_minutes(AAPL, bars=120), is_open=False, rows=WARM_UP, cash=CASH, faults=faults,
        models=MODELS, first_wait_s=0.002, longest_wait_s=0.02, answer_s=0.4, settle_s=0.06,
        heartbeat_s=0.5,
    ) as world:  # fmt: skip
        yield Site(name="alpaca", world=world, instrument=AAPL, currency="USD",
                   make=lambda: make_parts(world, "live"), hand=AlpacaHand(world))  # fmt: skip


@asynccontextmanager
async def open_binance(faults: FaultSchedule | None = None) -> AsyncGenerator[Site]:
    timeline = make_walks((COIN,), 120, seed=1, timeframe="1m", length_ns=MINUTE,
                          ts_start="2024-03-11T13:31:00Z")  # fmt: skip
    world = World(timeline=timeline, faults=faults, cash={"USDT": CASH * E8},
                  fees=BpsFees(maker_bps=0, taker_bps=0), **MODELS)  # fmt: skip

    def make() -> LiveParts:
        settings = make_settings(world.server, timeout_s=0.5, recv_window_ms=1_000, silent_s=1.0)
        return LiveParts(
            feed=BinanceFeed(settings, clock=lambda: world.exchange.now),
            clock=VenueClock(world),
            gateway=BinanceGateway(settings, ("keeper",)),
        )

    async with world.serve():
        await world.play(WARM_UP)
        hand = BinanceHand(world)
        try:
            yield Site(name="binance", world=world, instrument=COIN, currency="USDT", make=make,
                       hand=hand, bar_lots=1_000_000)  # fmt: skip
        finally:
            await hand.close()


@asynccontextmanager
async def open_ibkr(faults: FaultSchedule | None = None) -> AsyncGenerator[Site]:
    share = ibkr_venue.AAPL
    async with ibkr_venue.local_tws(
        ibkr_venue.make_minutes(share, bars=120), is_open=False, rows=WARM_UP, cash=CASH,
        faults=faults, models=MODELS, first_wait_s=0.002, longest_wait_s=0.02, answer_s=0.4,
        settle_s=0.06, fee_wait_s=0.1, silence_s=1.0,
    ) as world:  # fmt: skip

        def make() -> LiveParts:
            return LiveParts(
                feed=world.make_feed(),
                clock=VenueClock(world),
                gateway=world.make_gateway(skew_s_max=None, client_id=0),
            )

        yield Site(name="ibkr", world=world, instrument=share, currency="USD", make=make,
                   hand=TwsHand(world))  # fmt: skip


SITES = {"alpaca": open_alpaca, "binance": open_binance, "ibkr": open_ibkr}


def make_session(site: Site, folder: Path, **params: int) -> MortalSession:
    file = folder / "keeper.py"
    file.write_text(STRATEGY)
    config = SessionConfig.model_validate({
        "mode": "live",
        "clock": {"type": "live"},
        "data": {"source": site.name, "timeframe": "1m", "instruments": [site.instrument.id]},
        "execution": {"venue": site.name},
        "strategies": [{"name": "keeper", "path": str(file), "capital": 100_000,
                        "currency": site.currency, "params": params}],
        "risk": {"max_position_quantity": 15,"max_daily_loss_pct": 50},
        "live": {"look_seconds": 0.15, "power_loss": False, "foreign_orders": "adopt",
                 "foreign_positions": "ignore", "foreign_cash": "ignore"},
    })  # fmt: skip
    return MortalSession(site.world, config, folder / "run", site.make)


def far(site: Site) -> int:
    """A price that is not met."""
    return site.price * 9 // 10


async def play(session: MortalSession, bars: int = 1) -> None:
    """Bars of the venue, each taken before the next, with what it makes the session do."""
    for _ in range(bars):
        rows = session.rows
        await session.world.player.play_slice()
        await session.until(lambda shell, rows=rows: shell.session.rows > rows)
        await settle(session)


async def settle(session: MortalSession) -> None:
    """Until the session is quiet and has as many orders open as its venue."""
    exchange = session.world.exchange

    def agrees(shell: RealtimeShell) -> bool:
        return shell.session.open_orders == len(exchange.open_orders("me")) and is_quiet(shell)

    await session.until(agrees)


async def end(site: Site, session: MortalSession) -> list[Any]:
    """Stop it; its books are the venue's, and it runs again as it ran. What its tape holds."""
    result = await session.stop()
    assert result is not None
    assert not result.quarantined
    check_session(site.world.exchange, site.hand.account, CASH * E8, session.run_dir,
                  site.currency, site.hand.name)  # fmt: skip
    told = [each.payload for each in read_tape(session.run_dir)]
    check_readers(session.run_dir, of_kind(told, OrderAdopted), of_kind(told, OrderFilled))
    return told


def check_readers(run_dir: Path, adopted: list[OrderAdopted], fills: list[OrderFilled]) -> None:
    """Whoever reads the tape knows the adopted orders, from their adoption on."""
    tape = run_dir / "tape.db"
    orders = project_run(iter(read_tape(run_dir))).orders
    comparison = check_parity(tape).comparison
    assert comparison is not None
    by_hand = [each for each in comparison.differences if each.cause is Cause.MANUAL]
    with closing(SqliteTapeReader(tape)) as reader:
        for each in adopted:
            identity = each.client_order_id
            own = [fill for fill in fills if fill.client_order_id == identity]
            order = orders[identity]
            assert order.filled_lots == sum(fill.lots for fill in own)
            assert order.filled_notional == sum(fill.notional for fill in own)
            assert order.adopted_lots == each.filled_lots
            assert order.status not in OPEN
            chain = trace_order(reader.records, identity)
            kinds = [event.type for event in chain.events]
            assert kinds.index("venue.state") < kinds.index("order.adopted")
            lots = sum(one.lots for one in by_hand if _id_of(one.session) == identity)
            assert lots == order.filled_lots


def _id_of(path: OrderPath | None) -> str:
    return path.client_order_id if path is not None else ""


def of_kind(told: list[Any], kind: type[Any]) -> list[Any]:
    return [each for each in told if isinstance(each, kind)]


@pytest.fixture(autouse=True)
def _mortal(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)


@pytest.mark.parametrize("venue", SITES)
def test_order_from_before_the_session_that_fills_in_parts(tmp_path: Path, venue: str) -> None:
    async def run() -> None:
        async with SITES[venue]() as site:
            lots = site.lots_of(30)
            await site.hand.place(site.instrument, Side.BUY, lots, site.price * 2)
            await site.world.player.play_slice()
            (order,) = site.orders()
            assert 0 < order.filled_lots < lots
            session = make_session(site, tmp_path)
            session.begin()
            await settle(session)
            await play(session, 2)
            told = await end(site, session)
            (adopted,) = of_kind(told, OrderAdopted)
            assert adopted.client_order_id == site.hand.name(order)
            assert (adopted.lots, adopted.filled_lots) == (lots, order.filled_lots)
            assert adopted.breaks is DenialCode.POSITION_QUANTITY
            assert adopted.actual > adopted.limit == pytest.approx(15)
            assert of_kind(told, OrderFilled)

    run_to_end(run())


@pytest.mark.parametrize("venue", SITES)
def test_order_by_hand_in_mid_session_is_changed_and_canceled_by_hand(
    tmp_path: Path, venue: str
) -> None:
    async def run() -> None:
        async with SITES[venue]() as site:
            session = make_session(site, tmp_path)
            session.begin()
            await settle(session)
            lots, below = site.lots_of(10), far(site)
            fewer = site.lots_of(6)
            number = await site.hand.place(site.instrument, Side.BUY, lots, below)
            await settle(session)
            changed = await site.hand.replace(number, fewer, below - 100)
            await play(session)

            def is_followed(shell: RealtimeShell) -> bool:
                orders = shell.session.submitted_orders()
                return [(each.lots, each.limit_ticks) for each in orders] == [(fewer, below - 100)]

            await session.until(is_followed)
            await site.hand.cancel(changed)
            await play(session)
            told = await end(site, session)
            names = [each.client_order_id for each in of_kind(told, OrderAdopted)]
            ended = of_kind(told, OrderCanceled)
            if venue == "binance":  # it knows no successor: the one is over, the other is new
                assert names == [f"@{site.instrument.symbol}:{each}" for each in (number, changed)]
                assert len(ended) == 2
            else:
                (order,) = [each for each in site.world.exchange.orders("me")
                            if each.number == number]  # fmt: skip
                assert names == [site.hand.name(order)]
                assert len(of_kind(told, OrderReplaced)) == 1
                assert [each.client_order_id for each in ended] == names

    run_to_end(run())


@pytest.mark.parametrize("venue", SITES)
def test_strategy_changes_and_cancels_an_order_that_it_adopted(tmp_path: Path, venue: str) -> None:
    async def run() -> None:
        async with SITES[venue]() as site:
            session = make_session(site, tmp_path, replace_at=2, cancel_at=4)
            session.begin()
            await settle(session)
            await site.hand.place(site.instrument, Side.BUY, site.lots_of(5), far(site))
            await settle(session)
            await play(session, 5)
            assert site.orders() == []
            told = await end(site, session)
            (adopted,) = of_kind(told, OrderAdopted)
            (replaced,) = of_kind(told, OrderReplaced)
            (canceled,) = of_kind(told, OrderCanceled)
            identity = adopted.client_order_id
            assert replaced.client_order_id == canceled.client_order_id == identity
            assert replaced.limit_ticks < adopted.limit_ticks
            assert canceled.reason == "requested"

    run_to_end(run())


@pytest.mark.parametrize("venue", SITES)
def test_flatten_takes_adopted_orders_with_it_and_later_ones_are_left(
    tmp_path: Path, venue: str
) -> None:
    async def run() -> None:
        async with SITES[venue]() as site:
            session = make_session(site, tmp_path)
            session.begin()
            await settle(session)
            lots = site.lots_of(60)
            await site.hand.place(site.instrument, Side.BUY, lots, site.price * 2)
            await settle(session)
            await play(session)
            assert session.life.shell is not None
            runner = session.life.shell.session.runners["keeper"]  # type: ignore[attr-defined]
            assert runner.ledger.positions[site.instrument.id].lots > 0
            session.flatten()
            for _ in range(30):
                await site.world.player.play_slice()
                await asyncio.sleep(0.05)
                if not site.orders() and not runner.ledger.held:
                    break
            assert not site.orders()
            assert not runner.ledger.held
            number = await site.hand.place(site.instrument, Side.BUY, site.lots_of(10), far(site))
            await session.until(lambda shell: shell.session._venue_desk.save().is_blocked)  # type: ignore[attr-defined]
            assert len(site.orders()) == 1
            await site.hand.cancel(number)
            await session.until(lambda shell: is_quiet(shell, "paused"))
            told = await end(site, session)
            assert len(of_kind(told, OrderAdopted)) == 1
            commands = of_kind(told, OperatorCommand)
            assert [each.action for each in commands] == [
                OperatorAction.FLATTEN, OperatorAction.STOP,
            ]  # fmt: skip

    run_to_end(run())


KILLS = [
    ("look, after", 1), ("look, after", 2), ("look, after", 3), ("commit, before", 3),
    ("commit, after", 3), ("fill, before", 1), ("fill, after", 1), ("fill, after", 2),
]  # fmt: skip


@pytest.mark.parametrize("venue", SITES)
@pytest.mark.parametrize("point", KILLS, ids=lambda each: f"{each[0]} {each[1]}")
def test_kill_around_the_adoption_loses_and_doubles_nothing(
    tmp_path: Path, venue: str, point: tuple[str, int]
) -> None:
    async def run() -> None:
        async with SITES[venue]() as site:
            lots = site.lots_of(200)
            await site.hand.place(site.instrument, Side.BUY, lots, site.price * 2)
            await site.world.player.play_slice()
            session = make_session(site, tmp_path)
            session.begin(point)
            for _ in range(4):
                if session.life.remains is None:
                    rows = session.rows
                    await site.world.player.play_slice()
                    await session.wait(lambda shell, rows=rows: shell.session.rows > rows, 0.3)
            if session.life.remains is None:
                await session.wait(lambda _: False, 0.3)
            if session.life.remains is not None:
                await session.bury()
                await site.world.player.play_slice()
                session.begin()
            await settle(session)
            await play(session, 2)
            told = await end(site, session)
            assert len(of_kind(told, OrderAdopted)) == 1
            assert of_kind(told, OrderFilled)

    run_to_end(run())
