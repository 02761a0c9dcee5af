"""From intent to command: sizing, refusals, and the worst case that risk is shown."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from onetape.domain.events import (
    Event,
    OrderApproved,
    OrderCanceled,
    OrderCancelPending,
    OrderDenied,
    OrderFilled,
    OrderReplaced,
    OrderSubmitted,
    StrategyQuarantined,
)
from onetape.domain.instrument import Instrument, make_equity, make_spot
from onetape.domain.numbers import E8
from onetape.domain.orders import (
    DenialCode,
    OrderIntent,
    OrderType,
    QuantityBasis,
    Side,
    TimeInForce,
)
from onetape.execution.simulated.fees import BpsFees
from onetape.execution.simulated.latency import LatencyModel
from onetape.risk.limits import RiskLimits
from onetape.strategy.context import Context
from tests.support.session_runs import SessionRun, run_session
from tests.support.timelines import (
    AAPL,
    MSFT,
    OTHER,
    at_rows,
    flat,
    make_columns,
    make_timeline,
    scripted,
)

Action = Callable[[Context], Any]
GTC = TimeInForce.GTC
SIX = flat(*[100] * 6)


def run(actions: dict[int, Action], rows: Any = SIX, **how: Any) -> SessionRun:
    """One strategy on AAPL; nothing may be quarantined on the way."""
    session = run_session(make_timeline(rows), at_rows(actions), **how)
    assert session.of_type(StrategyQuarantined) == []
    return session


def on(
    instrument: Instrument, actions: dict[int, Action], rows: Any = SIX, **how: Any
) -> SessionRun:
    """The same on an instrument of its own terms."""
    strategy = at_rows(actions, instrument=instrument.id)
    return run_session(make_timeline((instrument, make_columns(rows))), strategy, **how)


def codes(session: SessionRun) -> list[DenialCode]:
    return [each.code for each in session.denied]


def trades(session: SessionRun) -> list[tuple[int, float]]:
    """(signed lots, price) of each fill."""
    return [(fill.lots * fill.side, fill.ticks / 100) for fill in session.fills]


def newest(ctx: Context) -> str:
    return ctx.open_orders()[-1].client_order_id


# An order that passes.


def test_desk_order_leaves_intent_approval_and_command_on_the_tape() -> None:
    session = run({0: lambda ctx: ctx.buy(AAPL, 10, limit=99.5, label="dip")})
    (intent,) = session.of_type(OrderIntent)
    (approved,) = session.of_type(OrderApproved)
    (command,) = session.of_type(OrderSubmitted)
    assert (intent.amount, intent.limit_ticks, intent.label) == (10, 9_950, "dip")
    assert (approved.side, approved.lots) == (Side.BUY, 10)
    assert (command.order_type, command.lots, command.limit_ticks) == (OrderType.LIMIT, 10, 9_950)
    assert approved.client_order_id == command.client_order_id


# Refusals by the instrument and the OMS.


def test_desk_market_order_without_a_price_is_denied() -> None:
    session = run_session(make_timeline(SIX), scripted(on_start=lambda ctx: ctx.buy(AAPL, 10)))
    assert codes(session) == [DenialCode.NO_MARK]


def test_desk_limit_order_before_the_first_price_is_judged_at_its_limit() -> None:
    start = scripted(on_start=lambda ctx: ctx.buy(AAPL, 10, limit=101))
    assert trades(run_session(make_timeline(SIX), start)) == [(10, 100)]
    poor = run_session(make_timeline(SIX), start, capital=1_000, limits=RiskLimits())
    assert codes(poor) == [DenialCode.BUYING_POWER]


SIZING: dict[str, Action] = {
    "target_weight": lambda ctx: ctx.target_weight(AAPL, 0.5),
    "spend": lambda ctx: ctx.spend(AAPL, 500),
    "spend_ratio": lambda ctx: ctx.spend_ratio(AAPL, 0.5),
    "target": lambda ctx: ctx.target(AAPL, 5),
}


@pytest.mark.parametrize("action", SIZING.values(), ids=SIZING.keys())
def test_desk_sizing_without_a_price_is_denied_and_not_forgotten(action: Action) -> None:
    session = run_session(make_timeline(SIX), scripted(on_start=action))
    assert codes(session) == [DenialCode.NO_MARK]


def test_desk_order_of_no_lots_is_denied() -> None:
    session = run({0: lambda ctx: ctx.spend(AAPL, 99.99)})
    assert codes(session) == [DenialCode.ZERO_QUANTITY]


LIMITED = msgspec.structs.replace(
    make_equity("LIM.TEST"), min_lots=5, max_lots=50, min_notional=Decimal(1_000)
)


@pytest.mark.parametrize(
    ("lots", "code"),
    [(4, DenialCode.LOT_LIMITS), (51, DenialCode.LOT_LIMITS), (9, DenialCode.MIN_NOTIONAL),
     (10, None), (50, None)],
)  # fmt: skip
def test_desk_limits_of_the_instrument(lots: int, code: DenialCode | None) -> None:
    session = on(LIMITED, {0: lambda ctx: ctx.buy(LIMITED.id, lots)})
    assert codes(session) == ([] if code is None else [code])
    assert len(session.fills) == (code is None)


def test_desk_min_notional_of_a_buy_limit_is_that_of_its_limit() -> None:
    session = on(LIMITED, {0: lambda ctx: ctx.buy(LIMITED.id, 10, limit=99)})
    assert codes(session) == [DenialCode.MIN_NOTIONAL]


@pytest.mark.parametrize(
    ("held", "reducing", "denied"),
    [(0, -1, True), (10, 1, True), (10, -11, True), (10, -10, False), (-10, 10, False)],
    ids=["flat", "same side", "too large", "long", "short"],
)
def test_desk_reduce_only_needs_something_to_reduce(held: int, reducing: int, denied: bool) -> None:
    def reduce(ctx: Context) -> None:
        trade = ctx.buy if reducing > 0 else ctx.sell
        trade(AAPL, abs(reducing), reduce_only=True)

    session = run({0: lambda ctx: ctx.target(AAPL, held), 2: reduce})
    assert codes(session) == ([DenialCode.REDUCE_ONLY] if denied else [])


def test_desk_reduce_only_order_can_never_be_replaced_beyond_the_position() -> None:
    session = run({
        0: lambda ctx: ctx.buy(AAPL, 10),
        2: lambda ctx: ctx.sell(AAPL, 10, limit=110, reduce_only=True),
        3: lambda ctx: ctx.replace(newest(ctx), AAPL, quantity=20),
    })  # fmt: skip
    assert codes(session) == [DenialCode.REDUCE_ONLY]


SENSELESS: dict[str, tuple[DenialCode, Action]] = {
    "cancel unknown": (DenialCode.UNKNOWN_ORDER, lambda ctx: ctx.cancel("nobody")),
    "cancel future id": (DenialCode.UNKNOWN_ORDER, lambda ctx: ctx.cancel(newest(ctx)[:-1] + "9")),
    "replace unknown": (DenialCode.UNKNOWN_ORDER, lambda ctx: ctx.replace("nobody", AAPL, limit=1)),
    "cancel twice": (
        DenialCode.ALREADY_PENDING, lambda ctx: [ctx.cancel(newest(ctx)) for _ in "ab"],
    ),
    "replace twice": (
        DenialCode.ALREADY_PENDING,
        lambda ctx: [ctx.replace(newest(ctx), AAPL, limit=95) for _ in "ab"],
    ),
    "stop of a limit": (
        DenialCode.NOT_REPLACEABLE, lambda ctx: ctx.replace(newest(ctx), AAPL, stop=95),
    ),
    "replace while canceling": (
        DenialCode.ALREADY_PENDING,
        lambda ctx: (ctx.cancel(newest(ctx)), ctx.replace(newest(ctx), AAPL, limit=95)),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("code", "action"), SENSELESS.values(), ids=SENSELESS.keys())
def test_desk_change_that_makes_no_sense_is_denied(code: DenialCode, action: Action) -> None:
    session = run({0: lambda ctx: ctx.buy(AAPL, 10, limit=90), 2: action})
    assert codes(session) == [code]


def test_desk_change_of_a_closed_order_is_denied() -> None:
    ids: list[str] = []
    session = run({
        0: lambda ctx: ids.append(ctx.buy(AAPL, 10)),
        3: lambda ctx: (ctx.cancel(ids[0]), ctx.replace(ids[0], AAPL, quantity=5)),
    })  # fmt: skip
    assert codes(session) == [DenialCode.ORDER_CLOSED] * 2


def test_desk_order_sized_at_the_fill_is_not_replaceable() -> None:
    session = run_session(
        make_timeline(SIX),
        at_rows({
            0: lambda ctx: ctx.spend(AAPL, 1_000),
            1: lambda ctx: ctx.replace(newest(ctx), AAPL, quantity=5),
        }),
        latency=LatencyModel(mean_ms=90_000),
    )  # fmt: skip
    assert codes(session) == [DenialCode.NOT_REPLACEABLE]


def test_desk_strategy_can_not_touch_the_orders_of_another() -> None:
    ids: list[str] = []
    session = run_session(
        make_timeline(SIX),
        at_rows({0: lambda ctx: ids.append(ctx.buy(AAPL, 10, limit=90))}),
        at_rows({2: lambda ctx: (ctx.cancel(ids[0]), ctx.replace(ids[0], AAPL, limit=101))}),
    )
    assert codes(session) == [DenialCode.UNKNOWN_ORDER] * 2
    assert {each.strategy for each in session.denied} == {"s1"}
    assert session.fills == []


def test_desk_denial_is_told_to_the_strategy_in_the_same_step() -> None:
    """It may answer with another order, which goes out with the step."""
    told: list[OrderDenied] = []

    def on_order_update(update: Any, ctx: Context) -> None:
        if isinstance(update, OrderDenied):
            told.append(update)
            ctx.buy(AAPL, 1)

    strategy = at_rows({0: lambda ctx: ctx.buy(AAPL, 10_000)}, on_order_update=on_order_update)
    session = run_session(make_timeline(SIX), strategy)
    assert [each.code for each in told] == [DenialCode.LEVERAGE]
    assert trades(session) == [(1, 100)]
    submitted = [e for e in session.events if isinstance(e.payload, OrderSubmitted)]
    denied = [e for e in session.events if isinstance(e.payload, OrderDenied)]
    assert submitted[0].ts_event == denied[0].ts_event


# Targets.


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (10, 10, [10]), (10, 4, [10, -6]), (10, 0, [10, -10]), (10, -5, [10, -15]),
        (-10, 5, [-10, 15]), (0, 0, []), (0, -3, [-3]),
    ],
)  # fmt: skip
def test_desk_target_trades_the_difference(first: int, second: int, expected: list[int]) -> None:
    session = run({0: lambda c: c.target(AAPL, first), 2: lambda c: c.target(AAPL, second)})
    assert [lots for lots, _ in trades(session)] == expected


def test_desk_target_counts_the_market_order_that_is_under_way() -> None:
    session = run({0: lambda ctx: (ctx.target(AAPL, 10), ctx.target(AAPL, 15))})
    assert [lots for lots, _ in trades(session)] == [10, 5]


def test_desk_target_counts_what_is_left_of_a_partly_filled_market_order() -> None:
    rows = [(100.0, 100.0, 100.0, 100.0, 40.0)] * 8
    session = run(
        {0: lambda ctx: ctx.buy(AAPL, 10), 1: lambda ctx: ctx.target(AAPL, 10)}, rows,
        max_volume_ratio=0.1,
    )  # fmt: skip
    assert [lots for lots, _ in trades(session)] == [4, 4, 2]


def test_desk_target_counts_what_is_left_of_a_triggered_stop() -> None:
    """It is a market order from then on; counting it not would buy twice."""
    rows = [(100.0, 100.0, 100.0, 100.0, 40.0)] * 8
    session = run(
        {0: lambda ctx: ctx.buy(AAPL, 10, stop=100), 1: lambda ctx: ctx.target(AAPL, 10)}, rows,
        max_volume_ratio=0.1,
    )  # fmt: skip
    assert session.ledger().positions[AAPL].lots == 10


def test_desk_target_does_not_count_orders_that_may_never_fill() -> None:
    session = run({0: lambda ctx: ctx.buy(AAPL, 10, limit=50), 1: lambda ctx: ctx.target(AAPL, 10)})
    assert trades(session) == [(10, 100)]


@pytest.mark.parametrize(
    ("weight", "fees", "lots"),
    [
        (0.5, 0, 50), (-0.5, 0, -50), (1.0, 0, 100), (0.999, 0, 99),
        (1.0, 100, 99),  # 1 %: 99 * 100 * 1.01 = 9_999
        (0.0, 0, 0),
    ],
)  # fmt: skip
def test_desk_weight_is_of_equity_fees_included_rounded_toward_zero(
    weight: float, fees: int, lots: int
) -> None:
    session = run(
        {0: lambda ctx: ctx.target_weight(AAPL, weight)}, capital=10_000,
        fees=BpsFees(maker_bps=fees, taker_bps=fees),
    )  # fmt: skip
    assert sum(each for each, _ in trades(session)) == lots


def test_desk_weight_is_of_the_equity_of_that_moment() -> None:
    rows = flat(100, 100, 200, 200, 200)
    session = run(
        {0: lambda ctx: ctx.buy(AAPL, 50), 2: lambda ctx: ctx.target_weight(AAPL, 0.5)}, rows,
        capital=10_000,
    )  # fmt: skip
    assert trades(session) == [(50, 100), (-13, 200)]  # equity 15_000: 37 lots of 200


def test_desk_spend_estimates_at_the_mark_and_fills_at_the_price() -> None:
    rows = flat(100, 80, 80)
    session = run({0: lambda ctx: ctx.spend(AAPL, 1_000)}, rows)
    assert session.of_type(OrderApproved)[0].lots == 10
    assert trades(session) == [(12, 80)]


@pytest.mark.parametrize(("open_", "most"), [(50, 50), (1_000, 0)])
def test_desk_order_sized_at_the_fill_keeps_the_limits_of_the_instrument(
    open_: float, most: int
) -> None:
    """40 lots at the mark; 80 at the open are over its 50, 4 below its 5."""
    session = on(LIMITED, {0: lambda ctx: ctx.spend(LIMITED.id, 4_000)}, flat(100, open_, open_))
    assert sum(lots for lots, _ in trades(session)) <= most


def test_desk_spend_ratio_sells_short_for_its_share() -> None:
    session = run({0: lambda ctx: ctx.spend_ratio(AAPL, 0.25, Side.SELL)}, capital=10_000)
    assert trades(session) == [(-25, 100)]


def test_desk_spend_ratio_sees_the_fills_before_it_in_the_same_bar() -> None:
    """10 bought at 100 are sold at 120: 10_200 of equity buy 85, not the 83 of 10_000."""
    session = run(
        {0: lambda ctx: ctx.buy(AAPL, 10),
         2: lambda ctx: (ctx.sell(AAPL, 10), ctx.spend_ratio(AAPL, 1.0))},
        flat(100, 100, 100, 120, 120), capital=10_000,
    )  # fmt: skip
    assert trades(session) == [(10, 100), (-10, 120), (85, 120)]


def test_desk_books_are_up_to_date_when_a_fill_is_told() -> None:
    seen: list[tuple[float, float]] = []
    strategy = at_rows(
        {0: lambda ctx: ctx.buy(AAPL, 10), 2: lambda ctx: ctx.sell(AAPL, 10)},
        on_order_update=lambda update, ctx: (
            isinstance(update, OrderFilled) and seen.append((ctx.cash, ctx.equity))
        ),
    )
    run_session(make_timeline(flat(100, 90, 100, 120)), strategy, capital=10_000)
    # The mark is that of the bar before: 10 bought at 90 are worth 100 each until the bar is over.
    assert seen == [(9_100, 10_100), (10_300, 10_300)]


def test_desk_sells_everything_held_on_a_lot_that_float_can_not_hold() -> None:
    """`ctx.sell(instrument, ctx.position(instrument))` is how a strategy leaves."""
    coin = make_spot("BTC-USD.TEST", base="BTC", quote="USD", tick_size="0.01", lot_size="0.1")
    for lots in (3, 6, 7, 12, 14, 17, 19, 23):
        session = on(coin, {
            0: lambda ctx, lots=lots: ctx.buy(coin.id, lots / 10),
            2: lambda ctx: ctx.sell(coin.id, ctx.position(coin.id)),
        })  # fmt: skip
        assert session.of_type(StrategyQuarantined) == [], lots
        assert session.ledger().positions[coin.id].lots == 0


# What risk is shown.


def test_desk_open_orders_count_at_their_worst() -> None:
    """Long 10: a sell of 10 frees nothing for a buy, and a buy nothing for a sell."""
    limits = RiskLimits(max_position_quantity=15)
    session = run({
        0: lambda ctx: ctx.buy(AAPL, 10),
        2: lambda ctx: ctx.sell(AAPL, 20, limit=150),
        3: lambda ctx: (ctx.buy(AAPL, 6, limit=50), ctx.buy(AAPL, 5, limit=50),
                        ctx.buy(AAPL, 1, limit=50), ctx.sell(AAPL, 6, limit=150),
                        ctx.sell(AAPL, 5, limit=150)),
    }, limits=limits)  # fmt: skip
    assert [(each.code, each.actual) for each in session.denied] == [
        (DenialCode.POSITION_QUANTITY, 16), (DenialCode.POSITION_QUANTITY, 16),
        (DenialCode.POSITION_QUANTITY, 16),
    ]  # fmt: skip


def test_desk_reduce_only_order_clears_the_way_for_what_is_open_beside_it() -> None:
    """Long 10 with a reduce-only stop of 10: once it has filled, a sell of 10 opens a short."""
    actions: dict[int, Action] = {
        0: lambda ctx: ctx.buy(AAPL, 10),
        2: lambda ctx: ctx.sell(AAPL, 10, stop=95, reduce_only=True),
        3: lambda ctx: ctx.sell(AAPL, 10, limit=110),
    }
    rows = [*flat(100, 100, 100, 100, 94, 120, 120)]
    long_only = run(actions, rows, limits=RiskLimits(allow_short=False, max_leverage=2))
    assert long_only.ledger().positions[AAPL].lots >= 0
    assert codes(long_only) == [DenialCode.BUYING_POWER]


def test_desk_reduce_only_order_does_not_lift_the_position_limit() -> None:
    """Long 10, limit 15: a sell of 25 is 15 short at the most, or 25 behind the reduce-only one."""
    session = run({
        0: lambda ctx: ctx.buy(AAPL, 10),
        2: lambda ctx: ctx.sell(AAPL, 10, stop=95, reduce_only=True),
        3: lambda ctx: ctx.sell(AAPL, 25, limit=110),
    }, limits=RiskLimits(max_position_quantity=15, max_leverage=4))  # fmt: skip
    assert codes(session) == [DenialCode.POSITION_QUANTITY]


def test_desk_order_of_another_strategy_binds_nothing() -> None:
    limits = RiskLimits(max_position_quantity=15)
    session = run_session(
        make_timeline(SIX),
        at_rows({0: lambda ctx: ctx.buy(AAPL, 10, limit=50)}),
        at_rows({2: lambda ctx: ctx.buy(AAPL, 15)}),
        limits=limits,
    )
    assert session.denied == []


def test_desk_gross_counts_the_other_instruments_at_their_worst() -> None:
    """10_000: 30 MSFT held at 100, 20 more bid for; 50 AAPL fit, 51 don't."""
    actions: dict[int, Action] = {
        1: lambda ctx: ctx.buy(MSFT, 30),
        3: lambda ctx: ctx.buy(MSFT, 20, limit=90),
        4: lambda ctx: (ctx.buy(AAPL, 51, limit=90), ctx.buy(AAPL, 50, limit=90)),
    }
    session = run_session(
        make_timeline(SIX, SIX), at_rows(actions), capital=10_000,
        limits=RiskLimits(max_gross_exposure_pct=100, max_leverage=10),
    )  # fmt: skip
    assert codes(session) == [DenialCode.GROSS_EXPOSURE]
    assert session.denied[0].actual == 10_100
    assert len(session.of_type(OrderSubmitted)) == 3


