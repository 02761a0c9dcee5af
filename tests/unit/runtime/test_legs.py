"""Sessions that hold long and short legs of one instrument side by side."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from onetape.domain.breakers import BreakerAction, BreakerKind
from onetape.domain.errors import ConfigError
from onetape.domain.events import (
    CashPosted,
    MarginStatus,
    MarginStatusChanged,
    OrderCanceled,
    OrderRejected,
    PositionAdjusted,
    PositionSettled,
    SettlementKind,
)
from onetape.domain.instrument import InstrumentId
from onetape.domain.legs import leg_of
from onetape.domain.market import ContractExpiry, MarkPrice, SessionSettlement
from onetape.domain.numbers import E8
from onetape.domain.orders import (
    Contingency,
    DenialCode,
    OrderIntent,
    OrderType,
    PositionSide,
    QuantityBasis,
    RejectCode,
    Side,
    TimeInForce,
)
from onetape.domain.postings import PostingKind
from onetape.execution.simulated.carrying import CarryingModel, build_carrying
from onetape.execution.simulated.fill_terms import FillTerms, MarketPrice
from onetape.marketdata.membership import Membership
from onetape.marketdata.timeline import Timeline
from onetape.risk.breakers import BreakerLimits
from onetape.risk.limits import AccountLimits, RiskLimits, ShortSaleLimits
from onetape.strategy.context import Context
from tests.support.actions import DIVIDEND, SPLIT, SYMBOL_CHANGE, make_action, with_actions
from tests.support.contracts import (
    LINEAR,
    check_whole,
    make_contract_timeline,
    make_funding,
    make_future,
    make_margin,
    make_option,
)
from tests.support.halts import make_halt, with_halts
from tests.support.session_runs import SessionRun, make_terms, run_session
from tests.support.timelines import AAPL, MINUTE, MSFT, at_rows, closes, make_timeline, opens

LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
PERP = LINEAR.id

Ask = Callable[[Context], object]


def flat(price: float) -> tuple[float, float, float, float, float]:
    return price, price, price, price, 1e6


def run_legs(timeline: Timeline, *actions: tuple[int, Ask],
             instrument: InstrumentId = AAPL, **how: Any) -> SessionRun:  # fmt: skip
    how.setdefault("has_legs", True)
    return run_session(timeline, at_rows(dict(actions), instrument=instrument), **how)


def held(run: SessionRun) -> dict[str, tuple[int, int]]:
    """Lots and cost of every leg that is not flat."""
    return {name: (each.lots, each.cost) for name, each in run.ledger().held.items()}


def test_legs_hand_worked_table_has_each_its_cost_and_result() -> None:
    """Both legs of a share, fills at the open of the next bar; the way of Binance's hedge mode.

    | bar | open | order         | long        | short        | cash      | realized        |
    | 1   | 100  | buy 10 LONG   | 10 at 1,000 |              | 99,000    |                 |
    | 2   | 110  | sell 4 SHORT  | 10 at 1,000 | -4 at -440   | 99,440    |                 |
    | 3   | 120  | sell 5 LONG   | 5 at 500    | -4 at -440   | 100,040   | 5 x 20 = 100    |
    | 4   | 90   | buy 3 SHORT   | 5 at 500    | -1 at -110   | 99,770    | 3 x 20 = 60     |

    Equity at 90: 99,770 + 5 x 90 - 1 x 90 = 100,130.
    """
    prices = [100, 100, 110, 120, 90]
    run = run_legs(
        make_timeline([flat(each) for each in prices]),
        (0, lambda ctx: ctx.buy(AAPL, 10, leg=LONG)),
        (1, lambda ctx: ctx.sell(AAPL, 4, leg=SHORT)),
        (2, lambda ctx: ctx.sell(AAPL, 5, leg=LONG)),
        (3, lambda ctx: ctx.buy(AAPL, 3, leg=SHORT)),
    )
    assert held(run) == {
        "AAPL#LONG.XNAS": (5, 500 * E8), "AAPL#SHORT.XNAS": (-1, -110 * E8),
    }  # fmt: skip
    ledger = run.ledger()
    assert (ledger.cash, ledger.realized) == (99_770 * E8, 160 * E8)
    assert run.equity() == 100_130 * E8
    assert [each.instrument for each in run.fills] == [
        "AAPL#LONG.XNAS", "AAPL#SHORT.XNAS", "AAPL#LONG.XNAS", "AAPL#SHORT.XNAS",
    ]  # fmt: skip


def test_strategy_sees_each_leg_and_what_they_come_to() -> None:
    seen: list[tuple[float, float, float]] = []

    def look(ctx: Context) -> None:
        legs = (ctx.position(AAPL, LONG), ctx.position(AAPL, SHORT))
        seen.append((*legs, ctx.position(AAPL)))

    run = run_legs(
        make_timeline([flat(100)] * 4),
        (0, lambda ctx: (ctx.buy(AAPL, 10, leg=LONG), ctx.sell(AAPL, 4, leg=SHORT))),
        (1, look),
        (2, lambda ctx: ctx.close(AAPL)),
        (3, look),
    )
    assert seen == [(10, -4, 6), (0, 0, 0)]
    assert held(run) == {}
    assert [each.lots for each in run.fills] == [10, 4, 10, 4]


def test_one_leg_is_closed_alone() -> None:
    run = run_legs(
        make_timeline([flat(100)] * 4),
        (0, lambda ctx: (ctx.buy(AAPL, 10, leg=LONG), ctx.sell(AAPL, 4, leg=SHORT))),
        (1, lambda ctx: ctx.close(AAPL, SHORT)),
    )
    assert held(run) == {"AAPL#LONG.XNAS": (10, 1_000 * E8)}


BEYOND_FLAT: dict[str, tuple[Ask, float, float]] = {
    "long sold short": (lambda ctx: ctx.sell(AAPL, 11, leg=LONG), 11, 10),
    "short bought long": (lambda ctx: ctx.buy(AAPL, 5, leg=SHORT), 5, 4),
    "target on the other side": (lambda ctx: ctx.target(AAPL, -1, leg=LONG), 11, 10),
    "reduce-only opens": (lambda ctx: ctx.buy(AAPL, 1, leg=LONG, reduce_only=True), 1, -10),
}


@pytest.mark.parametrize(("order", "wanted", "may"), BEYOND_FLAT.values(), ids=BEYOND_FLAT.keys())
def test_leg_never_turns_around(order: Ask, wanted: float, may: float) -> None:
    run = run_legs(
        make_timeline([flat(100)] * 4),
        (0, lambda ctx: (ctx.buy(AAPL, 10, leg=LONG), ctx.sell(AAPL, 4, leg=SHORT))),
        (2, order),
    )
    (denied,) = run.denied
    assert (denied.code, denied.actual, denied.limit) == (DenialCode.REDUCE_ONLY, wanted, may)
    assert len(run.fills) == 2


def test_two_closing_orders_of_a_leg_stop_at_flat() -> None:
    run = run_legs(
        make_timeline([flat(100)] * 4),
        (0, lambda ctx: ctx.buy(AAPL, 10, leg=LONG)),
        (1, lambda ctx: (ctx.sell(AAPL, 8, leg=LONG), ctx.sell(AAPL, 8, leg=LONG))),
    )
    assert held(run) == {}
    assert [each.lots for each in run.fills] == [10, 8, 2]
    assert [each.reason for each in run.of_type(OrderCanceled)] == ["nothing to reduce"]


WRONG_LEGS: list[tuple[Ask, bool, str]] = [
    (lambda ctx: ctx.buy(AAPL, 1), True, "names no leg"),
    (lambda ctx: ctx.order(AAPL, Side.BUY, 1, limit=99.0), True, "names no leg"),
    (lambda ctx: ctx.target(AAPL, 1), True, "names no leg"),
    (lambda ctx: ctx.target_weight(AAPL, 0.5), True, "names no leg"),
    (lambda ctx: ctx.spend(AAPL, 1_000), True, "names no leg"),
    (lambda ctx: ctx.spend_ratio(AAPL, 0.5), True, "names no leg"),
    (lambda ctx: ctx.bracket(AAPL, Side.BUY, 1, take_profit=110.0, stop_loss=90.0), True,
     "names no leg"),
    (lambda ctx: ctx.submit(lambda name, number: OrderIntent(
        name, number, AAPL, Side.BUY, QuantityBasis.LOTS, 1, OrderType.MARKET, TimeInForce.GTC,
    )), True, "names no leg"),
    (lambda ctx: ctx.buy(AAPL, 1, leg=LONG), False, "has no leg"),
    (lambda ctx: ctx.position(AAPL, SHORT), False, "has no leg"),
    (lambda ctx: ctx.close(AAPL, SHORT), False, "has no leg"),
    (lambda ctx: ctx.buy(AAPL, 1, leg=PositionSide.FLAT), True, "has no leg"),
    (lambda ctx: ctx.buy(ctx.leg(AAPL, LONG), 1, leg=LONG), True, "has no leg"),
]  # fmt: skip


@pytest.mark.parametrize(("order", "has_legs", "message"), WRONG_LEGS)
def test_order_that_does_not_fit_the_mode_is_an_error_of_the_strategy(
    order: Ask, has_legs: bool, message: str
) -> None:
    run = run_legs(make_timeline([flat(100)] * 2), (0, order), has_legs=has_legs)
    (failure,) = run.quarantined
    assert message in failure.error
    assert "execution.position_mode" in failure.error


def test_orders_of_every_kind_trade_a_leg() -> None:
    run = run_legs(
        make_timeline([flat(100)] * 6),
        (0, lambda ctx: ctx.target(AAPL, 3, leg=LONG)),
        (1, lambda ctx: ctx.spend(AAPL, 200, leg=LONG)),
        (2, lambda ctx: ctx.target_weight(AAPL, -0.004, leg=SHORT)),
        (3, lambda ctx: ctx.order(AAPL, Side.SELL, 1, touch=100.0, leg=SHORT)),
        (4, lambda ctx: ctx.target(AAPL, 0, leg=LONG)),
    )
    assert held(run) == {"AAPL#SHORT.XNAS": (-5, -500 * E8)}
    assert [each.lots for each in run.fills] == [3, 2, 4, 1, 5]


def test_bracket_protects_its_leg_only() -> None:
    run = run_legs(
        make_timeline([flat(100), flat(100), (100, 112, 100, 110, 1e6), flat(110)]),
        (0, lambda ctx: (
            ctx.bracket(AAPL, Side.BUY, 10, take_profit=110.0, stop_loss=90.0, leg=LONG),
            ctx.bracket(AAPL, Side.SELL, 4, take_profit=80.0, stop_loss=120.0, leg=SHORT),
        )),
    )  # fmt: skip
    assert held(run) == {"AAPL#SHORT.XNAS": (-4, -400 * E8)}
    assert {each.instrument for each in run.session.save().desk.orders} == {"AAPL#SHORT.XNAS"}


def test_legs_share_what_a_bar_can_fill() -> None:
    thin = (100.0, 100.0, 100.0, 100.0, 10.0)
    run = run_legs(
        make_timeline([thin] * 3),
        (0, lambda ctx: (ctx.buy(AAPL, 8, leg=LONG), ctx.sell(AAPL, 8, leg=SHORT))),
        max_volume_ratio=1.0,
    )
    assert [(each.instrument, each.lots) for each in run.fills] == [
        ("AAPL#LONG.XNAS", 8), ("AAPL#SHORT.XNAS", 2), ("AAPL#SHORT.XNAS", 6),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("limits", "code", "actual"),
    [
        (RiskLimits(max_leverage=4, max_position_quantity=12), None, 0),
        (RiskLimits(max_leverage=4, max_position_quantity=9), DenialCode.POSITION_QUANTITY, 10),
        (RiskLimits(max_leverage=4, max_gross_exposure_pct=1.5), DenialCode.GROSS_EXPOSURE, 2_000),
        (RiskLimits(max_leverage=4, max_net_exposure_pct=1.5), None, 0),
        (RiskLimits(max_leverage=0.015), DenialCode.LEVERAGE, 2_000),
        (RiskLimits(max_leverage=4, allow_short=False), DenialCode.BUYING_POWER, 10),
        (RiskLimits(max_leverage=4, forbidden_instruments=(AAPL,)), DenialCode.NOT_ALLOWED, 10),
        (RiskLimits(max_leverage=4, account=AccountLimits(max_gross_exposure_pct=1.5)),
         DenialCode.ACCOUNT_GROSS_EXPOSURE, 2_000),
        (RiskLimits(max_leverage=4, account=AccountLimits(max_net_exposure_pct=1.5)), None, 0),
    ],
)  # fmt: skip
def test_gates_count_legs_side_by_side(
    limits: RiskLimits, code: DenialCode | None, actual: float
) -> None:
    """10 long and 10 short at 100: 1,000 a leg, 2,000 gross, 0 net, of 100,000."""
    run = run_legs(
        make_timeline([flat(100)] * 4),
        (0, lambda ctx: ctx.buy(AAPL, 10, leg=LONG)),
        (1, lambda ctx: ctx.sell(AAPL, 10, leg=SHORT)),
        limits=limits,
    )
    codes = [each.code for each in run.denied]
    assert set(codes) == ({code} if code is not None else set())
    if code is not None:
        assert run.denied[-1].actual == actual


def test_open_orders_of_both_legs_count_at_their_worst() -> None:
    """Two resting entries of 1,000 each are gross 2,000, of which 1,500 are allowed."""
    run = run_legs(
        make_timeline([flat(100)] * 3),
        (0, lambda ctx: ctx.buy(AAPL, 10, limit=100.0, leg=LONG)),
        (0, lambda ctx: (ctx.buy(AAPL, 10, limit=100.0, leg=LONG),
                         ctx.sell(AAPL, 10, limit=100.0, leg=SHORT))),
        limits=RiskLimits(max_leverage=4, max_gross_exposure_pct=1.5),
    )  # fmt: skip
    assert [(each.code, each.actual) for each in run.denied] == [(DenialCode.GROSS_EXPOSURE, 2_000)]


def test_locate_bounds_the_short_leg_and_not_the_long_one() -> None:
    short_sale = ShortSaleLimits(hard_to_borrow=(AAPL,), locates={AAPL: Decimal(5)})
    run = run_legs(
        make_timeline([flat(100)] * 3),
        (0, lambda ctx: (
            ctx.sell(AAPL, 5, leg=SHORT), ctx.sell(AAPL, 1, leg=SHORT), ctx.buy(AAPL, 50, leg=LONG)
        )),
        limits=RiskLimits(max_leverage=4, short_sale=short_sale),
    )  # fmt: skip
    assert [(each.code, each.actual) for each in run.denied] == [(DenialCode.NOT_LOCATED, 6)]


def test_uptick_rule_is_of_the_instrument() -> None:
    """A fall of 10 % in the second session: a short sale at market is refused, a long one not."""
    run = run_legs(
        make_timeline([flat(100), flat(100), flat(89), flat(89)], session=2),
        (0, lambda ctx: ctx.buy(AAPL, 5, leg=LONG)),
        (2, lambda ctx: (ctx.sell(AAPL, 5, leg=SHORT), ctx.sell(AAPL, 5, leg=LONG))),
        limits=RiskLimits(max_leverage=4, short_sale=ShortSaleLimits(uptick_rule=True)),
    )
    assert [(each.code, each.instrument) for each in run.denied] == [
        (DenialCode.UPTICK, "AAPL#SHORT.XNAS")
    ]
    assert held(run) == {}


BOTH: tuple[int, Ask] = (
    0, lambda ctx: (ctx.buy(AAPL, 10, leg=LONG), ctx.sell(AAPL, 4, leg=SHORT))
)  # fmt: skip
"""Filled at the open of the second bar."""


def test_split_and_dividend_meet_both_legs() -> None:
    """2:1 behind the second bar, then 1 a share: 20 long receive 20, 8 short pay 8."""
    timeline = with_actions(
        make_timeline([flat(100), flat(100), flat(50), flat(49)]),
        [make_action(SPLIT, closes(1), 2), make_action(DIVIDEND, closes(2), 1)],
    )
    run = run_legs(timeline, BOTH)
    assert held(run) == {
        "AAPL#LONG.XNAS": (20, 1_000 * E8), "AAPL#SHORT.XNAS": (-8, -400 * E8),
    }  # fmt: skip
    assert [(each.instrument, each.kind.value, each.income // E8)
            for each in run.of_type(PositionAdjusted)] == [
        ("AAPL#LONG.XNAS", "split", 0), ("AAPL#SHORT.XNAS", "split", 0),
        ("AAPL#LONG.XNAS", "cash_dividend", 20), ("AAPL#SHORT.XNAS", "cash_dividend", -8),
    ]  # fmt: skip
    # 100,000 - 1,000 + 400 + 20 - 8, and 12 shares at 49
    assert (run.ledger().cash, run.equity()) == (99_412 * E8, 100_000 * E8)


def test_symbol_change_takes_each_leg_to_the_same_leg_of_the_new_one() -> None:
    timeline = with_actions(
        make_timeline([flat(100)] * 3, [flat(100)] * 4),
        [make_action(SYMBOL_CHANGE, closes(2), 1, new_instrument=MSFT)],
    )
    denied: list[tuple[int, Ask]] = [(3, lambda ctx: ctx.buy(AAPL, 1, leg=LONG))]
    run = run_legs(
        timeline, (0, lambda ctx: (ctx.buy(AAPL, 10, leg=LONG), ctx.sell(AAPL, 4, leg=SHORT),
                                   ctx.buy(MSFT, 1, leg=LONG))), *denied,
        instrument=MSFT,
    )  # fmt: skip
    assert held(run) == {
        "MSFT#LONG.XNAS": (11, 1_100 * E8), "MSFT#SHORT.XNAS": (-4, -400 * E8),
    }  # fmt: skip
    assert [each.code for each in run.denied] == [DenialCode.DELISTED]


def test_borrow_fee_is_of_the_short_leg_whole() -> None:
    """10 long do not lend to 4 short: 3.6 % a year on 400 for a night of 360 is 0.04."""
    timeline = make_timeline([flat(100)] * 3, session=1, step=24 * 60 * MINUTE)
    carrying = build_carrying(CarryingModel(borrow_pct=Decimal("3.6")), timeline.instruments)
    terms = msgspec.structs.replace(make_terms(timeline, has_legs=True), carrying=carrying)
    run = run_legs(timeline, BOTH, terms=terms)
    assert [(each.instrument, each.amount) for each in run.of_type(CashPosted)] == [
        ("AAPL#SHORT.XNAS", -4_000_000)
    ]


def test_funding_is_paid_by_one_leg_and_received_by_the_other() -> None:
    """0.1 % at 50,000: a bitcoin long pays 50, half of one short receives 25."""
    timeline = make_contract_timeline(
        (LINEAR, [flat(50_000)] * 3), steps=[make_funding(closes(1), 0.001, mark=50_000)]
    )
    run = run_legs(
        timeline, (0, lambda ctx: (ctx.buy(PERP, 1, leg=LONG), ctx.sell(PERP, 0.5, leg=SHORT))),
        instrument=PERP, margin=make_margin(timeline),
    )  # fmt: skip
    assert [(each.instrument, each.kind, each.amount) for each in run.of_type(CashPosted)] == [
        (leg_of(PERP, LONG), PostingKind.FUNDING, -50 * E8),
        (leg_of(PERP, SHORT), PostingKind.FUNDING, 25 * E8),
    ]


def test_future_settles_and_expires_leg_by_leg() -> None:
    """50 a point: 2 long gain 10 points by the settlement and 5 by the end, 1 short loses them."""
    future = make_future(closes(3))
    timeline = make_contract_timeline(
        (future, [flat(5_000), flat(5_000), flat(5_010), flat(5_015)]),
        steps=[
            SessionSettlement(instrument=future.id, ts_event=closes(2), ts_known=closes(2)),
            ContractExpiry(instrument=future.id, ts_event=closes(3), ts_known=closes(3)),
        ],
    )
    run = run_legs(
        timeline,
        (0, lambda ctx: (ctx.buy(future.id, 2, leg=LONG), ctx.sell(future.id, 1, leg=SHORT))),
        instrument=future.id, margin=make_margin(timeline), capital=1_000_000,
    )  # fmt: skip
    settled = run.of_type(PositionSettled)
    assert [(each.instrument, each.kind, each.lots, each.amount // E8) for each in settled] == [
        (leg_of(future.id, LONG), SettlementKind.VARIATION, 2, 1_000),
        (leg_of(future.id, SHORT), SettlementKind.VARIATION, -1, -500),
        (leg_of(future.id, LONG), SettlementKind.FINAL, 0, 500),
        (leg_of(future.id, SHORT), SettlementKind.FINAL, 0, -250),
    ]
    assert (held(run), run.ledger().cash) == ({}, 1_000_750 * E8)


def test_both_legs_are_margined() -> None:
    """A bitcoin a side at 50,000 needs 5,000 twice, at 10 %: 9,999 are too little for the second.

    Binance, hedge mode: the initial margin of an account is the sum over its position sides.
    """
    timeline = make_contract_timeline((LINEAR, [flat(50_000)] * 4))
    for capital, code in ((10_000, None), (9_999, DenialCode.BUYING_POWER)):
        run = run_legs(
            timeline, (0, lambda ctx: ctx.buy(PERP, 1, leg=LONG)),
            (1, lambda ctx: ctx.sell(PERP, 1, leg=SHORT)),
            instrument=PERP, margin=make_margin(timeline), capital=capital, limits=RiskLimits(),
        )  # fmt: skip
        assert [(each.code, each.actual) for each in run.denied] == (
            [(code, 10_000)] if code is not None else []
        )


def test_isolated_leg_is_liquidated_and_the_other_stays() -> None:
    """At 47,000 a long from 50,000 has 5,000 - 3,000 = 2,000 behind it and needs 5 %: 2,350."""
    timeline = make_contract_timeline((LINEAR, [flat(50_000), flat(50_000), flat(47_000)]))
    run = run_legs(
        timeline, (0, lambda ctx: (
            ctx.buy(PERP, 1, leg=LONG), ctx.sell(PERP, 1, leg=SHORT),
            ctx.order(PERP, Side.BUY, 1, limit=1_000.0, leg=LONG),
            ctx.order(PERP, Side.SELL, 1, limit=90_000.0, leg=SHORT),
        )),
        instrument=PERP, margin=make_margin(timeline, is_isolated=True), capital=100_000,
    )  # fmt: skip
    first = run.of_type(MarginStatusChanged)[0]
    assert (first.instrument, first.status) == (leg_of(PERP, LONG), MarginStatus.LIQUIDATION)
    assert (first.equity, first.maintenance) == (2_000 * E8, 2_350 * E8)
    assert held(run) == {leg_of(PERP, SHORT): (-1_000, -50_000 * E8)}
    (canceled,) = run.of_type(OrderCanceled)
    assert canceled.reason == "liquidation"
    assert {each.instrument for each in run.session.desk.save().orders} == {leg_of(PERP, SHORT)}


def test_flatten_closes_both_legs() -> None:
    """A loss of more than 3 % of the day: 1,000 long lose 10 a share while 400 short gain them."""
    run = run_legs(
        make_timeline([flat(100), flat(100), flat(90), flat(90), flat(90)]),
        (0, lambda ctx: (ctx.buy(AAPL, 1_000, leg=LONG), ctx.sell(AAPL, 400, leg=SHORT),
                         ctx.buy(AAPL, 1, limit=1.0, leg=LONG))),
        limits=RiskLimits(
            max_leverage=4,
            breakers=(
                BreakerLimits(kind=BreakerKind.DAILY_LOSS, action=BreakerAction.FLATTEN, pct=3),
            ),
        ),
    )  # fmt: skip
    assert held(run) == {}
    assert [(each.instrument, each.lots) for each in run.fills[2:]] == [
        ("AAPL#LONG.XNAS", 1_000),
        ("AAPL#SHORT.XNAS", 400),
    ]
    assert run.ledger().cash == 94_000 * E8


def test_strategy_that_raises_keeps_the_orders_that_protect_its_legs() -> None:
    def fail(_: Context) -> None:
        raise ValueError("broken")

    run = run_legs(
        make_timeline([flat(100)] * 4),
        BOTH,
        (1, lambda ctx: (
            ctx.order(AAPL, Side.SELL, 10, stop=90.0, leg=LONG),
            ctx.order(AAPL, Side.BUY, 4, stop=110.0, leg=SHORT),
            ctx.order(AAPL, Side.SELL, 4, limit=120.0, leg=SHORT),
        )),
        (2, fail),
    )  # fmt: skip
    assert sorted(each.instrument for each in run.session.desk.save().orders) == [
        "AAPL#LONG.XNAS", "AAPL#SHORT.XNAS"
    ]  # fmt: skip
    assert all(each.order_type is OrderType.STOP for each in run.session.desk.save().orders)


def test_open_orders_of_an_instrument_are_those_of_its_legs() -> None:
    seen: list[list[str]] = []

    def look(ctx: Context) -> None:
        for name in (AAPL, ctx.leg(AAPL, SHORT)):
            seen.append([each.instrument for each in ctx.open_orders(name)])

    run_legs(
        make_timeline([flat(100)] * 2),
        (0, lambda ctx: (ctx.buy(AAPL, 1, limit=1.0, leg=LONG),
                         ctx.sell(AAPL, 1, limit=200.0, leg=SHORT))),
        (1, look),
    )  # fmt: skip
    assert seen == [["AAPL#LONG.XNAS", "AAPL#SHORT.XNAS"], ["AAPL#SHORT.XNAS"]]


@pytest.mark.parametrize(
    ("limits", "has_option", "where"),
    [
        (RiskLimits(account=AccountLimits(pattern_day_trader=True)), False,
         "risk.account.pattern_day_trader"),
        (RiskLimits(), True, "execution.position_mode"),
    ],
)  # fmt: skip
def test_what_legs_do_not_carry_is_refused_before_the_run(
    limits: RiskLimits, has_option: bool, where: str
) -> None:
    timeline = make_timeline([flat(100)] * 2)
    if has_option:
        option = make_option(closes(5))
        timeline = make_contract_timeline(
            (timeline.instruments[0], [flat(100)]), (option, [flat(4)])
        )
    with pytest.raises(ConfigError) as refused:
        run_legs(timeline, limits=limits)
    assert refused.value.where == where


def test_group_of_one_name_binds_the_orders_of_one_leg() -> None:
    """A fill of the long leg's order cancels the other of its leg, and none of the short leg."""

    def group(ctx: Context) -> None:
        for leg, side in ((LONG, Side.BUY), (SHORT, Side.SELL)):
            for limit in (99.0, 101.0):
                ctx.order(
                    AAPL, side, 1, limit=limit if leg is LONG else limit + 10, leg=leg,
                    group="one", contingency=Contingency.OCO,
                )  # fmt: skip

    run = run_legs(make_timeline([flat(100), flat(100), flat(100)]), (0, group))
    assert [each.instrument for each in run.fills] == ["AAPL#LONG.XNAS"]
    assert len(run.of_type(OrderCanceled)) == 1
    assert [each.instrument for each in run.session.desk.save().orders] == ["AAPL#SHORT.XNAS"] * 2


