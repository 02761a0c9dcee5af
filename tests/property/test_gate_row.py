"""The row of an instrument's gates and the gates one by one give the same verdicts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.domain.errors import InvariantBroken
from onetape.domain.numbers import E8
from onetape.domain.orders import Side
from onetape.risk import approval
from onetape.risk.approval import RiskApproved, RiskEngine
from onetape.risk.gate_row import ROW_FIELDS, build_gate_row
from onetape.risk.input import RiskInput
from onetape.risk.limits import RiskLimits, ShortSaleLimits, build_gates
from tests.support.risk_input import AAPL, make_risk_input

LOCATED = ShortSaleLimits(hard_to_borrow=(AAPL.id,), locates={AAPL.id: 150}, uptick_rule=True)
limits = st.builds(
    RiskLimits,
    forbidden_instruments=st.sampled_from([(), (), (), (AAPL.id,)]),
    max_order_quantity=st.none() | st.integers(1, 300),
    max_order_notional=st.none() | st.integers(1, 50_000),
    max_position_quantity=st.none() | st.integers(1, 500),
    max_position_pct=st.none() | st.integers(1, 200),
    max_concentration_pct=st.none() | st.integers(1, 150),
    max_gross_exposure_pct=st.none() | st.integers(1, 300),
    max_net_exposure_pct=st.none() | st.integers(1, 300),
    max_leverage=st.none() | st.integers(1, 4),
    allow_short=st.booleans(),
    max_daily_loss_pct=st.none() | st.integers(1, 20),
    max_drawdown_pct=st.none() | st.integers(1, 20),
    max_orders_per_minute=st.none() | st.integers(1, 3),
    trading_status=st.booleans(),
    short_sale=st.sampled_from([ShortSaleLimits(), LOCATED]),
)
lots = st.integers(0, 300)
money = st.integers(-20_000, 150_000).map(lambda units: units * E8 + units % 7)
orders = st.builds(
    dict,
    ts=st.integers(0, 240).map(lambda seconds: seconds * 10**9),
    side_sign=st.sampled_from([1, -1]),
    lots=st.integers(1, 300),
    lot_notional=st.integers(1, 300).map(lambda units: units * E8 + 1),
    notional=st.integers(0, 60_000).map(lambda units: units * E8 + 1),
    equity=money,
    cash=money,
    session_start_equity=money,
    peak_equity=money,
    reduce_only=st.booleans(),
    reducible_lots=lots,
    fee=st.integers(-E8, 100 * E8),
    position_lots=st.integers(-300, 300),
    open_buy_lots=lots,
    open_sell_lots=lots,
    other_gross_notional=st.integers(0, 100_000).map(lambda units: units * E8),
    other_net_notional=money,
    open_buy_notional=st.integers(0, 50_000).map(lambda units: units * E8),
    kill_active=st.sampled_from([False, False, True]),
)


def ask_row(engine: RiskEngine, order: RiskInput) -> RiskApproved | None:
    side = Side(order.side_sign)
    fields = {**{name: getattr(order, name) for name in ROW_FIELDS if name != "side"}, "side": side}
    return engine.row_for(AAPL)(*(fields[name] for name in ROW_FIELDS))


@settings(max_examples=300)
@given(limits, st.lists(orders, min_size=1, max_size=6))
def test_row_passes_what_every_gate_passes(
    limits: RiskLimits, changes: list[dict[str, Any]]
) -> None:
    """Orders one after the other, so that a count of orders must agree too."""
    by_row, by_gate = RiskEngine(build_gates(limits)), RiskEngine(build_gates(limits))
    for change in sorted(changes, key=lambda each: each["ts"]):
        order = make_risk_input(**change)
        approved = ask_row(by_row, order)
        verdict = by_gate.check(make_risk_input(**change))
        assert approved == (verdict if isinstance(verdict, RiskApproved) else None)


@given(limits, orders)
def test_refusing_row_leaves_the_reason_to_the_gates(
    limits: RiskLimits, change: dict[str, Any]
) -> None:
    engine, untouched = RiskEngine(build_gates(limits)), RiskEngine(build_gates(limits))
    if ask_row(engine, make_risk_input(**change)) is None:
        verdict = engine.check(make_risk_input(**change))
        assert not isinstance(verdict, RiskApproved)
        assert verdict == untouched.check(make_risk_input(**change))


def test_row_of_no_gates_approves() -> None:
    approved = ask_row(RiskEngine(()), make_risk_input(side_sign=-1, lots=7))
    assert approved is not None
    assert (approved.side, approved.lots, approved.client_order_id) == (Side.SELL, 7, "s-1")


def test_row_without_source_refuses_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the gates are asked one by one, and their verdict stands."""

    def no_source(*_: object) -> None:
        raise OSError("could not get source code")

    monkeypatch.setattr(approval, "build_gate_row", no_source)
    engine = RiskEngine(build_gates(RiskLimits()))
    assert ask_row(engine, make_risk_input()) is None
    assert isinstance(engine.check(make_risk_input()), RiskApproved)


def passes_in_the_middle(order: RiskInput, limit: int) -> bool:
    if order.fee > 0:
        return order.lots > limit
    elif order.cash < 0:
        return False
    else:
        return order.lots < limit


def falls_off_the_end(order: RiskInput, limit: int) -> bool:  # noqa: RET503 - that is the case
    if order.lots < limit:
        return True


def counts_down(order: RiskInput, limit: int) -> bool:
    """A loop of its own, and a name that is a field of the order."""
    lots = order.lots
    while lots > 7:
        lots -= 7
        if lots == limit:
            break
    return lots <= 3


@given(st.lists(st.sampled_from([passes_in_the_middle, falls_off_the_end, counts_down])), orders)
def test_row_takes_rules_of_any_form(rules: list[Any], change: dict[str, Any]) -> None:
    order = make_risk_input(**change)
    row = build_gate_row([(rule, 40 * at) for at, rule in enumerate(rules)], lambda *_: "approved")
    fields = [None if name == "side" else getattr(order, name) for name in ROW_FIELDS]
    passes = all(rule(order, 40 * at) for at, rule in enumerate(rules))
    assert row(*fields) == ("approved" if passes else None)


def returns_from_a_loop(order: RiskInput, limit: int) -> bool:
    """Not for a row."""
    while order.lots > limit:
        return False
    return True


def hands_the_order_on(order: RiskInput, limit: int) -> bool:
    """Not for a row."""
    return returns_from_a_loop(order, limit)


def returns_nothing(order: RiskInput, limit: int) -> None:
    """Not for a row."""
    if order.lots > limit:
        return
    return


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (returns_from_a_loop, "from inside a loop"),
        (hands_the_order_on, "the whole order"),
        (returns_nothing, "returns nothing"),
    ],
)
def test_rule_that_can_not_stand_in_a_row_is_an_invariant_broken(rule: Any, message: str) -> None:
    with pytest.raises(InvariantBroken, match=message):
        build_gate_row([(rule, 5)], print)