@pytest.mark.parametrize(("quantity", "denied"), [(500, []), (501, [DenialCode.NET_EXPOSURE])])
def test_desk_net_counts_the_open_sells_of_other_instruments(
    quantity: float, denied: list[DenialCode]
) -> None:
    strategy = at_rows(
        {0: lambda c: c.sell(MSFT, 500, limit=200), 1: lambda c: c.sell(AAPL, quantity)}
    )
    session = run_session(
        make_timeline(SIX, SIX),
        strategy,
        limits=RiskLimits(max_net_exposure_pct=100, max_leverage=10),
    )
    assert codes(session) == denied


@pytest.mark.parametrize(("quantity", "denied"), [(400, []), (401, [DenialCode.GROSS_EXPOSURE])])
def test_desk_gross_counts_every_position_once(quantity: float, denied: list[DenialCode]) -> None:
    """300 held here and 300 short there; what is bought comes on top."""
    strategy = at_rows(
        {
            0: lambda c: c.buy(AAPL, 300),
            1: lambda c: c.sell(MSFT, 300),
            3: lambda c: c.buy(AAPL, quantity),
        }
    )
    session = run_session(
        make_timeline(SIX, SIX),
        strategy,
        limits=RiskLimits(max_gross_exposure_pct=100, max_leverage=10),
    )
    assert codes(session) == denied


