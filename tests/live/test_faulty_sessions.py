"""A live session through seeded faults of its venue: the books are equal, and limits hold always.

Replaces make orders smaller and larger. Alpaca counts a replacement's quantity from its own start,
so what fills on its way comes on top: risk counts both.

In a part of the schedules somebody else gives orders for the account meanwhile, and the session
adopts them.

`ONETAPE_FAULTS` says how many schedules are tried (`make soak`: 200), `ONETAPE_FIRST_SEED` which
one comes first. A failure prints its seed and what went wrong at the venue.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from onetape.domain.errors import TryAgain
from onetape.domain.events import OrderDenied, OrderSubmitted
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.numbers import E8
from onetape.domain.orders import DenialCode, OrderType, Side
from onetape.execution.binance.gateway import BinanceGateway
from onetape.execution.simulated.fees import BpsFees
from onetape.marketdata.feeds.binance import BinanceFeed
from onetape.runtime.config import SessionConfig
from onetape.runtime.local_venues.exchange import LocalExchange
from onetape.runtime.local_venues.faults import FaultSchedule, make_plan
from onetape.runtime.local_venues.messages import (
    Changes,
    MarketRow,
    NewOrder,
    OrderUpdate,
    Refusal,
)
from onetape.runtime.realtime.shell import RealtimeShell
from onetape.runtime.sessions.live_run import LiveParts
from tests.support import ibkr_venue
from tests.support.alpaca_venue import AAPL, ACCOUNT, MINUTE, MSFT, local_alpaca, make_minutes
from tests.support.binance_live import COIN, World, make_settings
from tests.support.live_books import NameManual, check_session, held_lots, read_tape
from tests.support.live_sessions import VenueClock, make_parts
from tests.support.manual_orders import name_at_alpaca, name_at_binance, name_in_tws
from tests.support.mortal_sessions import MortalSession, PlayedVenue, install, is_quiet, run_to_end
from tests.support.runs import make_walks
from tests.support.seeds import draw_seeds

SEEDS = draw_seeds("ONETAPE_FAULTS", 5)
CASH = 200_000
WARM_UP, BARS = 8, 24
FAULTS_MIN = 5
"""Of a schedule; one in a thousand draws as few as seven, most some thirty."""
MAX_POSITION = 30
"""Units of one instrument that the strategies may hold together; they want more."""

STRATEGY = '''
from onetape.domain.market import Bar
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, state


class Greedy(Strategy):
    """Wants more than it may have, changes its mind often, and sells all now and then."""

    bars: int = state(0)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        self.bars += 1
        resting = ctx.open_orders(bar.instrument)
        step = self.bars % 7
        if step in (0, 1, 4):
            ctx.buy(bar.instrument, 8)
        if step in (1, 3):
            ctx.buy(bar.instrument, 9, limit=ctx.round_price(bar.instrument, bar.close * 0.9998, 1))
        if step in (2, 5) and resting:
            quantity = 6 if self.bars % 2 else 12
            ctx.replace(resting[0].client_order_id, bar.instrument, quantity=quantity)
        if step == 4 and resting:
            ctx.cancel(resting[-1].client_order_id)
        if step == 6 and ctx.position(bar.instrument) > 0:
            ctx.sell(bar.instrument, ctx.position(bar.instrument))
'''


class Worst:
    """The most units that the account could come to hold of an instrument, at any time so far."""

    def __init__(self, exchange: LocalExchange) -> None:
        self._exchange = exchange
        self._lot_sizes = {each.id: each.lot_size for each in exchange.instruments.values()}
        self.units = Decimal(0)
        self.where = ""
        exchange.listen(self._hear)

    def _hear(self, happening: OrderUpdate | MarketRow) -> None:
        if isinstance(happening, MarketRow):
            return
        worst = Counter(held_lots(self._exchange, ACCOUNT))
        for each in self._exchange.open_orders(ACCOUNT):
            if each.side > 0:
                worst[each.instrument] += each.lots - each.filled_lots
        for name, lots in worst.items():
            units = lots * self._lot_sizes[InstrumentId(name)]
            if units > self.units:
                self.units, self.where = units, f"{name} at {happening}"


class Site(msgspec.Struct, kw_only=True):
    """One venue of the schedules; see `MortalSession` for `make`, `live_books` for `name`.

    `makes_new`: it does not change an order but makes another one.
    """

    world: PlayedVenue
    instruments: tuple[Instrument, ...]
    currency: str
    make: Callable[[], LiveParts]
    name: NameManual
    makes_new: bool = False


class SomebodyElse:
    """Gives orders for the account amid everything, near the price, and changes or cancels them.

    Attributes:
        units: So many units of all instruments were given.
    """

    def __init__(self, site: Site, seed: int) -> None:
        self._exchange = site.world.exchange
        self._instruments = site.instruments
        self._chance = random.Random(f"by hand {seed}")
        self._makes_new = site.makes_new
        self._numbers: list[int] = []
        self._named = 0
        self.units = Decimal(0)

    def act(self) -> None:
        """One thing, or nothing."""
        step = self._chance.random()
        standing = [each for each in self._exchange.open_orders(ACCOUNT)
                    if each.number in self._numbers]  # fmt: skip
        if step < 0.2:
            self._give(self._chance.choice(self._instruments))
        elif step < 0.3 and standing:
            self._exchange.cancel(ACCOUNT, self._chance.choice(standing).number)
        elif step < 0.4 and standing:
            order = self._chance.choice(standing)
            left = (order.lots - order.filled_lots) // 2
            instrument = next(each for each in self._instruments if each.id == order.instrument)
            quantity = instrument.lots_to_quantity(order.filled_lots + left)
            name = self._new_name() if self._makes_new else order.client_order_id
            changes = Changes(quantity=quantity, client_order_id=name)
            changed = self._exchange.replace(ACCOUNT, order.number, changes) if left else order
            if not isinstance(changed, Refusal):
                self._numbers.append(changed.number)

    def _new_name(self) -> str:
        self._named += 1
        return f"by hand {self._named}"

    def _give(self, instrument: Instrument) -> None:
        event: Any = self._exchange.rows(instrument.symbol)[-1].event
        ticks = int(event.close / instrument.tick_float * self._chance.choice((0.98, 0.999, 1.01)))
        units = Decimal(self._chance.choice((2, 5, 11)))
        placed = self._exchange.submit(
            ACCOUNT,
            NewOrder(symbol=instrument.symbol, client_order_id=self._new_name(),
                     side=Side.BUY, order_type=OrderType.LIMIT, quantity=units,
                     limit=instrument.ticks_to_price(ticks)),
        )  # fmt: skip
        if not isinstance(placed, Refusal):
            self._numbers.append(placed.number)
            self.units += units


def gives_by_hand(seed: int) -> bool:
    """Whether somebody else trades the account in a schedule."""
    return seed % 4 == 2


MODELS: dict[str, Any] = {"max_volume_ratio": 1e-5, "limit_reach": 0.0}


@asynccontextmanager
async def open_alpaca(faults: FaultSchedule) -> AsyncGenerator[Site]:
    timeline = make_minutes(AAPL, MSFT, bars=WARM_UP + BARS + 60, seed=faults.seed + 1)
    async with local_alpaca(
        timeline, is_open=False, rows=2 * WARM_UP, cash=CASH, faults=faults, models=MODELS,
        first_wait_s=0.002, longest_wait_s=0.02, answer_s=0.4, settle_s=0.06, heartbeat_s=0.5,
    ) as world:  # fmt: skip
        yield Site(world=world, instruments=(AAPL, MSFT), currency="USD",
                   make=lambda: make_parts(world, "live"),
                   name=partial(name_at_alpaca, world.exchange), makes_new=True)  # fmt: skip


@asynccontextmanager
async def open_binance(faults: FaultSchedule) -> AsyncGenerator[Site]:
    timeline = make_walks((COIN,), WARM_UP + BARS + 60, seed=faults.seed + 1, timeframe="1m",
                          length_ns=MINUTE, ts_start="2024-03-11T13:31:00Z")  # fmt: skip
    fees = BpsFees(maker_bps=0, taker_bps=0) if gives_by_hand(faults.seed) else None
    world = World(timeline=timeline, faults=faults, cash={"USDT": CASH * E8}, fees=fees, **MODELS)

    def make() -> LiveParts:
        settings = make_settings(world.server, timeout_s=0.5, recv_window_ms=1_000, silent_s=1.0)
        return LiveParts(
            feed=BinanceFeed(settings, clock=lambda: world.exchange.now),
            clock=VenueClock(world),
            gateway=BinanceGateway(settings, ("greedy",)),
        )

    async with world.serve():
        await world.play(WARM_UP)
        yield Site(world=world, instruments=(COIN,), currency="USDT", make=make,
                   name=name_at_binance)  # fmt: skip


@asynccontextmanager
async def open_ibkr(faults: FaultSchedule) -> AsyncGenerator[Site]:
    aapl, msft = ibkr_venue.AAPL, ibkr_venue.MSFT
    bars = WARM_UP + BARS + 60
    timeline = ibkr_venue.make_minutes(aapl, msft, bars=bars, seed=faults.seed + 1)
    async with ibkr_venue.local_tws(
        timeline, is_open=False, rows=2 * WARM_UP, cash=CASH, faults=faults, models=MODELS,
        first_wait_s=0.002, longest_wait_s=0.02, answer_s=0.4, settle_s=0.06, fee_wait_s=0.1,
        silence_s=1.0,
    ) as world:  # fmt: skip

        def make() -> LiveParts:
            return LiveParts(
                feed=world.make_feed(),
                clock=VenueClock(world),
                gateway=world.make_gateway(skew_s_max=None, client_id=0),
            )

        yield Site(world=world, instruments=(aapl, msft), currency="USD", make=make,
                   name=name_in_tws)  # fmt: skip


ADOPTING = {"foreign_orders": "adopt", "foreign_positions": "ignore", "foreign_cash": "ignore"}

SITES = {"alpaca": open_alpaca, "binance": open_binance, "ibkr": open_ibkr}


async def run_faulty(
    folder: Path, faults: FaultSchedule, venue: str = "alpaca", *, flattens: bool = False
) -> tuple[MortalSession, Worst, Decimal]:
    """A session from start to stop, through the faults; its books are checked behind them.

    Returns it with the most that its account could come to hold beyond what others gave.
    `flattens`: an operator flattens it in the midst of them.
    """
    file = folder / "greedy.py"
    file.write_text(STRATEGY)
    async with SITES[venue](faults) as site:
        world = site.world
        worst = Worst(world.exchange)
        by_hand = SomebodyElse(site, faults.seed) if gives_by_hand(faults.seed) else None
        names = [each.id for each in site.instruments]
        config = SessionConfig.model_validate({
            "mode": "live",
            "clock": {"type": "live"},
            "data": {"source": venue, "timeframe": "1m", "instruments": names},
            "execution": {"venue": venue},
            "strategies": [{"name": "greedy", "path": str(file), "capital": 100_000,
                            "currency": site.currency}],
            "risk": {"max_position_quantity": MAX_POSITION, "max_daily_loss_pct": 50},
            "output": {"snapshot_events": 80},
            "live": {"look_seconds": 0.2, "power_loss": False} | (ADOPTING if by_hand else {}),
        })  # fmt: skip
        session = MortalSession(world, config, folder / "run", site.make)
        await begin(session)
        for number in range(BARS):
            if flattens and number == BARS * 3 // 4:
                session.flatten()
            rows = session.rows
            if by_hand is not None:
                by_hand.act()
            await world.player.play_slice()
            await session.wait(lambda shell, rows=rows: shell.session.rows > rows, 0.15)
        faults.stop()
        await asyncio.sleep(0.1)
        for _ in range(10):  # an outage of the data lasts for some rows, a closing order for one
            await world.player.play_slice()
            if await session.wait(lambda shell: is_settled(shell, world, flattens=flattens), 1.0):
                break
        await session.until(lambda shell: is_settled(shell, world, flattens=flattens))
        result = await session.stop()
        assert result is not None
        assert result.reason == "stopped by an operator"
        check_session(world.exchange, ACCOUNT, CASH * E8, session.run_dir, site.currency,
                      site.name if by_hand is not None else None)  # fmt: skip
        return session, worst, by_hand.units if by_hand is not None else Decimal(0)


def is_settled(shell: RealtimeShell, world: PlayedVenue, *, flattens: bool = False) -> bool:
    """Whether the session has every bar and nothing is unclear, and is flat if it was to be."""
    session: Any = shell.session
    if set(session.newest_closes().values()) != {world.exchange.now}:
        return False
    if flattens:
        return is_quiet(shell, "paused") and not held_lots(world.exchange, ACCOUNT)
    all_known = session.open_orders >= len(world.exchange.open_orders(ACCOUNT))
    return is_quiet(shell) and all_known


async def begin(session: MortalSession) -> None:
    """A session that can't begin because the venue does not answer leaves nothing behind."""
    world = session.world
    for _ in range(30):
        session.begin()
        try:
            await session.until(lambda shell: shell.session.rows >= 1)
        except TryAgain:
            if isinstance(world, ibkr_venue.LocalTws):  # or the client id is in use still
                await world.until(lambda: not world.server.clients)
            continue
        return
    raise AssertionError("it never began")


CASES = [
    (seed, venue)
    for seed in SEEDS
    for venue in SITES
    if len(SEEDS) >= 100 or venue == "alpaca" or (venue == "ibkr" and seed < 3)
]


@pytest.mark.parametrize(("seed", "venue"), CASES)
def test_books_are_equal_and_limits_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, venue: str
) -> None:
    install(monkeypatch)
    faults = FaultSchedule(seed, make_plan(time_scale=0.01, often=2.0))
    try:
        flattens = seed % 3 == 1 and not gives_by_hand(seed)
        session, worst, others = run_to_end(run_faulty(tmp_path, faults, venue, flattens=flattens))
        assert worst.units <= MAX_POSITION + others, worst.where
        told = [each.payload for each in read_tape(session.run_dir)]
        sent = [each for each in told if isinstance(each, OrderSubmitted)]
        held = [
            each
            for each in told
            if isinstance(each, OrderDenied) and each.code is DenialCode.PAUSED
        ]
        # Until a venue that fails has told its books once, nothing is sent.
        assert len(sent) >= 3 or len(held) >= 3
        assert len(faults.decisions) >= FAULTS_MIN
    except BaseException as failure:
        failure.add_note(faults.describe())
        raise