def test_expired_contract_is_denied_leg_by_leg() -> None:
    future = make_future(closes(1))
    timeline = make_contract_timeline(
        (future, [flat(5_000)] * 2), (make_timeline([flat(1)]).instruments[0], [flat(100)] * 4)
    )
    run = run_legs(
        timeline, (2, lambda ctx: ctx.sell(future.id, 1, leg=SHORT)),
        margin=make_margin(timeline),
    )  # fmt: skip
    assert [each.code for each in run.denied] == [DenialCode.EXPIRED]


def test_members_of_a_universe_are_instruments() -> None:
    timeline = make_timeline([flat(100)] * 3, [flat(100)] * 3)
    timeline.universe = Membership("few", {AAPL: [opens(0)], MSFT: []})
    run = run_legs(
        timeline,
        (1, lambda ctx: (ctx.buy(AAPL, 1, leg=LONG), ctx.buy(MSFT, 1, leg=LONG))),
    )
    assert [(each.code, each.instrument) for each in run.denied] == [
        (DenialCode.NOT_A_MEMBER, "MSFT#LONG.XNAS")
    ]
    assert list(held(run)) == ["AAPL#LONG.XNAS"]


def test_proceeds_of_a_leg_settle_with_the_days_of_its_instrument() -> None:
    timeline = make_timeline([flat(100)] * 5, session=1, step=24 * 60 * MINUTE)
    terms = msgspec.structs.replace(make_terms(timeline, has_legs=True), settlement_days=1)
    seen: list[float] = []
    run_legs(
        timeline,
        (0, lambda ctx: ctx.buy(AAPL, 10, leg=LONG)),
        (1, lambda ctx: ctx.sell(AAPL, 10, leg=LONG)),
        (2, lambda ctx: seen.append(ctx.cash - ctx.settled_cash)),
        (3, lambda ctx: seen.append(ctx.cash - ctx.settled_cash)),
        terms=terms, limits=RiskLimits(),
    )  # fmt: skip
    assert seen == [1_000, 0]


