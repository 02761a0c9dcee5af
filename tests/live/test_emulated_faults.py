"""Brackets and trailing stops at venues that have none, through seeded faults of the venue.

At no moment can what rests at the venue sell more than the account holds, and when everything has
settled each position has an exit. `ONETAPE_FAULTS` says how many schedules are tried. A failure
prints its seed and what went wrong at the venue.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from onetape.domain.events import (
    Event,
    OrderCanceled,
    OrderEmulated,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderReleased,
    OrderSubmitted,
)
from onetape.domain.instrument import InstrumentId
from onetape.domain.numbers import E8
from onetape.domain.orders import OrderStatus
from onetape.domain.venue import SessionResumed
from onetape.runtime.config import SessionConfig
from onetape.runtime.local_venues.exchange import LocalExchange
from onetape.runtime.local_venues.faults import FaultSchedule, make_plan
from onetape.runtime.local_venues.messages import MarketRow, OrderUpdate
from tests.live.test_faulty_sessions import (
    BARS,
    CASH,
    FAULTS_MIN,
    MAX_POSITION,
    SITES,
    Worst,
    begin,
    is_settled,
)
from tests.live.test_killed_session import run_killed
from tests.support.alpaca_venue import ACCOUNT
from tests.support.live_books import check_session, held_lots, read_tape
from tests.support.mortal_sessions import MortalSession, install, run_to_end
from tests.support.seeds import draw_seeds

SEEDS = draw_seeds("ONETAPE_FAULTS", 2)
STRATEGY = '''
from onetape.domain.market import Bar
from onetape.domain.orders import Side
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, state


class Guarded(Strategy):
    """Enters by brackets that are tight, and puts a trailing stop where an exit is missing."""

    bars: int = state(0)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        self.bars += 1
        name = bar.instrument
        near = bar.close * 0.0002
        resting = ctx.open_orders(name)
        held = ctx.position(name)
        if held > 0 and not any(each.side is Side.SELL for each in resting):
            ctx.order(name, Side.SELL, held, trail=max(0.01, round(near, 2)), reduce_only=True)
        elif held <= 0 and not resting:
            ctx.bracket(
                name, Side.BUY, 8,
                limit=None if self.bars % 2 else ctx.round_price(name, bar.close, 1),
                take_profit=ctx.round_price(name, bar.close + near, 1),
                stop_loss=ctx.round_price(name, bar.close - near, -1),
            )
        elif self.bars % 5 == 0 and resting[0].side is Side.BUY:
            ctx.cancel(resting[0].client_order_id)
'''


class Least:
    """The fewest units that the account could come to hold of an instrument, at any time so far."""

    def __init__(self, exchange: LocalExchange) -> None:
        self._exchange = exchange
        self.lots = 0
        self.where = ""
        exchange.listen(self._hear)

    def _hear(self, happening: OrderUpdate | MarketRow) -> None:
        if isinstance(happening, MarketRow):
            return
        least = Counter(held_lots(self._exchange, ACCOUNT))
        for each in self._exchange.open_orders(ACCOUNT):
            if each.side < 0:
                least[each.instrument] -= each.lots - each.filled_lots
        for name, lots in least.items():
            if lots < self.lots:
                self.lots, self.where = lots, f"{name} at {happening}"


async def run_guarded(
    folder: Path, faults: FaultSchedule, venue: str
) -> tuple[MortalSession, Worst, Least]:
    """A session from start to stop, through the faults; positions are looked at behind them."""
    file = folder / "guarded.py"
    file.write_text(STRATEGY)
    async with SITES[venue](faults) as site:
        world = site.world
        worst, least = Worst(world.exchange), Least(world.exchange)
        config = SessionConfig.model_validate({
            "mode": "live",
            "clock": {"type": "live"},
            "data": {"source": venue, "timeframe": "1m",
                     "instruments": [each.id for each in site.instruments]},
            "execution": {"venue": venue},
            "strategies": [{"name": "greedy", "path": str(file), "capital": 100_000,
                            "currency": site.currency}],
            "risk": {"max_position_quantity": MAX_POSITION, "max_daily_loss_pct": 50},
            "output": {"snapshot_events": 80},
            "live": {"look_seconds": 0.2, "power_loss": False},
        })  # fmt: skip
        session = MortalSession(world, config, folder / "run", site.make)
        await begin(session)
        for _ in range(BARS):
            rows = session.rows
            await world.player.play_slice()
            await session.wait(lambda shell, rows=rows: shell.session.rows > rows, 0.15)
        faults.stop()
        await asyncio.sleep(0.1)
        for _ in range(10):
            await world.player.play_slice()
            if await session.wait(lambda shell: is_settled(shell, world), 1.0):
                break
        unmanaged: dict[InstrumentId, int] = {}
        for bar in range(8):  # bars without faults, in which the strategy sees to its exits
            await world.player.play_slice()
            await session.until(lambda shell: is_settled(shell, world))
            shell = session.life.shell
            assert shell is not None
            unmanaged = find_unmanaged(shell.session)
            if bar >= 2 and not unmanaged:
                break
        assert not unmanaged
        result = await session.stop()
        assert result is not None
        check_session(world.exchange, ACCOUNT, CASH * E8, session.run_dir, site.currency)
        return session, worst, least


def find_unmanaged(session: Any) -> dict[InstrumentId, int]:
    """Lots that are held and have no exit, nor one under way."""
    missing: Counter[InstrumentId] = Counter()
    for runner in session.runners.values():
        for name, position in runner.ledger.held.items():
            missing[name] += position.lots
    for each in session.desk.save().orders:
        if each.side < 0 and each.status is not OrderStatus.UNKNOWN:
            missing[each.instrument] -= each.leaves
    return {name: lots for name, lots in missing.items() if lots > 0}


def count_groups(events: list[Event]) -> Counter[str]:
    """How much was held and released, after checking that a group had one order at the venue."""
    happened: Counter[str] = Counter()
    sent: dict[str, OrderSubmitted] = {}
    there: dict[str, set[str]] = {}
    for event in events:
        payload = event.payload
        if isinstance(payload, OrderSubmitted):
            sent[payload.client_order_id] = payload
        elif isinstance(payload, OrderEmulated):
            happened["held"] += 1
        elif isinstance(payload, OrderReleased):
            happened["released"] += 1
            order = sent[payload.client_order_id]
            if order.conditions is not None and order.conditions.group:
                name = f"{order.strategy} {order.conditions.group}"
                group = there.setdefault(name, set())
                group.add(payload.client_order_id)
                assert len(group) == 1, f"{group} at {event.seq}"
        elif isinstance(payload, OrderCanceled | OrderExpired | OrderRejected) or (
            isinstance(payload, OrderFilled) and not payload.leaves
        ):
            for group in there.values():
                group.discard(payload.client_order_id)
    return happened


@pytest.mark.parametrize("venue", SITES)
@pytest.mark.parametrize("seed", SEEDS)
def test_exits_never_oversell_and_positions_are_managed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, venue: str
) -> None:
    install(monkeypatch)
    faults = FaultSchedule(seed, make_plan(time_scale=0.01, often=2.0))
    try:
        session, worst, least = run_to_end(run_guarded(tmp_path, faults, venue))
        assert worst.units <= MAX_POSITION, worst.where
        assert least.lots >= 0, least.where
        happened = count_groups(read_tape(session.run_dir))
        assert happened["held"] >= 2
        assert len(faults.decisions) >= FAULTS_MIN
    except BaseException as failure:
        failure.add_note(faults.describe())
        raise


def make_settings(folder: Path) -> dict[str, object]:
    """Two strategies that share the account, each with exits of its own."""
    file = folder / "guarded.py"
    file.write_text(STRATEGY)
    return {
        "strategies": [
            {"name": name, "path": str(file), "capital": 90_000} for name in ("one", "two")
        ],
        "output": {"snapshot_events": 60},
        "live": {"look_seconds": 0.05, "power_loss": False},
    }


@pytest.mark.parametrize("seed", SEEDS)
def test_held_orders_survive_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Killed at six places, each in another process: books are equal, and the tape runs again."""
    install(monkeypatch)
    chance = random.Random(seed)
    points = [("any", chance.randint(20, 150)) for _ in range(6)]
    session = run_to_end(run_killed(tmp_path, seed, points, settings=make_settings))
    events = read_tape(session.run_dir)
    resumed = [each.seq for each in events if isinstance(each.payload, SessionResumed)]
    assert resumed
    happened = count_groups(events)
    assert happened["held"] >= 6
    assert happened["released"] >= 2
    held: set[str] = set()
    carried = 0
    for event in events:
        payload = event.payload
        if isinstance(payload, OrderEmulated):
            held.add(payload.client_order_id)
        elif isinstance(payload, OrderReleased | OrderCanceled | OrderExpired):
            held.discard(payload.client_order_id)
        elif isinstance(payload, SessionResumed):
            carried += len(held)
    assert carried, f"nothing was held at a kill: {points}"
