"""An order before the listing of its instrument, after its delisting, and at both moments.

Times are seconds since 1970; the instrument is listed from 100 s to 200 s.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from onetape.domain.events import OrderDenied
from onetape.domain.orders import DenialCode
from onetape.domain.timestamps import NS_PER_SECOND as S
from onetape.risk.approval import RiskApproved, RiskEngine
from onetape.risk.gates.delisting import check_delisting
from onetape.risk.gates.listing import check_listing
from onetape.risk.limits import RiskLimits, build_gates
from tests.support.compiled_rules import compile_rule, make_record
from tests.support.risk_input import AAPL, make_risk_input

LISTED = msgspec.structs.replace(AAPL, ts_listed=100 * S, ts_delisted=200 * S)
STATUS = RiskLimits(trading_status=True)

# ts           side and position                        refused with its time and the limit
CASES = [
    (0,           {},                                      ("not_listed", 0, 100)),
    (100 * S - 1, {},                                      ("not_listed", 100 - 1e-9, 100)),
    (100 * S,     {},                                      None),
    (150 * S,     {"side_sign": -1, "position_lots": 100}, None),
    (200 * S,     {},                                      None),
    (200 * S + 1, {},                                      ("delisted", 200 + 1e-9, 200)),
    (300 * S,     {"side_sign": -1, "position_lots": 100}, ("delisted", 300, 200)),
]  # fmt: skip


@pytest.mark.parametrize(("ts", "changes", "refused"), CASES)
def test_order_outside_the_listing_is_denied_with_its_numbers(
    ts: int, changes: dict[str, Any], refused: tuple[str, float, float] | None
) -> None:
    order = make_risk_input(instrument=LISTED, ts=ts, **changes)
    verdict = RiskEngine(build_gates(STATUS)).check(order)
    if refused is None:
        assert isinstance(verdict, RiskApproved)
    else:
        assert isinstance(verdict, OrderDenied)
        assert (verdict.code.value, verdict.actual, verdict.limit) == refused
        assert verdict.unit == "s since 1970 UTC"
    record = make_record(order)
    passes = compile_rule(check_listing)(record, 100 * S)
    assert (passes and compile_rule(check_delisting)(record, 200 * S)) == (refused is None)


def test_status_is_not_asked_unless_told_and_not_of_an_instrument_without_dates() -> None:
    early = {"instrument": LISTED, "ts": 0}
    assert isinstance(
        RiskEngine(build_gates(RiskLimits())).check(make_risk_input(**early)), RiskApproved
    )
    assert isinstance(RiskEngine(build_gates(STATUS)).check(make_risk_input()), RiskApproved)
    codes = [gate.code for gate in build_gates(STATUS)]
    assert codes[1:3] == [DenialCode.NOT_LISTED, DenialCode.DELISTED]