def test_desk_cash_account_binds_the_cash_of_open_buys() -> None:
    """60 at 90 bind 5_400 of 10_000: 58 at 80 are 40 too dear, 57 fit."""
    session = run({
        0: lambda ctx: ctx.buy(AAPL, 60, stop=90),
        1: lambda ctx: (ctx.buy(AAPL, 58, stop=80), ctx.buy(AAPL, 57, stop=80)),
    }, flat(*[10] * 4), capital=10_000, limits=RiskLimits())  # fmt: skip
    assert codes(session) == [DenialCode.BUYING_POWER]
    assert (session.denied[0].actual, session.denied[0].limit) == (4_640, 4_600)
    assert len(session.of_type(OrderSubmitted)) == 2


def test_desk_cash_account_binds_the_fees_of_open_buys_too() -> None:
    """1 %: 50 at 100 cost 5_050, 50 at 99 cost 4_999.50: together 49.50 more than 10_000."""
    session = run(
        {0: lambda ctx: (ctx.buy(AAPL, 50, stop=100), ctx.buy(AAPL, 50, stop=99))},
        [(10.0,), (10.0, 101.0, 10.0, 100.0)], capital=10_000, limits=RiskLimits(),
        fees=BpsFees(maker_bps=100, taker_bps=100),
    )  # fmt: skip
    assert session.ledger().cash >= 0
    assert codes(session) == [DenialCode.BUYING_POWER]


