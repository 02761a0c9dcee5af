"""Short sales: shares located, and SEC Rule 201 by hand-worked tables.

17 CFR 242.201(b)(1) (Regulation SHO, eCFR): (i) no short sale at a price at or below the current
national best bid once the price has fallen by 10 % or more from the closing price of the day
before; (ii) for the remainder of the day and the following day. 17 CFR 242.203(b)(1): no short sale
of what can't be borrowed.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.domain.errors import ConfigError
from onetape.domain.events import OrderDenied
from onetape.domain.instrument import make_equity, make_spot
from onetape.risk.approval import RiskApproved, RiskEngine
from onetape.risk.gates.locate import LocateGate, check_locate
from onetape.risk.gates.uptick import (
    UptickGate,
    UptickQuote,
    UptickSession,
    advance_uptick,
    check_uptick,
)
from onetape.risk.input import apply_worst_case
from onetape.risk.limits import RiskLimits, ShortSaleLimits, build_gates
from tests.support.compiled_rules import compile_rule, make_record
from tests.support.risk_input import AAPL, make_risk_input

# located 150 of AAPL; the standing order sells 100
LOCATES = [
    # position, open sells, reduce-only   short after, or None when it passes
    (0,         0,          False,        None),
    (0,         50,         False,        None),
    (0,         51,         False,        151),
    (-50,       0,          False,        None),
    (-51,       0,          False,        151),
    (-100,      1,          False,        201),
    (100,       0,          False,        None),
    (99,        150,        False,        151),
    (500,       400,        True,         None),
]  # fmt: skip


@pytest.mark.parametrize(("position", "sells", "reduce_only", "short"), LOCATES)
def test_no_more_is_short_than_was_located(
    position: int, sells: int, reduce_only: bool, short: int | None
) -> None:
    order = make_risk_input(
        side_sign=-1, position_lots=position, open_sell_lots=sells, reduce_only=reduce_only,
        reducible_lots=max(0, position - sells),
    )  # fmt: skip
    gate = LocateGate((AAPL.id,), {AAPL.id: Decimal(150)})
    verdict = RiskEngine([gate]).check(order)
    if short is None:
        assert isinstance(verdict, RiskApproved)
    else:
        assert isinstance(verdict, OrderDenied)
        numbers = (verdict.code.value, verdict.actual, verdict.limit, verdict.unit)
        assert numbers == ("not_located", short, 150, "units")
    assert compile_rule(check_locate)(make_record(order), 150) == (short is None)


def test_hard_to_borrow_without_a_locate_is_never_short_and_buys_are_not_asked() -> None:
    tenths = make_equity("IBM.XNYS", lot_size="0.1")
    gate = LocateGate((AAPL.id, tenths.id), {tenths.id: Decimal("1.25")})
    assert gate.limit_for(make_equity("MSFT.XNAS")) is None
    assert gate.limit_for(tenths) == 12  # tenths, rounded down
    engine = RiskEngine([gate])
    assert isinstance(engine.check(make_risk_input(side_sign=-1, lots=1)), OrderDenied)
    assert isinstance(engine.check(make_risk_input(lots=9_999)), RiskApproved)


# The last close of the session before is 10.00 where the table begins, a price in ticks of 0.01.
# Ten percent below 10.00 is 9.00: the first price that counts as a fall of 10 %.
SESSIONS = [
    # session, low,  close  reference, in force   why
    (2,        950,  980,   1_000,     False),  # 5 % down
    (2,        901,  990,   1_000,     False),  # 9.9 %
    (2,        900,  990,   1_000,     True),   # 10 % at its low: for the rest of this session
    (2,        990,  1_010, 1_000,     True),   # though it has recovered
    (3,        1_000, 1_000, 1_010,    True),   # and the next session
    (3,        990,  1_000, 1_010,     True),
    (4,        990,  999,   1_000,     False),  # and no longer
    (4,        890,  891,   1_000,     True),   # falls again
    (5,        802,  802,   891,       True),   # 9.99 % of 8.91: still from the session before
    (5,        801,  805,   891,       True),   # 8.019 is 10 %: counts from here anew
    (6,        805,  805,   805,       True),   # so this session too
    (7,        805,  805,   805,       False),
]  # fmt: skip


def test_rule_is_in_force_for_the_rest_of_the_session_and_the_next() -> None:
    for advance in (advance_uptick, compile_rule(advance_uptick)):
        state: Any = UptickSession()
        if advance is not advance_uptick:
            state = make_record(state)
        advance(state, 1, 500, 1_000)  # without a close before it no fall is known
        assert state.sessions_left == 0
        for session, low, close, reference, in_force in SESSIONS:
            advance(state, session, low, close)
            assert state.reference_ticks == reference
            assert (state.sessions_left > 0) == in_force, (session, low)


rows = st.lists(
    st.tuples(st.integers(0, 1), st.integers(70, 110), st.integers(0, 5)), min_size=1, max_size=30
)


@settings(max_examples=200)
@given(rows)
def test_rule_is_in_force_as_its_text_says(steps: list[tuple[int, int, int]]) -> None:
    """Naive twin: look through all rows so far for a fall in this session or the one before."""
    state = UptickSession()
    seen: list[tuple[int, int, int]] = []
    session = 1
    for step, close, dip in steps:
        session += step
        seen.append((session, close - dip, close))
        advance_uptick(state, *seen[-1])
        ends = {each: last for each, _, last in seen}  # the last close of each session so far
        sessions = sorted(ends)
        before = dict(zip(sessions[1:], sessions, strict=False))
        falls = {
            each for each, low, _ in seen
            if each in before and 10 * (ends[before[each]] - low) >= ends[before[each]]
        }  # fmt: skip
        assert (state.sessions_left > 0) == bool(falls & {session, before.get(session)})


# in force, newest price 9.00; the standing order sells 100
PRICES = [
    # in force, side, position, limit   passes
    (True,      -1,   0,        901,    True),
    (True,      -1,   0,        900,    False),
    (True,      -1,   0,        899,    False),
    (True,      -1,   0,        0,      False),  # a market order
    (True,      -1,   99,       0,      False),  # one share of it is short
    (True,      -1,   100,      0,      True),   # a long sale
    (True,      1,    0,        0,      True),
    (True,      1,    -100,     900,    True),
    (False,     -1,   0,        0,      True),
]  # fmt: skip


@pytest.mark.parametrize(("in_force", "side", "position", "limit", "passes"), PRICES)
def test_short_sale_is_above_the_newest_price_while_the_rule_is_in_force(
    in_force: bool, side: int, position: int, limit: int, passes: bool
) -> None:
    gate = UptickGate()
    quote = gate.limit_for(AAPL)
    assert quote is not None
    quote.is_restricted, quote.limit_ticks, quote.newest_ticks = in_force, limit, 900
    order = make_risk_input(side_sign=side, position_lots=position)
    verdict = RiskEngine([gate]).check(order)
    assert isinstance(verdict, RiskApproved) == passes
    if isinstance(verdict, OrderDenied):
        numbers = (verdict.code.value, verdict.actual, verdict.limit, verdict.unit)
        assert numbers == ("uptick", limit / 100, 9.0, "price")
    apply_worst_case(order)
    record = make_record(UptickQuote(in_force, limit, 900))
    assert compile_rule(check_uptick)(make_record(order), record) == passes


def test_rule_is_not_asked_of_what_is_no_equity() -> None:
    coin = make_spot("BTC-USD.COIN", base="BTC", quote="USD", tick_size="0.01", lot_size="1")
    assert UptickGate().limit_for(coin) is None


def test_short_sale_gates_stand_after_the_kill_switch_and_only_where_asked() -> None:
    limits = ShortSaleLimits(hard_to_borrow=("A.X",), locates={"A.X": 5}, uptick_rule=True)
    codes = [each.code.value for each in build_gates(RiskLimits(short_sale=limits))]
    assert codes == ["not_allowed", "kill_switch", "not_located", "uptick", "buying_power"]
    assert len(build_gates(RiskLimits())) == 3


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"hard_to_borrow": ("A",)}, "risk.short_sale.hard_to_borrow: 'A' is not SYMBOL.VENUE"),
        ({"locates": {"A.X": 5}}, "risk.short_sale.locates.A.X: 'A.X' is not hard to borrow"),
        ({"hard_to_borrow": ("A.X",), "locates": {"A.X": 0}}, "locates.A.X: 0 is nothing located"),
    ],
)
def test_bad_locate_is_refused_with_place_and_remedy(limits: Any, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        build_gates(RiskLimits(short_sale=ShortSaleLimits(**limits)))
    assert message in str(refused.value)