def test_halt_rejects_orders_of_both_legs_and_flattening_waits_for_its_end() -> None:
    timeline = with_halts(
        make_timeline([flat(100)] * 2 + [flat(80)] * 6),
        make_halt(closes(1), opens(5)),
    )
    flatten = BreakerLimits(kind=BreakerKind.DAILY_LOSS, action=BreakerAction.FLATTEN, pct=3)
    run = run_legs(
        timeline,
        (0, lambda ctx: (ctx.buy(AAPL, 1_000, leg=LONG), ctx.sell(AAPL, 400, leg=SHORT))),
        (3, lambda ctx: ctx.close(AAPL)),
        limits=RiskLimits(max_leverage=4, breakers=(flatten,)),
    )
    assert {each.code for each in run.of_type(OrderRejected)} == {RejectCode.HALTED}
    assert all(each.client_order_id.count("close") == 0 for each in run.of_type(OrderRejected))
    assert [each.client_order_id.rpartition("-")[2] for each in run.fills[2:]] == [
        "close1", "close2"
    ]  # fmt: skip
    assert held(run) == {}


def test_liquidation_of_a_halted_leg_waits() -> None:
    timeline = with_halts(
        make_contract_timeline((LINEAR, [flat(50_000), flat(50_000), flat(47_000), flat(47_000)])),
        make_halt(closes(1), closes(9), instrument=PERP),
    )
    run = run_legs(
        timeline, (0, lambda ctx: ctx.buy(PERP, 1, leg=LONG)),
        instrument=PERP, margin=make_margin(timeline, is_isolated=True),
    )  # fmt: skip
    assert run.of_type(PositionSettled) == []
    assert list(held(run)) == [leg_of(PERP, LONG)]