def test_desk_replaced_order_binds_what_it_has_become() -> None:
    """A buy stop of 100 at 20 is moved to 90: 9_000 of 10_000 are bound from then on."""
    ten = flat(*[10] * 8)
    session = run({
        0: lambda ctx: ctx.buy(AAPL, 100, stop=20),
        2: lambda ctx: ctx.replace(newest(ctx), AAPL, stop=90),
        4: lambda ctx: ctx.buy(AAPL, 100, stop=80),
    }, ten, capital=10_000, limits=RiskLimits())  # fmt: skip
    assert len(session.of_type(OrderReplaced)) == 1
    assert codes(session) == [DenialCode.BUYING_POWER]


def test_desk_replace_under_way_counts_at_its_worst() -> None:
    """10 become 100 while another 100 are asked for: together they could be 200."""
    limits = RiskLimits(max_position_quantity=150, max_leverage=10)
    session = run({
        0: lambda ctx: ctx.buy(AAPL, 10, limit=90),
        2: lambda ctx: (ctx.replace(newest(ctx), AAPL, quantity=100),
                        ctx.buy(AAPL, 100, limit=90)),
    }, limits=limits)  # fmt: skip
    assert codes(session) == [DenialCode.POSITION_QUANTITY]


def test_desk_replace_under_way_counts_the_old_quantity_until_it_is_done() -> None:
    """The venue may refuse it, or fill first."""
    limits = RiskLimits(max_position_quantity=150, max_leverage=10)
    session = run({
        0: lambda ctx: ctx.buy(AAPL, 100, limit=90),
        2: lambda ctx: (ctx.replace(newest(ctx), AAPL, quantity=10),
                        ctx.buy(AAPL, 100, limit=90)),
    }, limits=limits)  # fmt: skip
    assert codes(session) == [DenialCode.POSITION_QUANTITY]


