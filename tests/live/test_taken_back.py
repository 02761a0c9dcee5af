"""What has not left when its cancel comes never leaves; what looks for losses knows it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from onetape.domain.events import (
    Event,
    OrderCanceled,
    OrderRejected,
    OrderReplaceRejected,
    OrderSubmitted,
)
from onetape.domain.numbers import E8
from onetape.domain.orders import OrderType, RejectCode, Side
from onetape.domain.venue import SessionResumed
from onetape.runtime.local_venues.messages import NewOrder
from tests.support.alpaca_venue import AAPL, ACCOUNT, LocalAlpaca, local_alpaca, make_minutes
from tests.support.live_books import check_orders, check_session, list_taken_back, read_tape
from tests.support.live_sessions import make_config
from tests.support.mortal_sessions import MortalSession, Point, install, run_to_end

WARM_UP, BARS = 3, 4
CASH = 100_000
STRATEGY = '''
from onetape.domain.market import Bar
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy


class Fickle(Strategy):
    """Gives two orders at each bar, one of which it cancels at once; the other it changes first."""

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        for each in ctx.open_orders(bar.instrument):
            ctx.replace(each, bar.instrument, quantity=3)
            ctx.cancel(each)
        ctx.buy(bar.instrument, 1, limit=ctx.round_price(bar.instrument, bar.close / 2, 1))
        ctx.cancel(ctx.buy(bar.instrument, 2))
'''


@asynccontextmanager
async def run_fickle(folder: Path, point: Point | None = None) -> AsyncGenerator[
    tuple[LocalAlpaca, MortalSession]
]:  # fmt: skip
    """A session that has stopped, with its venue; where it is killed another process goes on."""
    file = folder / "fickle.py"
    file.write_text(STRATEGY)
    timeline = make_minutes(AAPL, bars=WARM_UP + BARS + 5)
    async with local_alpaca(timeline, is_open=False, rows=WARM_UP, cash=CASH) as world:
        config = make_config(
            world, "live",
            strategies=[{"name": "fickle", "path": str(file), "capital": 50_000}],
            live={"look_seconds": 0.05, "power_loss": False},
        )  # fmt: skip
        session = MortalSession(world, config, folder / "run")
        session.begin(point)
        await session.until_quiet(1)
        for _ in range(BARS):
            rows = session.rows
            await world.player.play_slice()
            if not await session.until_quiet(rows + 1):
                await session.bury()
                session.begin()
                await session.until_quiet(1)
        assert await session.stop() is not None
        yield world, session


@pytest.fixture(autouse=True)
def mortal(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)


def find_fickle(events: list[Event]) -> set[str]:
    """Orders that were to be taken back."""
    return {each.payload.client_order_id for each in events
            if isinstance(each.payload, OrderSubmitted) and each.payload.lots == 2}  # fmt: skip


def find_ended(events: list[Event], kind: type[OrderCanceled | OrderRejected]) -> set[str]:
    """Orders that ended so."""
    return {each.payload.client_order_id for each in events if isinstance(each.payload, kind)}


def test_order_that_is_canceled_as_it_is_given_never_leaves(tmp_path: Path) -> None:
    async def run() -> None:
        async with run_fickle(tmp_path) as (world, session):
            check_session(world.exchange, ACCOUNT, CASH * E8, session.run_dir)
            events = read_tape(session.run_dir)
            fickle = find_fickle(events)
            assert len(fickle) == BARS
            assert list_taken_back(events) == fickle <= find_ended(events, OrderCanceled)
            refused = [each.payload for each in events
                       if isinstance(each.payload, OrderReplaceRejected)]  # fmt: skip
            assert {each.code for each in refused} == {RejectCode.NOT_RECEIVED}
            assert len(refused) == BARS - 1
            # A change at Alpaca is another order.
            assert len(world.exchange.orders(ACCOUNT)) == BARS

    run_to_end(run())


@pytest.mark.parametrize("visit", [1, 2, 3], ids=["order", "change", "order behind a change"])
@pytest.mark.parametrize("place", ["taken back, before", "taken back, after"])
def test_kill_before_the_tape_has_what_was_taken_back_loses_nothing(
    tmp_path: Path, place: str, visit: int
) -> None:
    """The next process does not know whether it has left; the venue says that it has not."""

    async def run() -> None:
        async with run_fickle(tmp_path, (place, visit)) as (world, session):
            check_session(world.exchange, ACCOUNT, CASH * E8, session.run_dir)
            events = read_tape(session.run_dir)
            assert sum(isinstance(each.payload, SessionResumed) for each in events) == 1
            fickle = find_fickle(events)
            assert len(fickle & list_taken_back(events)) == BARS - 1
            assert len(fickle & find_ended(events, OrderRejected)) == 1

    run_to_end(run())


def test_check_tells_an_order_that_is_lost_and_one_that_left_all_the_same(tmp_path: Path) -> None:
    async def run() -> None:
        async with run_fickle(tmp_path) as (world, session):
            events = read_tape(session.run_dir)
            taken_back = sorted(list_taken_back(events))[0]
            silent = [each for each in events
                      if "before it was sent" not in str(each.payload)]  # fmt: skip
            with pytest.raises(AssertionError, match=rf"venue does not know.*{taken_back}(.|\n)*"
                               rf"OrderSubmitted\(.*{taken_back}"):  # fmt: skip
                check_orders(world.exchange, ACCOUNT, silent)
            world.exchange.submit(ACCOUNT, NewOrder(
                symbol="AAPL", client_order_id=taken_back, side=Side.BUY,
                order_type=OrderType.MARKET, quantity=AAPL.lots_to_quantity(2)))  # fmt: skip
            with pytest.raises(AssertionError, match=rf"never sent, and at the.*'{taken_back}'"):
                check_orders(world.exchange, ACCOUNT, events)

    run_to_end(run())
