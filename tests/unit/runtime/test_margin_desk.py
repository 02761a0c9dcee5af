"""Margin in a session: what orders need, calls, liquidation; by hand-worked tables."""

from __future__ import annotations

from functools import partial

from onetape.domain.events import (
    MarginStatus,
    MarginStatusChanged,
    OrderCanceled,
    OrderDenied,
    PositionSettled,
)
from onetape.domain.numbers import E8
from onetape.domain.orders import DenialCode
from onetape.execution.simulated.fees import NoFees
from onetape.risk.limits import RiskLimits
from onetape.strategy.context import Context
from tests.support.contracts import (
    INVERSE,
    LINEAR,
    check_whole,
    make_contract_timeline,
    make_margin,
)
from tests.support.session_runs import SessionRun
from tests.support.session_runs import run_session as run_with_limits
from tests.support.timelines import EQUITY, OTHER, at_rows, flat

ETH = LINEAR.__class__(
    **{
        name: getattr(LINEAR, name)
        for name in ("kind", "quote_currency", "tick_size", "lot_size", "terms")
    },
    id="ETHUSD-PERP.VENUE",
)


run_session = partial(run_with_limits, limits=RiskLimits())


def statuses(run: SessionRun) -> list[tuple[str, float, float]]:
    return [
        (each.status.value, each.equity / E8, each.maintenance / E8)
        for each in run.of_type(MarginStatusChanged)
    ]


# 1 BTC bought at 50,000 with 6,000: initial 10 % = 5,000. Maintenance is 5 % of the mark, a call
# comes below 125 % of it, the liquidation costs 0.5 % of the notional.
#
#     mark   unrealized  equity  maintenance   125 %
#   50,000            0   6,000      2,500.0   3,125.0
#   47,000       -3,000   3,000      2,350.0   2,937.5
#   46,900       -3,100   2,900      2,345.0   2,931.2  call
#   47,500       -2,500   3,500      2,375.0   2,968.8  enough again
#   46,000       -4,000   2,000      2,300.0            liquidation: fee 230, cash 1,770
def test_a_cross_position_is_called_and_liquidated_at_the_mark() -> None:
    timeline = make_contract_timeline(
        (LINEAR, flat(50_000, 50_000, 47_000, 46_900, 47_500, 46_000, 60_000))
    )
    strategy = at_rows(
        {0: lambda ctx: ctx.buy(LINEAR.id, 1), 2: lambda ctx: ctx.sell(LINEAR.id, 1, limit=70_000)},
        instrument=LINEAR.id,
    )
    run = run_session(
        timeline, strategy, capital=6_000, margin=make_margin(timeline, fee_e8=500_000)
    )
    assert statuses(run) == [
        ("called", 2_900, 2_345),
        ("sufficient", 3_500, 2_375),
        ("liquidation", 2_000, 2_300),
        ("sufficient", 1_770, 0),
    ]
    (settled,) = run.of_type(PositionSettled)
    assert (settled.traded, settled.ticks) == (-1_000, 460_000)
    assert (settled.realized, settled.fee, settled.cash) == (-4_000 * E8, 230 * E8, 1_770 * E8)
    (canceled,) = run.of_type(OrderCanceled)
    assert canceled.reason == "liquidation"
    seqs = {id(each.payload): each for each in run.events}
    status = run.of_type(MarginStatusChanged)[2]
    assert seqs[id(settled)].causation_id == seqs[id(status)].seq
    assert run.equity() == 1_770 * E8
    check_whole(run, timeline)


# The same, closed a quarter (250 of 1,000 lots) at a time, without a fee: at 46,000 equity stays
# 2,000 and maintenance falls from 2,300 to 1,725: one step is enough.
def test_a_liquidation_in_steps_stops_where_the_rest_is_backed() -> None:
    timeline = make_contract_timeline((LINEAR, flat(50_000, 50_000, 46_000, 46_000)))
    strategy = at_rows({0: lambda ctx: ctx.buy(LINEAR.id, 1)}, instrument=LINEAR.id)
    run = run_session(
        timeline, strategy, capital=6_000, margin=make_margin(timeline, step_e8=25_000_000)
    )
    settled = run.of_type(PositionSettled)
    assert [(each.traded, each.lots) for each in settled] == [(-250, 750)]
    assert statuses(run)[-1] == ("called", 2_000, 1_725)
    check_whole(run, timeline)


# 6,000 lose 7,000 between two marks: 1,000 are owed, and nothing more can be opened.
def test_a_gap_beyond_the_equity_leaves_a_debt_that_is_shown() -> None:
    timeline = make_contract_timeline((LINEAR, flat(50_000, 50_000, 43_000, 43_000, 43_000)))
    strategy = at_rows(
        {0: lambda ctx: ctx.buy(LINEAR.id, 1), 3: lambda ctx: ctx.buy(LINEAR.id, 0.1)},
        instrument=LINEAR.id,
    )
    run = run_session(timeline, strategy, capital=6_000, margin=make_margin(timeline, "5", "5"))
    assert statuses(run)[-1][0] == "bankrupt"
    assert run.equity() == run.ledger().cash == -1_000 * E8
    (denied,) = run.of_type(OrderDenied)
    assert (denied.code, denied.actual, denied.limit) == (DenialCode.BUYING_POWER, 215, -1_000)
    check_whole(run, timeline)