def test_desk_replace_is_judged_as_the_order_it_would_be() -> None:
    limits = RiskLimits(max_position_quantity=50, max_leverage=10)
    session = run({
        0: lambda ctx: ctx.buy(AAPL, 40, limit=90),
        2: lambda ctx: ctx.replace(newest(ctx), AAPL, quantity=51),
        3: lambda ctx: ctx.replace(newest(ctx), AAPL, quantity=50),
    }, limits=limits)  # fmt: skip
    assert codes(session) == [DenialCode.POSITION_QUANTITY]
    assert [each.lots for each in session.of_type(OrderReplaced)] == [50]


def test_desk_replace_of_a_partly_filled_order_is_judged_by_the_rest() -> None:
    rows = [(100.0, 100.0, 100.0, 100.0, 40.0)] * 6
    session = run(
        {0: lambda ctx: ctx.buy(AAPL, 10),
         1: lambda ctx: ctx.replace(newest(ctx), AAPL, quantity=4),
         2: lambda ctx: ctx.replace(newest(ctx), AAPL, quantity=9)},
        rows, max_volume_ratio=0.1,
    )  # fmt: skip
    assert codes(session) == [DenialCode.ZERO_QUANTITY]
    assert [lots for lots, _ in trades(session)] == [4, 4, 1]


