"""Every gate one step below, at and one step above its limit, and what reducing orders may do.

The standing order buys 100 AAPL at 100.00 with 100,000 of cash and nothing held. `E` is one
currency unit in minor units; one step is one lot, one minor unit, or one nanosecond.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from onetape.domain.events import OrderDenied
from onetape.domain.instrument import make_equity
from onetape.domain.numbers import E8 as E
from onetape.domain.orders import DenialCode
from onetape.risk.approval import RiskApproved, RiskEngine
from onetape.risk.gates.buying_power import BuyingPowerGate
from onetape.risk.gates.concentration import ConcentrationGate
from onetape.risk.gates.daily_loss import DailyLossGate
from onetape.risk.gates.drawdown import DrawdownGate
from onetape.risk.gates.gate import Gate
from onetape.risk.gates.gross_exposure import GrossExposureGate
from onetape.risk.gates.instruments import InstrumentGate
from onetape.risk.gates.kill_switch import KillSwitchGate
from onetape.risk.gates.leverage import LeverageGate
from onetape.risk.gates.net_exposure import NetExposureGate
from onetape.risk.gates.order_notional import OrderNotionalGate
from onetape.risk.gates.order_quantity import OrderQuantityGate
from onetape.risk.gates.order_rate import OrderRateGate
from onetape.risk.gates.position_quantity import PositionQuantityGate
from onetape.risk.gates.position_ratio import PositionRatioGate
from onetape.risk.input import apply_worst_case
from tests.support.compiled_rules import compile_rule, make_record
from tests.support.risk_input import AAPL, make_risk_input

PCT = E // 100
ALL = InstrumentGate(None, ())
ONLY_IBM = InstrumentGate(("IBM.XNYS",), ())
NOT_AAPL = InstrumentGate(("AAPL.XNAS",), ("AAPL.XNAS",))
KILL = KillSwitchGate()
QUANTITY = OrderQuantityGate(Decimal("100.9"))
NOTIONAL = OrderNotionalGate(10_000 * E)
POSITION = PositionQuantityGate(Decimal(150))
RATIO = PositionRatioGate(10 * PCT)
UNDER = 10_000 - 1e-8
CONCENTRATION = ConcentrationGate(10 * PCT)
GROSS = GrossExposureGate(50 * PCT)
NET = NetExposureGate(50 * PCT)
LEVERAGE = LeverageGate(2 * E)
CASH = BuyingPowerGate(E, allow_short=True)
LONG_ONLY = BuyingPowerGate(E, allow_short=False)
MARGIN = BuyingPowerGate(2 * E, allow_short=True)
LOSS = DailyLossGate(3 * PCT)
LOST = 3000 + 2e-8
DRAWDOWN = DrawdownGate(20 * PCT)
DOWN = 20_000 + 1e-8
FIELDS = {
    "bound": "open_buy_notional",
    "buys": "open_buy_lots",
    "killed": "kill_active",
    "other_gross": "other_gross_notional",
    "other_net": "other_net_notional",
    "peak": "peak_equity",
    "position": "position_lots",
    "sells": "open_sell_lots",
    "start": "session_start_equity",
}


def buy(**changes: Any) -> dict[str, Any]:
    return {FIELDS.get(name, name): value for name, value in changes.items()}


def sell(**changes: Any) -> dict[str, Any]:
    return buy(side_sign=-1, **changes)


def usd(actual: float, limit: float) -> tuple[float, float, str]:
    return actual, limit, "USD"


def units(actual: float, limit: float) -> tuple[float, float, str]:
    return actual, limit, "units"


CASES = [
    # gate           order                                                refusal: actual, limit
    (ALL,            buy(),                                               None),
    (ONLY_IBM,       buy(),                                               units(100, 0)),
    (NOT_AAPL,       buy(),                                               units(100, 0)),
    (NOT_AAPL,       sell(position=100),                                  units(100, 0)),
    (KILL,           buy(),                                               None),
    (KILL,           buy(killed=True),                                    units(100, 0)),
    (KILL,           sell(killed=True, position=100),                     None),
    (KILL,           sell(killed=True, position=99),                      units(1, 0)),
    (KILL,           sell(killed=True, position=99, reduce_only=True),    None),
    (KILL,           sell(killed=True, position=150, sells=51),           units(1, 0)),
    (QUANTITY,       buy(lots=99),                                        None),
    (QUANTITY,       buy(lots=100),                                       None),
    (QUANTITY,       buy(lots=101),                                       units(101, 100)),
    (QUANTITY,       sell(lots=101, position=500),                        units(101, 100)),
    (NOTIONAL,       buy(notional=10_000 * E - 1),                        None),
    (NOTIONAL,       buy(notional=10_000 * E),                            None),
    (NOTIONAL,       buy(notional=10_001 * E),                            usd(10_001, 10_000)),
    (NOTIONAL,       sell(notional=10_001 * E, position=500),             usd(10_001, 10_000)),
    (POSITION,       buy(position=49),                                    None),
    (POSITION,       buy(position=50),                                    None),
    (POSITION,       buy(position=51),                                    units(151, 150)),
    (POSITION,       buy(position=1, buys=50),                            units(151, 150)),
    (POSITION,       buy(position=50, sells=999),                         None),
    (POSITION,       sell(position=-50),                                  None),
    (POSITION,       sell(position=-51),                                  units(151, 150)),
    (POSITION,       sell(sells=51),                                      units(151, 150)),
    (POSITION,       sell(position=900),                                  None),
    (RATIO,          buy(equity=100_000 * E + 9),                         None),
    (RATIO,          buy(equity=100_000 * E),                             None),
    (RATIO,          buy(equity=100_000 * E - 10),                        usd(10_000, UNDER)),
    (RATIO,          buy(equity=90_000 * E),                              usd(10_000, 9000)),
    (RATIO,          buy(equity=0),                                       usd(10_000, 0)),
    (RATIO,          buy(equity=-5 * E),                                  usd(10_000, -0.5)),
    (RATIO,          sell(equity=-5 * E, position=100),                   None),
    (RATIO,          sell(equity=90_000 * E),                             usd(10_000, 9000)),
    (CONCENTRATION,  buy(),                                               None),
    (CONCENTRATION,  buy(position=1),                                     usd(10_100, 10_000)),
    (CONCENTRATION,  buy(equity=50_000 * E, other_gross=90_000 * E),      None),
    (CONCENTRATION,  buy(equity=50_000 * E, other_gross=89_000 * E),      usd(10_000, 9900)),
    (CONCENTRATION,  sell(equity=E, position=150),                        None),
    (GROSS,          buy(other_gross=40_000 * E - 1),                     None),
    (GROSS,          buy(other_gross=40_000 * E),                         None),
    (GROSS,          buy(other_gross=40_001 * E),                         usd(50_001, 50_000)),
    (GROSS,          sell(other_gross=40_001 * E),                        usd(50_001, 50_000)),
    (GROSS,          sell(other_gross=90_000 * E, position=100),          None),
    (NET,            buy(other_net=40_000 * E),                           None),
    (NET,            buy(other_net=40_001 * E),                           usd(50_001, 50_000)),
    (NET,            buy(other_net=-90_000 * E),                          None),
    (NET,            sell(other_net=-40_000 * E),                         None),
    (NET,            sell(other_net=-40_001 * E),                         usd(50_001, 50_000)),
    (NET,            sell(other_net=90_000 * E),                          None),
    (NET,            sell(other_net=-90_000 * E, position=100),           None),
    (LEVERAGE,       buy(other_gross=190_000 * E),                        None),
    (LEVERAGE,       buy(other_gross=190_001 * E),                        usd(200_001, 200_000)),
    (LEVERAGE,       sell(other_gross=900_000 * E, position=100),         None),
    (CASH,           buy(cash=10_001 * E, fee=E),                         None),
    (CASH,           buy(cash=10_001 * E - E, fee=E),                     usd(10_001, 10_000)),
    (CASH,           buy(cash=10_500 * E, bound=500 * E),                 None),
    (CASH,           buy(cash=10_499 * E, bound=500 * E),                 usd(10_000, 9999)),
    (CASH,           buy(other_gross=89_999 * E, fee=E),                  None),
    (CASH,           buy(other_gross=90_000 * E, fee=E),                  usd(100_001, 100_000)),
    (CASH,           buy(cash=0, position=-100),                          None),
    (CASH,           buy(cash=0, position=-99),                           usd(10_000, 0)),
    (CASH,           sell(cash=0, other_gross=90_000 * E),                None),
    (CASH,           sell(cash=0, other_gross=90_001 * E),                usd(100_001, 100_000)),
    (LONG_ONLY,      sell(position=100),                                  None),
    (LONG_ONLY,      sell(position=99),                                   units(100, 99)),
    (LONG_ONLY,      sell(position=150, sells=51),                        units(100, 99)),
    (MARGIN,         buy(cash=0, other_gross=190_000 * E),                None),
    (MARGIN,         buy(cash=0, other_gross=190_000 * E, fee=E),         usd(200_001, 200_000)),
    (LOSS,           buy(equity=97_000 * E + 1),                          None),
    (LOSS,           buy(equity=97_000 * E),                              None),
    (LOSS,           buy(equity=97_000 * E + 97, start=100_000 * E + 99), None),
    (LOSS,           buy(equity=97_000 * E + 96, start=100_000 * E + 99), usd(3000 + 3e-8, LOST)),
    (LOSS,           buy(equity=96_999 * E),                              usd(3001, 3000)),
    (LOSS,           sell(equity=90_000 * E, position=100),               None),
    (LOSS,           sell(equity=90_000 * E, position=99),                usd(10_000, 3000)),
    (DRAWDOWN,       buy(peak=125_000 * E - 1),                           None),
    (DRAWDOWN,       buy(peak=125_000 * E),                               None),
    (DRAWDOWN,       buy(peak=130_000 * E),                               usd(30_000, 26_000)),
    (DRAWDOWN,       buy(equity=80_000 * E + 8, peak=100_000 * E + 9),    None),
    (DRAWDOWN,       buy(equity=80_000 * E + 7, peak=100_000 * E + 9),    usd(20_000 + 2e-8, DOWN)),
    (DRAWDOWN,       sell(peak=900_000 * E, position=100),                None),
]  # fmt: skip


@pytest.mark.parametrize(("gate", "changes", "refused"), CASES)
def test_gate_refuses_beyond_its_limit_with_its_numbers(
    gate: Gate[Any], changes: dict[str, Any], refused: tuple[float, float, str] | None
) -> None:
    verdict = RiskEngine([gate]).check(make_risk_input(**changes))
    if refused is None:
        assert isinstance(verdict, RiskApproved)
    else:
        assert isinstance(verdict, OrderDenied)
        assert (verdict.actual, verdict.limit, verdict.unit) == refused
        assert (verdict.code, verdict.instrument, verdict.intent) == (gate.code, "AAPL.XNAS", 1)


def test_gates_say_the_same_in_the_compiled_host() -> None:
    for gate, changes, refused in CASES:
        order = make_risk_input(**changes)
        apply_worst_case(order)
        limit = gate.limit_for(order.instrument)
        if limit is not None:
            record = limit if isinstance(limit, int) else make_record(limit)
            assert compile_rule(gate.check)(make_record(order), record) == (refused is None)


def test_order_rate_counts_the_same_in_the_compiled_host() -> None:
    gate = OrderRateGate(2, 60)
    record = make_record(gate.limit_for(AAPL))
    engine = RiskEngine([gate])
    for ts in (0, 10, 59, 60, 61, 69, 70, 70, 119, 120):
        order = make_risk_input(ts=ts)
        passes = compile_rule(gate.check)(make_record(order), record)
        assert passes == isinstance(engine.check(order), RiskApproved)


LAST_MINOR = [
    (NOTIONAL, {"notional": 10_000 * E + 1}),
    (RATIO, {"equity": 100_000 * E - 1}),
    (GROSS, {"other_gross_notional": 40_000 * E + 1}),
    (NET, {"other_net_notional": 40_000 * E + 1}),
    (LEVERAGE, {"other_gross_notional": 190_000 * E + 1}),
    (CASH, {"cash": 10_000 * E - 1}),
    (MARGIN, {"other_gross_notional": 190_000 * E, "fee": 1}),
    (LOSS, {"equity": 97_000 * E - 1}),
    (DRAWDOWN, {"peak_equity": 125_000 * E + 2}),
]


@pytest.mark.parametrize(("gate", "changes"), LAST_MINOR)
def test_gate_of_money_refuses_one_minor_unit_beyond_its_limit(
    gate: Gate[Any], changes: dict[str, Any]
) -> None:
    verdict = RiskEngine([gate]).check(make_risk_input(**changes))
    assert isinstance(verdict, OrderDenied)
    assert verdict.code is gate.code


def test_quantity_gate_counts_in_lots_of_each_instrument() -> None:
    tenths = make_equity("IBM.XNYS", lot_size="0.1")
    engine = RiskEngine([OrderQuantityGate(Decimal(50))])
    assert isinstance(engine.check(make_risk_input(instrument=tenths, lots=500)), RiskApproved)
    denied = engine.check(make_risk_input(instrument=tenths, lots=501))
    assert isinstance(denied, OrderDenied)
    assert (denied.actual, denied.limit) == (50.1, 50.0)
    assert isinstance(engine.check(make_risk_input(lots=51)), OrderDenied)


def test_order_rate_allows_so_many_in_every_window() -> None:
    engine = RiskEngine([OrderRateGate(2, 60)])
    times = [0, 10, 59, 60, 61, 69, 70, 70, 119, 120]
    verdicts = [type(engine.check(make_risk_input(ts=ts))) is RiskApproved for ts in times]
    assert verdicts == [True, True, False, True, False, False, True, False, False, True]


def test_order_rate_refusal_names_the_window() -> None:
    engine = RiskEngine([OrderRateGate(1, 60_000_000_000)])
    engine.check(make_risk_input())
    denied = engine.check(make_risk_input(side_sign=-1, position_lots=100))
    assert isinstance(denied, OrderDenied)
    assert denied.code is DenialCode.ORDER_RATE
    assert (denied.actual, denied.limit, denied.unit) == (2.0, 1.0, "orders per 60 s")
