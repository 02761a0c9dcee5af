"""The pattern day trader rule: what a day trade is, how many can come, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onetape.domain.instrument import make_equity, make_spot
from onetape.domain.numbers import E8
from onetape.risk.gates.day_trades import (
    DayTradeCount,
    DayTradeGate,
    is_day_trade,
    is_opening,
)
from onetape.risk.input import apply_worst_case
from tests.support.risk_input import make_risk_input


def count(held: int, fills: Sequence[int], *, opened: bool = False) -> tuple[int, int]:
    """Day trades of a day of signed fills, and what is held behind it."""
    made = 0
    for lots in fills:
        side = 1 if lots > 0 else -1
        made += is_day_trade(side, held, opened)
        opened = is_opening(side, held, abs(lots))
        held += lots
    return made, held


# The rule's own words: FINRA Rule 4210(f)(8)(B)(i), "purchasing and selling or the selling and
# purchasing of the same security on the same day", except what was "held overnight and sold the
# next day prior to any new purchase". Several sales behind one purchase are one day trade, as
# brokers count (by changes of direction).
@pytest.mark.parametrize(
    ("held", "fills", "made"),
    [
        # overnight   of the day              day trades
        (0, [10, -10], 1),
        (0, [-10, 10], 1),
        (0, [10, -5, -5], 1),
        (0, [5, 5, -10], 1),
        (0, [10, -5, 5, -10], 2),
        (0, [-10, 20, -10], 2),
        (0, [10], 0),
        (10, [-10], 0),
        (10, [-10, 10], 0),
        (10, [-10, 10, -10], 1),
        (10, [5, -15], 1),
        (10, [-20, 10], 1),
        (-10, [10, -10], 0),
        (-10, [-5, 15], 1),
    ],
)
def test_day_trades_of_a_day(held: int, fills: list[int], made: int) -> None:
    assert count(held, fills)[0] == made


@given(
    st.integers(-2, 2), st.booleans(), st.lists(st.sampled_from([-2, -1, 1, 2]), max_size=6)
)  # fmt: skip
def test_no_orders_make_more_day_trades_than_could_come(
    held: int, opened: bool, fills: list[int]
) -> None:
    """One of each, and one of what was opened before; behind them an order closes what is left."""
    if not fills and not (opened and held):
        return
    made, left = count(held, fills, opened=opened and held != 0)
    rest, flat = count(left, [-left] if left else [], opened=_is_opened(held, opened, fills))
    assert flat == 0
    assert made + rest <= len(fills) + (opened and held != 0)


def _is_opened(held: int, opened: bool, fills: list[int]) -> bool:
    for lots in fills:
        opened = is_opening(1 if lots > 0 else -1, held, abs(lots))
        held += lots
    return opened and held != 0


@pytest.mark.parametrize(
    ("made", "coming", "trades", "equity", "passes"),
    [
        # made  coming  trades  equity          fewer than four, or 6 % at the most, or 25,000
        (2, 1, 9, 24_999.99, True),
        (3, 1, 9, 24_999.99, False),
        (3, 1, 9, 25_000.00, True),
        (3, 1, 66, 1_000.00, True),  # 4 of 67: 5.97 %
        (3, 1, 65, 1_000.00, False),  # 4 of 66: 6.06 %
        (0, 4, 0, 1_000.00, False),
    ],
)
def test_order_that_could_make_a_pattern_is_refused(
    made: int, coming: int, trades: int, equity: float, passes: bool
) -> None:
    gate = DayTradeGate()
    record = gate.limit_for(make_equity("AAPL.XNAS"))
    assert record is gate.count
    record.made, record.coming, record.trades = made, coming, trades
    order = make_risk_input(equity=round(equity * E8))
    apply_worst_case(order)
    assert gate.check(order, record) is passes
    denied = gate.deny(order, record)
    assert (denied.code.value, denied.actual, denied.limit, denied.unit) == (
        "day_trades", made + coming, 3, "day trades in 5 days"
    )  # fmt: skip
    reducing = make_risk_input(equity=0, side_sign=-1, position_lots=100)
    apply_worst_case(reducing)
    assert gate.check(reducing, record)


def test_coins_do_not_count() -> None:
    coin = make_spot("BTC-USD.X", base="BTC", quote="USD", tick_size="0.01", lot_size="0.1")
    assert DayTradeGate().limit_for(coin) is None
    assert DayTradeCount() == DayTradeGate().count