def test_desk_replace_that_names_another_instrument_changes_nothing() -> None:
    """Its price would be read on the wrong tick: 95.00 of 5 cents is 19.00 of one cent."""
    coarse = make_equity(MSFT, tick_size="0.05")
    session = run_session(
        make_timeline(SIX, (coarse, make_columns(SIX))),
        at_rows({
            0: lambda ctx: ctx.buy(AAPL, 10, limit=90),
            2: lambda ctx: ctx.replace(newest(ctx), MSFT, limit=95),
        }),
    )  # fmt: skip
    assert session.of_type(OrderReplaced) == []


def test_desk_replace_and_cancel_in_one_step_end_in_a_cancel() -> None:
    session = run({
        0: lambda ctx: ctx.buy(AAPL, 10, limit=90),
        2: lambda ctx: (ctx.replace(newest(ctx), AAPL, limit=95), ctx.cancel(newest(ctx))),
    })  # fmt: skip
    assert len(session.of_type(OrderCanceled)) == 1
    assert session.denied == []


@pytest.mark.parametrize("latency_ms", [0, 30_000, 90_000])
def test_desk_order_changed_and_canceled_before_it_arrived_ends_canceled(latency_ms: int) -> None:
    def action(ctx: Context) -> None:
        identity = ctx.buy(AAPL, 10, limit=90)
        ctx.replace(identity, AAPL, limit=95)
        ctx.cancel(identity)

    session = run_session(
        make_timeline(SIX), at_rows({0: action}), latency=LatencyModel(mean_ms=latency_ms)
    )
    assert len(session.of_type(OrderCanceled)) == 1


