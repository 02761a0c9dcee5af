"""Day trades in sessions: counted by days, over all strategies, refused before the fourth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from onetape.risk.limits import AccountLimits, RiskLimits
from onetape.strategy.context import Context
from tests.support.session_runs import SessionRun, run_session
from tests.support.timelines import AAPL, MSFT, at_rows, flat, make_timeline

LIMITS = RiskLimits(max_leverage=4, account=AccountLimits(pattern_day_trader=True))
PER_DAY = 4

Action = Callable[[Context], Any]
buy: Action = lambda ctx: ctx.buy(AAPL, 10)  # noqa: E731
sell: Action = lambda ctx: ctx.sell(AAPL, 10)  # noqa: E731


def run(*actions: dict[int, Action], days: int = 12, capital: float = 20_000) -> SessionRun:
    """Days of four bars; an order of the last bar of a day fills on the next one."""
    timeline = make_timeline(
        flat(*[100] * PER_DAY * days), flat(*[50] * PER_DAY * days), session=PER_DAY
    )
    strategies = [at_rows(each) for each in actions]
    return run_session(timeline, *strategies, capital=capital / len(actions), limits=LIMITS)


def day_trade(day: int) -> dict[int, Action]:
    return {PER_DAY * day: buy, PER_DAY * day + 1: sell}


def tell(session: SessionRun) -> list[tuple[int, float, float]]:
    """(intent, day trades that could be, of how many) of each denial."""
    assert {each.code.value for each in session.denied} <= {"day_trades"}
    return [(each.intent, each.actual, each.limit) for each in session.denied]


def test_fourth_day_trade_within_five_days_is_refused_at_its_entry() -> None:
    three = day_trade(0) | day_trade(1) | day_trade(2)
    assert tell(run(three | {PER_DAY * 4: buy})) == [(7, 4.0, 3.0)]
    assert tell(run(three | {PER_DAY * 5: buy})) == []  # day 0 is out of the five
    assert tell(run(three | {PER_DAY * 4: buy}, capital=30_000)) == []


def test_positions_held_overnight_make_no_day_trades() -> None:
    """Bought with the last bar of a day, so on the next; sold with the last bar of that."""
    nights = {PER_DAY * day + 3: buy if day % 2 else sell for day in range(8)}
    session = run({0: buy} | nights)
    assert tell(session) == []
    assert len(session.fills) == 9


def test_what_is_opened_and_what_is_open_count_as_what_they_can_become() -> None:
    """Two made; one more position of today, then nothing else may be opened, of any instrument."""
    other: Action = lambda ctx: ctx.buy(MSFT, 10)  # noqa: E731
    two = day_trade(0) | day_trade(1)
    session = run(two | {PER_DAY * 2: buy, PER_DAY * 2 + 1: other, PER_DAY * 2 + 2: sell})
    assert tell(session) == [(6, 4.0, 3.0)]
    assert len(session.fills) == 6

    def resting(ctx: Context) -> None:
        ctx.buy(AAPL, 10, limit=90)
        ctx.buy(MSFT, 10, limit=40)

    assert tell(run(two | {PER_DAY * 2: resting})) == [(6, 4.0, 3.0)]
    replaced: dict[int, Action] = {PER_DAY * 2: lambda ctx: ctx.buy(AAPL, 10, limit=90)}
    replaced[PER_DAY * 2 + 1] = lambda ctx: ctx.replace(
        ctx.open_orders()[0].client_order_id, AAPL, limit=91
    )
    assert tell(run(two | replaced)) == []  # the order is not there twice


def test_strategies_count_together() -> None:
    """One buys and the other sells: for the broker these are day trades, in neither book one is.

    The third sale opens a position in its own book, beside the one that was opened before it.
    """
    buys = {PER_DAY * day: buy for day in range(4)}
    sells = {PER_DAY * day + 1: sell for day in range(4)}
    session = run(buys, sells)
    assert [(each.strategy, each.intent) for each in session.denied] == [("s1", 3), ("s1", 4)]
