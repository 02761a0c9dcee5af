from __future__ import annotations

import copy
import pickle
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onetape.domain.errors import InvariantBroken
from onetape.domain.events import OrderDenied
from onetape.domain.instrument import Instrument, InstrumentId, make_equity
from onetape.domain.numbers import E8
from onetape.domain.orders import DenialCode, Side
from onetape.risk.approval import RiskApproved, RiskEngine
from onetape.risk.input import RiskInput, compute_worst_lots
from onetape.risk.limits import RiskLimits, build_gates
from tests.support.risk_input import AAPL, make_risk_input


def approve(**changes: Any) -> RiskApproved:
    verdict = RiskEngine(build_gates(RiskLimits())).check(make_risk_input(**changes))
    assert isinstance(verdict, RiskApproved)
    return verdict


def test_engine_approval_carries_what_was_checked() -> None:
    order = make_risk_input(side_sign=-1, lots=7, client_order_id="s-9")
    approved = RiskEngine(()).check(order)
    assert isinstance(approved, RiskApproved)
    assert (approved.intent, approved.lots) == (order.intent, 7)
    assert (approved.side, approved.client_order_id) == (Side.SELL, "s-9")


def test_engine_gives_the_verdict_of_the_first_refusing_gate() -> None:
    limits = RiskLimits(max_order_quantity=50, max_order_notional=1, forbidden_instruments=("B.X",))
    engine = RiskEngine(build_gates(limits))
    denied = engine.check(make_risk_input(kill_active=True))
    assert isinstance(denied, OrderDenied)
    assert denied.code is DenialCode.KILL_SWITCH
    denied = engine.check(make_risk_input())
    assert isinstance(denied, OrderDenied)
    assert denied.code is DenialCode.ORDER_QUANTITY
    assert (denied.strategy, denied.intent) == ("s", 1)


def test_engine_denial_leaves_no_trace_in_later_verdicts() -> None:
    limits = RiskLimits(max_orders_per_minute=1, max_order_quantity=100)
    engine = RiskEngine(build_gates(limits))
    for _ in range(3):
        assert isinstance(engine.check(make_risk_input(lots=101)), OrderDenied)
    assert isinstance(engine.check(make_risk_input()), RiskApproved)
    assert isinstance(engine.check(make_risk_input()), OrderDenied)


@pytest.mark.parametrize("mint", [None, object(), "mint"])
def test_approval_made_by_anyone_else_is_an_invariant_broken(mint: object) -> None:
    with pytest.raises(InvariantBroken, match="outside the risk package"):
        RiskApproved(mint, make_risk_input().intent, 1, Side.BUY, "s-1")


def test_approval_can_not_be_reused_for_another_order() -> None:
    approved = approve()
    with pytest.raises(InvariantBroken):
        RiskApproved(approved.mint, approved.intent, 10**6, Side.BUY, "s-2")
    with pytest.raises(InvariantBroken):
        msgspec.structs.replace(approved, lots=10**6)
    with pytest.raises(InvariantBroken):
        pickle.loads(pickle.dumps(approved))
    with pytest.raises(InvariantBroken):
        msgspec.convert(msgspec.to_builtins(approved), RiskApproved)
    with pytest.raises(AttributeError):
        approved.lots = 10**6  # pyright: ignore[reportAttributeAccessIssue]
    assert copy.copy(approved) == approved


IBM = make_equity("IBM.XNYS")
MARKS = {AAPL.id: 100 * E8, IBM.id: 50 * E8}
LIMITS = RiskLimits(
    max_order_quantity=400,
    max_order_notional=30_000,
    max_position_quantity=700,
    max_position_pct=60,
    max_concentration_pct=70,
    max_gross_exposure_pct=150,
    max_net_exposure_pct=90,
    max_leverage=2,
)
EQUITY = 100_000 * E8


class Books:
    """Positions and open orders of two instruments at fixed marks; the pipeline's part, naively."""

    def __init__(self) -> None:
        self.position = dict.fromkeys(MARKS, 0)
        self.open = {(name, sign): 0 for name in MARKS for sign in (1, -1)}

    def risk_input(self, instrument: Instrument, side_sign: int, lots: int) -> RiskInput:
        others = [name for name in MARKS if name != instrument.id]
        return make_risk_input(
            instrument=instrument,
            side_sign=side_sign,
            lots=lots,
            lot_notional=MARKS[instrument.id],
            position_lots=self.position[instrument.id],
            open_buy_lots=self.open[instrument.id, 1],
            open_sell_lots=self.open[instrument.id, -1],
            other_gross_notional=sum(self.worst_lots(name) * MARKS[name] for name in others),
            other_net_notional=sum(self.end_lots(name, side_sign) * MARKS[name] for name in others),
        )

    def worst_lots(self, name: InstrumentId) -> int:
        return compute_worst_lots(self.position[name], self.open[name, 1], self.open[name, -1])

    def end_lots(self, name: InstrumentId, side_sign: int) -> int:
        return self.position[name] + side_sign * self.open[name, side_sign]

    def assert_worst_case_within_limits(self) -> None:
        gross = sum(self.worst_lots(name) * MARKS[name] for name in MARKS)
        assert gross <= EQUITY * 150 // 100
        for name, mark in MARKS.items():
            assert self.worst_lots(name) <= 700
            assert self.worst_lots(name) * mark <= EQUITY * 60 // 100
            assert self.worst_lots(name) * mark <= max(EQUITY, gross) * 70 // 100
        for side_sign in (1, -1):
            net = sum(self.end_lots(name, side_sign) * mark for name, mark in MARKS.items())
            assert side_sign * net <= EQUITY * 90 // 100


ORDERS = st.tuples(st.sampled_from([AAPL, IBM]), st.sampled_from([1, -1]), st.integers(1, 450))
FILLS = st.lists(st.tuples(st.sampled_from(list(MARKS)), st.sampled_from([1, -1])), max_size=3)


@given(st.lists(st.tuples(ORDERS, FILLS), max_size=25))
def test_approved_orders_never_break_a_limit_whichever_of_them_fill(
    steps: list[tuple[tuple[Instrument, int, int], list[tuple[InstrumentId, int]]]],
) -> None:
    books = Books()
    engine = RiskEngine(build_gates(LIMITS))
    for (instrument, side_sign, lots), fills in steps:
        verdict = engine.check(books.risk_input(instrument, side_sign, lots))
        if isinstance(verdict, RiskApproved):
            books.open[instrument.id, side_sign] += lots
        else:
            assert verdict.actual > verdict.limit
        books.assert_worst_case_within_limits()
        for name, sign in fills:
            books.position[name] += sign * books.open[name, sign]
            books.open[name, sign] = 0
            books.assert_worst_case_within_limits()