# Intents of a strategy's own making.


def own(**changes: Any) -> Action:
    """Submits a market buy of 1 AAPL, with changes."""

    def make(strategy: str, number: int) -> OrderIntent:
        fields: dict[str, Any] = {
            "strategy": strategy, "intent": number, "instrument": AAPL, "side": Side.BUY,
            "basis": QuantityBasis.LOTS, "amount": 1, "order_type": OrderType.MARKET,
            "time_in_force": GTC, **changes,
        }  # fmt: skip
        return OrderIntent(**fields)

    return lambda ctx: ctx.submit(make)


def test_desk_own_intent_is_like_any_other() -> None:
    session = run({0: own(amount=7, order_type=OrderType.LIMIT, limit_ticks=10_100)})
    assert trades(session) == [(7, 100)]


@pytest.mark.parametrize(
    "changes",
    [
        {"strategy": "s1"}, {"strategy": "nobody"}, {"instrument": MSFT},
        {"instrument": "NOPE.XNAS"}, {"amount": 0}, {"amount": -5}, {"limit_ticks": -1,
         "order_type": OrderType.LIMIT}, {"order_type": OrderType.LIMIT},
        {"order_type": OrderType.STOP}, {"time_in_force": TimeInForce.GTD},
        {"basis": QuantityBasis.NOTIONAL_AT_FILL, "amount": 500 * E8, "limit_ticks": 10_100,
         "order_type": OrderType.LIMIT},
    ],
    ids=["another strategy", "unknown strategy", "not subscribed", "unknown instrument", "no lots",
         "negative lots", "negative limit", "limit without price",
         "stop without price", "GTD without a time",
         "a limit order sized at the fill"],
)  # fmt: skip
def test_desk_own_intent_that_makes_no_sense_harms_only_its_strategy(
    changes: dict[str, Any],
) -> None:
    """Denied or quarantined, never traded, and the other strategy goes on."""
    honest = at_rows({0: lambda ctx: ctx.buy(AAPL, 3), 3: lambda ctx: ctx.sell(AAPL, 3)})
    session = run_session(
        make_timeline(SIX, SIX), at_rows({1: own(**changes)}), honest,
        instruments=((AAPL,), None),
    )  # fmt: skip
    assert trades(session) == [(3, 100), (-3, 100)]
    guilty = [each.strategy for each in session.of_type(OrderDenied, StrategyQuarantined)]
    assert guilty == ["s0"]