def test_fills_at_one_close_share_what_its_bar_can_give() -> None:
    """10 shares a bar: 8 of one leg leave 2 for the other at that close."""
    thin = (100.0, 100.0, 100.0, 100.0, 10.0)
    run = run_legs(
        make_timeline([thin] * 3),
        (0, lambda ctx: (ctx.buy(AAPL, 8, leg=LONG), ctx.sell(AAPL, 8, leg=SHORT))),
        max_volume_ratio=1.0, fill=FillTerms(market=MarketPrice.SAME_CLOSE),
    )  # fmt: skip
    assert [(each.instrument, each.lots, each.ts_fill) for each in run.fills[:2]] == [
        ("AAPL#LONG.XNAS", 8, closes(0)), ("AAPL#SHORT.XNAS", 2, closes(0)),
    ]  # fmt: skip


def test_venue_remembers_each_order_once() -> None:
    run = run_legs(
        make_timeline([flat(100)] * 2),
        (0, lambda ctx: (ctx.buy(AAPL, 1, limit=1.0, leg=LONG),
                         ctx.sell(AAPL, 1, limit=200.0, leg=SHORT))),
    )  # fmt: skip
    assert len(run.session.save().venue.orders) == 2


def test_mark_price_of_the_venue_values_both_legs() -> None:
    mark = MarkPrice(instrument=PERP, ts_event=closes(1), ts_known=closes(1), price=49_000.0)
    timeline = make_contract_timeline((LINEAR, [flat(50_000)] * 2), steps=[mark])
    run = run_legs(
        timeline, (0, lambda ctx: (ctx.buy(PERP, 1, leg=LONG), ctx.sell(PERP, 0.5, leg=SHORT))),
        instrument=PERP, margin=make_margin(timeline),
    )  # fmt: skip
    assert run.equity() == (100_000 - 1_000 + 500) * E8
    check_whole(run, timeline.with_legs())
