from __future__ import annotations

import pytest

from onetape.domain.errors import ConfigError
from onetape.domain.events import OrderDenied
from onetape.domain.numbers import E8
from onetape.domain.orders import DenialCode
from onetape.risk.approval import RiskApproved, RiskEngine
from onetape.risk.limits import RiskLimits, build_gates
from tests.support.risk_input import make_risk_input

EVERYTHING = RiskLimits(
    allowed_instruments=("AAPL.XNAS",),
    max_order_quantity=1000,
    max_order_notional="100000",
    max_position_quantity=1000.0,
    max_position_pct=10,
    max_concentration_pct="12.5",
    max_gross_exposure_pct=100,
    max_net_exposure_pct=100,
    max_leverage=1.5,
    max_daily_loss_pct=3,
    max_drawdown_pct=20,
    max_orders_per_minute=60,
)


def test_gates_of_no_limits_are_instruments_kill_switch_and_buying_power() -> None:
    codes = [gate.code for gate in build_gates(RiskLimits())]
    assert codes == [DenialCode.NOT_ALLOWED, DenialCode.KILL_SWITCH, DenialCode.BUYING_POWER]


def test_gates_of_all_limits_stand_in_the_fixed_order() -> None:
    assert [gate.code.value for gate in build_gates(EVERYTHING)] == [
        "not_allowed", "kill_switch", "order_quantity", "order_notional", "position_quantity",
        "position_ratio", "concentration", "gross_exposure", "net_exposure", "leverage",
        "buying_power", "daily_loss", "drawdown", "order_rate",
    ]  # fmt: skip


def test_gates_take_percent_as_people_write_it() -> None:
    engine = RiskEngine(build_gates(RiskLimits(max_position_pct=10)))
    assert isinstance(engine.check(make_risk_input()), RiskApproved)
    denied = engine.check(make_risk_input(lots=101))
    assert isinstance(denied, OrderDenied)
    assert denied.code is DenialCode.POSITION_RATIO
    assert (denied.actual, denied.limit) == (10_100.0, 10_000.0)


def test_gates_without_leverage_are_those_of_a_cash_account() -> None:
    order = {"lots": 1500, "cash": 200_000 * E8}
    denied = RiskEngine(build_gates(RiskLimits())).check(make_risk_input(**order))
    assert isinstance(denied, OrderDenied)
    assert denied.code is DenialCode.BUYING_POWER
    levered = RiskEngine(build_gates(RiskLimits(max_leverage=1.5)))
    assert isinstance(levered.check(make_risk_input(**order)), RiskApproved)
    denied = levered.check(make_risk_input(lots=1501))
    assert isinstance(denied, OrderDenied)
    assert denied.code is DenialCode.LEVERAGE


@pytest.mark.parametrize(("allow_short", "verdict"), [(True, RiskApproved), (False, OrderDenied)])
def test_gates_let_a_sell_open_a_short_position_unless_told(
    allow_short: bool, verdict: type
) -> None:
    engine = RiskEngine(build_gates(RiskLimits(allow_short=allow_short)))
    assert isinstance(engine.check(make_risk_input(side_sign=-1)), verdict)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (RiskLimits(max_position_pct=0), "risk.max_position_pct: 0 is no limit (give more than 0"),
        (RiskLimits(max_leverage=-1), "risk.max_leverage: -1 is no limit"),
        (RiskLimits(max_order_notional="1e-9"), "risk.max_order_notional 1E-9 is off the grid"),
        (RiskLimits(max_order_quantity="many"), "risk.max_order_quantity 'many' is not a number"),
        (RiskLimits(max_orders_per_minute=0), "risk.max_orders_per_minute: 0 is no limit"),
        (RiskLimits(forbidden_instruments=("AAPL",)), "risk.forbidden_instruments: 'AAPL' is not"),
        (RiskLimits(allowed_instruments=(".X",)), "risk.allowed_instruments: '.X' is not SYMBOL"),
    ],
)
def test_gates_of_bad_limits_are_refused_with_place_and_remedy(
    limits: RiskLimits, message: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        build_gates(limits)
    assert message in str(refused.value)