def test_desk_intent_number_used_twice_harms_only_its_strategy() -> None:
    honest = at_rows({0: lambda ctx: ctx.buy(AAPL, 3), 3: lambda ctx: ctx.sell(AAPL, 3)})
    twice = at_rows({1: own(intent=5, order_type=OrderType.LIMIT, limit_ticks=50),
                     2: own(intent=5, order_type=OrderType.LIMIT, limit_ticks=50)})  # fmt: skip
    session = run_session(make_timeline(SIX), twice, honest)
    assert trades(session) == [(3, 100), (-3, 100)]


def test_desk_gtd_without_a_time_is_refused() -> None:
    """It would live for ever, which is another time in force."""
    strategy = at_rows({0: lambda ctx: ctx.buy(AAPL, 1, limit=90, time_in_force=TimeInForce.GTD)})
    session = run_session(make_timeline(SIX), strategy)
    assert session.of_type(OrderSubmitted) == []


# Quarantine.


def test_desk_quarantine_cancels_entries_and_leaves_protection() -> None:
    rows = flat(100, 100, 100, 100, 94, 80)
    ids: list[str] = []

    def protect(ctx: Context) -> None:
        ids.extend([ctx.buy(AAPL, 5, limit=90), ctx.sell(AAPL, 10, stop=95)])

    def fail(ctx: Context) -> None:
        raise ValueError("no more")

    session = run_session(
        make_timeline(rows),
        at_rows({0: lambda ctx: ctx.buy(AAPL, 10), 1: protect, 2: fail}),
    )
    assert [each.client_order_id for each in session.of_type(OrderCancelPending)] == [ids[0]]
    assert trades(session) == [(10, 100), (-10, 94)]


def test_desk_quarantined_strategy_never_opens_a_position_again() -> None:
    """Stop and target both protect; once one has closed the position the other has nothing left."""
    rows = flat(100, 100, 100, 94, 120, 120)

    def bracket(ctx: Context) -> None:
        ctx.sell(AAPL, 10, stop=95)
        ctx.sell(AAPL, 10, limit=110)

    def fail(ctx: Context) -> None:
        raise ValueError("no more")

    session = run_session(
        make_timeline(rows),
        at_rows({0: lambda ctx: ctx.buy(AAPL, 10), 1: bracket, 2: fail}),
    )
    assert session.ledger().positions[AAPL].lots == 0


def test_desk_books_in_two_instruments_do_not_mix() -> None:
    session = run_session(
        make_timeline(flat(10, 10, 11), (OTHER, make_columns(flat(50, 50, 40)))),
        at_rows({0: lambda ctx: (ctx.buy(AAPL, 10), ctx.sell(MSFT, 2))}),
        capital=1_000,
    )
    # AAPL's row comes first: MSFT has no mark yet.
    assert codes(session) == [DenialCode.NO_MARK]
    assert session.equity() == (1_000 + 10) * E8


def events_of(session: SessionRun, kind: type[Any]) -> list[Event]:
    return [each for each in session.events if isinstance(each.payload, kind)]


def test_desk_fill_leaves_the_position_behind_it_on_the_tape() -> None:
    session = run({0: lambda ctx: ctx.buy(AAPL, 10)})
    (fill,) = events_of(session, OrderFilled)
    after = next(each for each in session.events if each.seq == fill.seq + 1)
    assert after.type == "position.opened"
    assert after.causation_id == fill.seq
    assert after.payload.lots == 10  # type: ignore[union-attr]
