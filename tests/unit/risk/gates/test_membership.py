"""An order of a member and of what is none, toward flat and away from it."""

from __future__ import annotations

from typing import Any

import pytest

from onetape.domain.events import OrderDenied
from onetape.risk.approval import RiskApproved, RiskEngine
from onetape.risk.gates.membership import MembershipGate, check_membership
from onetape.risk.limits import RiskLimits, build_gates
from tests.support.compiled_rules import compile_rule, make_record
from tests.support.risk_input import AAPL, make_risk_input

# member  order: buys (1) or sells, lots, held, other open buys and sells   refused with its units
CASES = [
    (True,  (1, 10, 0, 0, 0),     None),
    (False, (1, 10, 0, 0, 0),     10.0),
    (False, (-1, 10, 0, 0, 0),    10.0),
    (False, (-1, 10, 10, 0, 0),   None),   # to flat
    (False, (-1, 11, 10, 0, 0),   1.0),    # one beyond
    (False, (-1, 10, 10, 0, 5),   5.0),    # beyond, once the other sale fills
    (False, (1, 4, -10, 0, 0),    None),
    (False, (1, 1, 10, 0, 0),     11.0),   # what is held may not grow
]  # fmt: skip


@pytest.mark.parametrize(("member", "order", "refused"), CASES)
def test_what_opens_or_enlarges_a_position_in_no_member_is_denied(
    member: bool, order: tuple[int, int, int, int, int], refused: float | None
) -> None:
    names = ("side_sign", "lots", "position_lots", "open_buy_lots", "open_sell_lots")
    values: dict[str, Any] = dict(zip(names, order, strict=True))
    asked = make_risk_input(lot_notional=1, notional=order[1], **values)
    gates = build_gates(RiskLimits(max_leverage=4), has_universe=True)
    gate = next(each for each in gates if isinstance(each, MembershipGate))
    gate.limit_for(AAPL).is_member = member

    verdict = RiskEngine(gates).check(asked)

    if refused is None:
        assert isinstance(verdict, RiskApproved)
    else:
        assert isinstance(verdict, OrderDenied)
        assert (verdict.code.value, verdict.actual, verdict.limit, verdict.unit) == (
            "not_a_member", refused, 0.0, "units"
        )  # fmt: skip
    compiled = compile_rule(check_membership)
    assert compiled(make_record(asked), make_record(gate.limit_for(AAPL))) == (refused is None)


def test_session_without_a_universe_has_no_such_gate() -> None:
    assert not [each for each in build_gates(RiskLimits()) if isinstance(each, MembershipGate)]
