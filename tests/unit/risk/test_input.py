from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.domain.numbers import E8, compute_ratio_floor
from onetape.risk.gates.gross_exposure import check_gross_exposure
from onetape.risk.input import apply_worst_case, compute_worst_lots
from tests.support.compiled_rules import compile_rule, make_record
from tests.support.risk_input import make_risk_input


@pytest.mark.parametrize(
    ("side", "position", "buys", "sells", "reduce_only", "end_lots"),
    [
        (+1,      0,   0,   0, False,  100),
        (-1,      0,   0,   0, False,  100),
        (+1,     50,  30,  20, False,  180),
        (-1,     50,  30,  20, False,   70),
        (+1,   -100,   0,   0, False,    0),
        (+1,   -100,   1,   0, False,    1),
        (+1,   -100,   1,   0, True,     1),
        (+1,    -60,   0,   0, True,     0),
        (+1,   -150,   0,  90, False,  -50),
        (-1,    150,  90,   0, False,  -50),
        (-1,    150,  90,   0, True,   -50),
        (-1,     99,   0,   0, False,    1),
    ],
)  # fmt: skip
def test_worst_case_counts_open_orders_of_the_orders_side(
    side: int, position: int, buys: int, sells: int, reduce_only: bool, end_lots: int
) -> None:
    order = make_risk_input(
        side_sign=side, position_lots=position, open_buy_lots=buys, open_sell_lots=sells,
        reduce_only=reduce_only, reducible_lots=abs(position), other_gross_notional=7,
        other_net_notional=-3, equity=E8 + 5,
    )  # fmt: skip
    apply_worst_case(order)
    notional = end_lots * 100 * E8
    assert (order.end_lots, order.end_notional) == (end_lots, notional)
    assert (order.gross_notional, order.net_notional) == (7 + abs(notional), -3 * side + notional)
    assert order.equity_units == 1


@pytest.mark.parametrize(
    ("position", "buys", "sells", "worst"),
    [
        (  0,  0,  0,  0),
        ( 10,  5,  0, 15),
        ( 10,  0,  5, 10),
        ( 10,  0, 25, 15),
        (-10,  5,  5, 15),
        (-10, 30,  0, 20),
    ],
)  # fmt: skip
def test_worst_lots_is_the_larger_end(position: int, buys: int, sells: int, worst: int) -> None:
    assert compute_worst_lots(position, buys, sells) == worst


@settings(deadline=None)
@given(
    st.integers(-(10**17), 10**17),
    st.integers(0, 10 * E8),
    st.integers(-3, 3),
    st.sampled_from([1, -1]),
)
def test_ratio_check_is_exact_at_its_limit_and_the_same_in_the_compiled_host(
    equity: int, ratio_e8: int, offset: int, side: int
) -> None:
    limit = compute_ratio_floor(equity, ratio_e8)
    changes: dict[str, Any] = {"equity": equity, "other_gross_notional": limit + offset - 10}
    order = make_risk_input(side_sign=side, lots=1, lot_notional=10, **changes)
    record = make_record(order)
    apply_worst_case(order)
    assert check_gross_exposure(order, ratio_e8) == (offset <= 0)
    compile_rule(apply_worst_case)(record)
    assert record.gross_notional == order.gross_notional
    assert compile_rule(check_gross_exposure)(record, ratio_e8) == (offset <= 0)