# Each position answers with 10 % of its cost: 5,000 for a bitcoin at 50,000, 300 for one ether at
# 3,000. The ether falls to 2,700: 300 - 300 = 0 against 135; the bitcoin's gain does not help it.
def test_isolated_positions_are_liquidated_one_by_one() -> None:
    timeline = make_contract_timeline(
        (LINEAR, flat(50_000, 50_000, 52_000, 52_000)), (ETH, flat(3_000, 3_000, 2_700, 2_700))
    )

    def both(ctx: Context) -> None:
        ctx.buy(LINEAR.id, 1)
        ctx.buy(ETH.id, 1)

    run = run_session(
        timeline, at_rows({0: both}, instrument=ETH.id), capital=10_000,
        margin=make_margin(timeline, is_isolated=True),
    )  # fmt: skip
    (settled,) = run.of_type(PositionSettled)
    assert (settled.instrument, settled.realized) == (ETH.id, -300 * E8)
    assert [each.instrument for each in run.of_type(MarginStatusChanged)] == [ETH.id, ETH.id]
    assert run.ledger().positions[LINEAR.id].lots == 1_000
    check_whole(run, timeline)


# 6,000 carry 1.2 bitcoins at 50,000 and 10 %; an open buy binds its part.
def test_an_order_needs_the_initial_margin_of_everything_at_its_worst() -> None:
    timeline = make_contract_timeline((LINEAR, flat(50_000, 50_000, 50_000, 50_000)))

    def orders(ctx: Context) -> None:
        ctx.buy(LINEAR.id, 1.201)  # 6,005
        ctx.buy(LINEAR.id, 0.7, limit=50_000)  # 3,500
        ctx.buy(LINEAR.id, 0.501, limit=50_000)  # 2,505 more
        ctx.sell(LINEAR.id, 1.2)  # the other side, alone: 6,000
        ctx.sell(LINEAR.id, 0.001)

    strategy = at_rows({0: orders}, instrument=LINEAR.id)
    run = run_session(timeline, strategy, capital=6_000, margin=make_margin(timeline))
    assert [(each.intent, each.actual, each.limit) for each in run.denied] == [
        (1, 6_005, 6_000), (3, 6_005, 6_000), (5, 6_005, 6_000),
    ]  # fmt: skip
    assert {each.code for each in run.denied} == {DenialCode.BUYING_POWER}


# Reg T: 10,000 buy shares for 20,000 (50 %). At 65 they are worth 13,000: equity 3,000 against
# 25 % of 13,000 = 3,250. A short of 20,000 needs 5,000 + 5,000 too, and 30 % to hold.
def test_reg_t_carries_twice_the_equity_in_shares() -> None:
    timeline = make_contract_timeline((EQUITY, flat(100, 100, 65, 65)))
    strategy = at_rows(
        {0: lambda ctx: (ctx.buy(EQUITY.id, 201), ctx.buy(EQUITY.id, 200))},
        instrument=EQUITY.id,
    )
    run = run_session(
        timeline, strategy, capital=10_000, margin=make_margin(timeline, "50", "25"), fees=NoFees()
    )
    (denied,) = run.denied
    assert (denied.actual, denied.limit) == (10_050, 10_000)
    assert statuses(run) == [("liquidation", 3_000, 3_250), ("sufficient", 3_000, 0)]
    check_whole(run, timeline)


# 20 % of the larger side: 10,000 long and 8,000 short need 2,000, not 3,600.
def test_portfolio_margin_counts_the_larger_side() -> None:
    timeline = make_contract_timeline((EQUITY, flat(100, 100, 100)), (OTHER, flat(50, 50, 50)))

    def both(ctx: Context) -> None:
        ctx.buy(EQUITY.id, 100)
        ctx.sell(OTHER.id, 160)
        ctx.buy(EQUITY.id, 1)

    run = run_session(
        timeline, at_rows({0: both}, instrument=OTHER.id), capital=2_000,
        margin=make_margin(timeline, "20", "10", is_portfolio=True),
    )  # fmt: skip
    (denied,) = run.denied
    assert (denied.intent, denied.actual, denied.limit) == (3, 2_020, 2_000)
    check_whole(run, timeline)


# 1 BTC, 1,000 inverse contracts at 50,000 (2 BTC). At 35,000 they are worth 2.857.. BTC: a loss
# of 0.857 BTC leaves 0.1428 against 5 % = 0.1428; at 34,990 less.
def test_an_inverse_position_is_liquidated_in_coin() -> None:
    timeline = make_contract_timeline((INVERSE, flat(50_000, 50_000, 35_100, 34_900, 34_900)))
    strategy = at_rows({0: lambda ctx: ctx.buy(INVERSE.id, 1_000)}, instrument=INVERSE.id)
    run = run_session(
        timeline, strategy, capital=1, currency="BTC", margin=make_margin(timeline, call_e8=E8)
    )
    (settled,) = run.of_type(PositionSettled)
    assert settled.notional == 286_532_952  # 100,000 / 34,900 = 2.86532951.., rounded up
    assert run.equity() == E8 + 2 * E8 - 286_532_952
    check_whole(run, timeline)


def test_a_strategy_hears_of_its_margin() -> None:
    heard: list[MarginStatus] = []
    timeline = make_contract_timeline((LINEAR, flat(50_000, 50_000, 46_000, 46_000)))
    strategy = at_rows({0: lambda ctx: ctx.buy(LINEAR.id, 1)}, instrument=LINEAR.id)

    def on_margin(_self: object, status: MarginStatusChanged, _ctx: Context) -> None:
        heard.append(status.status)

    listening = type("Listening", (type(strategy),), {"on_margin": on_margin})()
    run_session(timeline, listening, capital=6_000, margin=make_margin(timeline))
    assert heard == [MarginStatus.LIQUIDATION, MarginStatus.SUFFICIENT]
