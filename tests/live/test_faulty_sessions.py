"""A live session through seeded faults of its venue: the books are equal, and limits hold always.

Replaces make orders smaller here. Alpaca counts a replacement's quantity from its own start, so one
to more that meets a fill on its way comes out larger by that fill, which no limit can foresee.

`ONETAPE_FAULTS` says how many schedules are tried (`make soak`: 200). A failure prints its seed and
what went wrong at the venue.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from onetape.domain.errors import TryAgain
from onetape.domain.events import OrderSubmitted
from onetape.domain.numbers import E8
from onetape.runtime.local_venues.faults import FaultSchedule, make_plan
from onetape.runtime.local_venues.messages import MarketRow, OrderUpdate
from onetape.runtime.realtime.shell import RealtimeShell
from tests.support.alpaca_venue import AAPL, ACCOUNT, MSFT, LocalAlpaca, local_alpaca, make_minutes
from tests.support.live_books import check_session, read_tape
from tests.support.live_sessions import make_config
from tests.support.mortal_sessions import MortalSession, install, is_quiet

SEEDS = int(os.environ.get("ONETAPE_FAULTS", "6"))
CASH = 200_000
WARM_UP, BARS = 8, 24
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
            ctx.replace(resting[0].client_order_id, bar.instrument, quantity=6)
        if step == 4 and resting:
            ctx.cancel(resting[-1].client_order_id)
        if step == 6 and ctx.position(bar.instrument) > 0:
            ctx.sell(bar.instrument, ctx.position(bar.instrument))
'''


class Worst:
    """The most that the account could come to hold of an instrument, at any time so far."""

    def __init__(self, world: LocalAlpaca) -> None:
        self._exchange = world.exchange
        self.lots = 0
        self.where = ""
        world.exchange.listen(self._hear)

    def _hear(self, happening: OrderUpdate | MarketRow) -> None:
        if isinstance(happening, MarketRow):
            return
        books = self._exchange.books(ACCOUNT)
        worst = Counter[str]()
        for name, each in books.positions.items():
            worst[name] += each.lots
        for each in books.open_orders:
            if each.side > 0:
                worst[each.instrument] += each.lots - each.filled_lots
        for name, lots in worst.items():
            if lots > self.lots:
                self.lots, self.where = lots, f"{name} at {happening}: {books.open_orders}"


async def run_faulty(folder: Path, faults: FaultSchedule) -> tuple[MortalSession, Worst]:
    file = folder / "greedy.py"
    file.write_text(STRATEGY)
    timeline = make_minutes(AAPL, MSFT, bars=WARM_UP + BARS + 60, seed=faults.seed + 1)
    async with local_alpaca(
        timeline, is_open=False, rows=2 * WARM_UP, cash=CASH, faults=faults,
        models={"max_volume_ratio": 1e-5, "limit_reach": 0.0},
        first_wait_s=0.002, longest_wait_s=0.02, answer_s=0.4, settle_s=0.06, heartbeat_s=0.5,
    ) as world:  # fmt: skip
        worst = Worst(world)
        config = make_config(
            world, "live",
            strategies=[{"name": "greedy", "path": str(file), "capital": 100_000}],
            risk={"max_position_quantity": MAX_POSITION, "max_daily_loss_pct": 50},
            output={"snapshot_events": 80},
            live={"look_seconds": 0.2, "power_loss": False},
        )  # fmt: skip
        session = MortalSession(world, config, folder / "run")
        await begin(session)
        for _ in range(BARS):
            rows = session.rows
            await world.player.play_slice()
            await session.wait(lambda shell, rows=rows: shell.session.rows > rows, 0.15)
        faults.stop()
        await asyncio.sleep(0.1)
        for _ in range(10):  # an outage of the data lasts for some rows
            await world.player.play_slice()
            if await session.wait(lambda shell: is_settled(shell, world), 1.0):
                break
        await session.until(lambda shell: is_settled(shell, world))
        result = await session.stop()
        assert result is not None
        assert result.reason == "stopped by an operator"
        check_session(world.exchange, ACCOUNT, CASH * E8, session.run_dir)
        return session, worst


def is_settled(shell: RealtimeShell, world: LocalAlpaca) -> bool:
    """Whether the session has every bar and nothing is unclear."""
    session: Any = shell.session
    newest = set(session.newest_closes().values())
    return newest == {world.exchange.now} and is_quiet(shell)


async def begin(session: MortalSession) -> None:
    """A session that can't begin because the venue does not answer leaves nothing behind."""
    for _ in range(30):
        session.begin()
        try:
            await session.until(lambda shell: shell.session.rows >= 1)
        except TryAgain:
            continue
        return
    raise AssertionError("it never began")


@pytest.mark.parametrize("seed", range(SEEDS))
def test_books_are_equal_and_limits_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    install(monkeypatch)
    faults = FaultSchedule(seed, make_plan(time_scale=0.01, often=2.0))
    try:
        session, worst = asyncio.run(run_faulty(tmp_path, faults))
        assert worst.lots <= MAX_POSITION, worst.where
        sent = [
            1 for each in read_tape(session.run_dir) if isinstance(each.payload, OrderSubmitted)
        ]
        assert len(sent) >= 5
        assert len(faults.decisions) >= 10
    except BaseException as failure:
        failure.add_note(faults.describe())
        raise
