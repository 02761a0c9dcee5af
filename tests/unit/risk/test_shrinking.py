"""What a gate leaves of an order is the most that passes it, by the gate's own rule."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.domain.errors import ConfigError
from onetape.domain.numbers import E8
from onetape.domain.orders import DenialCode
from onetape.risk.gates.gate import prepare_checks
from onetape.risk.input import RiskInput, apply_worst_case
from onetape.risk.limits import (
    SHRINKING,
    AccountLimits,
    RiskLimits,
    build_account_gates,
    build_gates,
    find_shrinking,
)
from onetape.risk.shrinking import Shrinking
from tests.support.risk_input import AAPL, make_risk_input

EVERY = RiskLimits(
    max_order_quantity=70, max_order_notional=6_000, max_position_quantity=90,
    max_position_pct=80, max_concentration_pct=60, max_gross_exposure_pct=150,
    max_net_exposure_pct=90, max_leverage=2,
)  # fmt: skip
CASH = RiskLimits(allow_short=False)
ACCOUNT = AccountLimits(max_gross_exposure_pct=120, max_net_exposure_pct=70, max_leverage="1.3")
CHECKS = [
    check
    for check in prepare_checks(
        (*build_gates(EVERY), *build_gates(CASH), *build_account_gates(ACCOUNT)), AAPL
    )
    if check[2].code in SHRINKING
]

orders = st.fixed_dictionaries({
    "side_sign": st.sampled_from([1, -1]),
    "lots": st.integers(1, 200),
    "lot_notional": st.integers(1, 150).map(lambda units: units * E8 + 7),
    "equity": st.integers(-1_000, 12_000).map(lambda units: units * E8 + 3),
    "cash": st.integers(-1_000, 12_000).map(lambda units: units * E8),
    "position_lots": st.integers(-60, 60),
    "open_buy_lots": st.integers(0, 30),
    "open_sell_lots": st.integers(0, 30),
    "other_gross_notional": st.integers(0, 6_000).map(lambda units: units * E8),
    "other_net_notional": st.integers(-6_000, 6_000).map(lambda units: units * E8),
    "open_buy_notional": st.integers(0, 3_000).map(lambda units: units * E8),
})  # fmt: skip


def make_shrinking(order: RiskInput) -> Shrinking:
    """Lots at 100 on the order's own price, and a fee with a minimum."""
    price = order.lot_notional

    def cost(lots: int) -> tuple[int, int, int, int]:
        return lots * price, max(E8, lots * E8 // 200), 0, 0

    return Shrinking(frozenset(SHRINKING), cost, lambda _: None)


@settings(max_examples=150, deadline=None)
@given(fields=orders, at=st.integers(0, len(CHECKS) - 1))
def test_shrinking_leaves_the_most_that_passes(fields: dict[str, Any], at: int) -> None:
    order = make_risk_input(**fields)
    shrinking = make_shrinking(order)
    shrinking.resize(order, order.lots)
    rule, limit, gate = CHECKS[at]
    passing = 0
    for lots in range(1, fields["lots"] + 1):  # the naive twin: one lot after the other
        shrinking.resize(order, lots)
        apply_worst_case(order)
        if not rule(order, limit):
            break
        passing = lots
    shrinking.resize(order, fields["lots"])
    apply_worst_case(order)
    if rule(order, limit):
        return
    left = shrinking.leave(order, CHECKS[at], gate.deny(order, limit))
    assert left == passing
    assert order.lots == fields["lots"]
    assert [step.lots for step in shrinking.steps] == ([passing] if passing else [])


def test_every_gate_that_shrinks_is_tested_above() -> None:
    assert {check[2].code for check in CHECKS} == set(SHRINKING)


@pytest.mark.parametrize(
    ("name", "remedy"), [("daily_loss", "known"), ("position_quantty", "position_quantity")]
)
def test_gate_that_cannot_shrink_is_refused_by_name(name: str, remedy: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}.*no gate that can shrink") as error:
        find_shrinking(RiskLimits(shrink=(name,)))
    assert remedy in str(error.value)


def test_shrinking_codes_are_those_of_the_configuration() -> None:
    names = tuple(each.value for each in SHRINKING)
    assert find_shrinking(RiskLimits(shrink=names)) == frozenset(SHRINKING)
    assert DenialCode.ORDER_RATE not in SHRINKING
