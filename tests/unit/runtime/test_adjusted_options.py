"""Options on shares that split: the Options Clearing Corporation's own examples, by hand.

Source: OCC By-Laws, Article VI, Section 11A (SEC release 34-53400); "Characteristics and Risks of
Standardized Options", adjustments; information memo 47369 (AAPL, 4 for 1, 2020).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from onetape.domain.errors import ConfigError, StrategyError
from onetape.domain.events import (
    CashPosted,
    ContractAdjusted,
    OrderCanceled,
    OrderDenied,
    PositionAdjusted,
    PositionSettled,
)
from onetape.domain.instrument import OptionRight
from onetape.domain.market import CorporateAction, CorporateActionKind
from onetape.domain.numbers import E8, to_minor
from onetape.marketdata.timeline import Timeline
from onetape.portfolio.option_adjustment import compute_delivered_lots, compute_split_strike
from onetape.research.run_summary import summarize_run
from onetape.risk.limits import RiskLimits
from onetape.runtime.sessions.backtest import BacktestSession, SessionIdentity, StrategySpec
from onetape.runtime.sessions.recovery import fold_tape
from onetape.strategy.context import Context
from onetape.tape.reader import MemoryTapeReader
from onetape.tape.store import MemoryTape
from tests.support.actions import make_action, with_actions
from tests.support.contracts import check_whole, make_contract_timeline, make_margin, make_option
from tests.support.session_runs import SessionRun, make_terms, run_session
from tests.support.strategies import make_context
from tests.support.timelines import AAPL, EQUITY, at_rows, flat, opens

K = CorporateActionKind
OPTION = make_option(0).id


# OCC: 3 for 1 makes XYZ 20 of XYZ 60; AAPL 400 became AAPL 100. 50 / 3 is 16.67 to the cent.
@pytest.mark.parametrize(
    ("strike", "contracts", "after"),
    [(60, 3, "20"), (400, 4, "100"), (50, 2, "25"), (50, 3, "16.67"), (100, 3, "33.33"),
     ("0.01", 3, "0.01")],
)  # fmt: skip
def test_strikes_are_divided_to_the_nearest_cent(
    strike: float | str, contracts: int, after: str
) -> None:
    minor = int(Decimal(strike) * E8)
    assert compute_split_strike(minor, contracts, E8 // 100) == int(Decimal(after) * E8)


def test_a_contract_delivers_whole_lots_and_what_is_left() -> None:
    assert compute_delivered_lots(100, 3, 2) == (150, 0)
    assert compute_delivered_lots(100, 1, 8) == (12, 4)  # four eighths
    assert compute_delivered_lots(100, 21, 20) == (105, 0)


def make_world(
    before: float, after: float, *actions: CorporateAction, bars_after: int = 0, **option: Any
) -> Timeline:
    """Three bars at each price of the share, and an option at 4.00.

    It expires at the last, or `bars_after` it.
    """
    definition = make_option(opens(6 + bars_after), **option)
    timeline = make_contract_timeline(
        (EQUITY, flat(*[before] * 3, *[after] * 3)), (definition, flat(*[4] * 3))
    )
    return with_actions(timeline, list(actions))


def split(value: float, divisor: float = 1, kind: K = K.SPLIT) -> CorporateAction:
    return make_action(kind, opens(3), value, divisor)


def trade(timeline: Timeline, lots: int, **models: Any) -> SessionRun:
    """Trade so many contracts at the second bar, and hold them until they expire."""

    def order(ctx: Context) -> None:
        (ctx.buy if lots > 0 else ctx.sell)(OPTION, abs(lots))

    return run_session(
        timeline, at_rows({0: order}, instrument=OPTION), capital=20_000,
        margin=make_margin(timeline, "10", "5"), limits=RiskLimits(), **models,
    )  # fmt: skip


def ends(run: SessionRun) -> list[tuple[str, str, int, float]]:
    return [
        (each.kind.value, each.instrument, each.traded, each.amount / E8)
        for each in run.of_type(PositionSettled)
    ]


# What one contract becomes: the share goes from `before` to `after`, and the option is exercised.
#
#   split        right  strike  each     contracts  strike  delivers
#   3 for 1      call       60  63->21           3      20  100 shares each, for 2,000
#   4 for 1      put       400  380->95          4     100  100 shares each, for 10,000
#   3 for 2      call       50  60->40           1      50  150 shares, for 5,000
#   3 for 2      put        50  45->30           1      50  150 shares, for 5,000
#   1 for 10     call        5  6->60            1       5  10 shares, for 500
#   5 % (share)  call       50  63->60           1      50  105 shares, for 5,000
@pytest.mark.parametrize(
    ("action", "right", "strike", "prices", "contracts", "after", "shares", "paid"),
    [
        (split(3), "call", "60", (63, 21), 3, 20, 300, 6_000),
        (split(4), "put", "400", (380, 95), 4, 100, -400, -40_000),
        (split(3, 2), "call", "50", (60, 40), 1, 50, 150, 5_000),
        (split(3, 2), "put", "50", (45, 30), 1, 50, -150, -5_000),
        (split(1, 10), "call", "5", (6, 60), 1, 5, 10, 500),
        (split(0.05, kind=K.STOCK_DIVIDEND), "call", "50", (63, 60), 1, 50, 105, 5_000),
    ],
)  # fmt: skip
@pytest.mark.parametrize("held", [1, -2])
def test_contracts_are_adjusted_as_the_clearing_house_does(
    action: CorporateAction,
    right: str,
    strike: str,
    prices: tuple[float, float],
    contracts: int,
    after: float,
    shares: int,
    paid: float,
    held: int,
) -> None:
    timeline = make_world(*prices, action, right=OptionRight(right), strike=strike)
    run = trade(timeline, held)
    (adjusted,) = run.of_type(ContractAdjusted)
    assert (adjusted.contracts, adjusted.strike) == (contracts, after * E8)
    assert (adjusted.top, adjusted.bottom, adjusted.cash) == (abs(shares) // contracts, 1, 0)
    kind = "exercise" if held > 0 else "assignment"
    assert ends(run) == [
        (kind, OPTION, -held * contracts, 0), ("delivery", AAPL, held * shares, -held * paid)
    ]  # fmt: skip
    check_whole(run, timeline)


# 1 for 8: 12 shares, and half a share at 8 x 10 = 80, so 40 in cash, for 800. At 90 that is worth
# 1,120. The put at strike 12 delivers the same for 1,200, which is more than 1,120.
@pytest.mark.parametrize(("right", "strike", "sign"), [("call", "8", 1), ("put", "12", -1)])
def test_fractions_of_a_deliverable_are_cash(right: str, strike: str, sign: int) -> None:
    timeline = make_world(10, 90, split(1, 8), right=OptionRight(right), strike=strike)
    run = trade(timeline, 2)
    (adjusted,) = run.of_type(ContractAdjusted)
    assert (adjusted.top, adjusted.bottom, adjusted.cash) == (12, 1, 40 * E8)
    total = 200 * int(strike)
    assert ends(run)[1] == ("delivery", AAPL, sign * 24, -sign * total)
    check_whole(run, timeline)
    (posted,) = run.of_type(CashPosted)
    assert (posted.kind.value, posted.amount / E8) == ("exercise", sign * 80)
    assert run.ledger().cash == (20_000 - 800 - sign * total + sign * 80) * E8


# 1 for 200 leaves no whole share: half a share of 2,000 is 1,000 in cash against a strike of 800.
def test_a_deliverable_below_a_share_is_settled_in_cash() -> None:
    timeline = make_world(10, 2_000, split(1, 200), strike="8")
    run = trade(timeline, 1)
    assert ends(run) == [("exercise", OPTION, -1, 0)]
    (posted,) = run.of_type(CashPosted)
    assert posted.amount == (1_000 - 800) * E8
    assert not run.ledger().held
    check_whole(run, timeline)


def test_out_of_the_money_is_judged_by_what_is_delivered() -> None:
    """150 shares at 33 are 4,950: less than the 5,000 that a call at 50 costs."""
    run = trade(make_world(60, 33, split(3, 2), strike="50"), 1)
    assert ends(run) == [("worthless", OPTION, -1, 0)]


def test_an_ordinary_cash_dividend_changes_no_contract() -> None:
    run = trade(make_world(60, 60, make_action(K.CASH_DIVIDEND, opens(3), 1), strike="50"), 1)
    assert run.of_type(ContractAdjusted) == []
    assert ends(run)[1] == ("delivery", AAPL, 100, -5_000)


# Two calls at 4.00 are worth 800. Behind the split there are six at 1.33: 798, to the nearest cent.
def test_positions_marks_orders_and_context_follow_with_their_cause() -> None:
    seen: list[Any] = []
    timeline = make_world(63, 21, split(3), strike="60")

    def order(ctx: Context) -> None:
        ctx.buy(OPTION, 2)
        seen.append(ctx.contract(OPTION))

    def rest(ctx: Context) -> None:
        ctx.sell(OPTION, 1, limit=9)
        ctx.buy(AAPL, 1, limit=1)

    def look(action: CorporateAction, ctx: Context) -> None:
        seen.extend((ctx.contract(OPTION), ctx.position(OPTION), ctx.mark(OPTION), ctx.equity))

    strategy = at_rows({0: order, 1: rest}, instrument=OPTION, on_corporate_action=look)
    run = run_session(
        timeline, strategy, capital=20_000, margin=make_margin(timeline, "10", "5"),
        limits=RiskLimits(),
    )  # fmt: skip
    assert seen[0] == (60, 100, 0)
    assert seen[1:4] == [(20, 100, 0), 6, 4 / 3]
    assert seen[4] == 20_000 - 800 + 798
    canceled = run.of_type(OrderCanceled)
    assert [each.reason for each in canceled] == [
        "its contract is adjusted: split of AAPL.XNAS", "its instrument splits"
    ]  # fmt: skip
    by_payload = {id(each.payload): each for each in run.events}
    (adjusted,) = run.of_type(ContractAdjusted)
    (action,) = run.of_type(CorporateAction)
    (changed,) = run.of_type(PositionAdjusted)
    assert by_payload[id(adjusted)].causation_id == by_payload[id(action)].seq
    assert by_payload[id(changed)].causation_id == by_payload[id(adjusted)].seq
    assert (changed.instrument, changed.lots, changed.cost, changed.amount) == (
        OPTION, 6, 800 * E8, 0
    )  # fmt: skip
    summarize_run(timeline, run.events, digest="")
    with pytest.raises(StrategyError, match=r"AAPL\.XNAS is no option"):
        make_context().contract(AAPL)


# A short call at 50 on a share at 40, behind 3 for 2: 400 of premium, and the 150 shares are worth
# 6,000, more than the strike of 5,000: 400 + 20 % of 6,000. Without the split the share at 60 is
# worth as much. At a strike of 80 the contract is 2,000 out of the money: 10 % is the least.
@pytest.mark.parametrize(("strike", "margin"), [("50", 1_600), ("80", 1_000)])
def test_margin_of_a_short_counts_what_it_delivers(strike: str, margin: int) -> None:
    timeline = make_world(60, 40, split(3, 2), strike=strike, bars_after=6)
    run = trade(timeline, -1)
    desk = run.session.desk.check.margin
    assert desk is not None
    assert desk.maintenance(run.session.runners["s0"]) == margin * E8


def test_early_exercise_counts_the_adjusted_strike() -> None:
    timeline = make_world(63, 21, split(3), strike="60")
    strategy = at_rows(
        {1: lambda ctx: ctx.buy(OPTION, 1)}, instrument=OPTION,
        on_corporate_action=lambda action, ctx: ctx.exercise(OPTION, 3),
    )  # fmt: skip
    run = run_session(
        timeline, strategy, capital=2_400, margin=make_margin(timeline, "10", "5"),
        limits=RiskLimits(),
    )  # fmt: skip
    assert run.of_type(OrderDenied) == []
    assert ends(run) == [("exercise", OPTION, -3, 0), ("delivery", AAPL, 300, -6_000)]


@pytest.mark.parametrize(
    "action",
    [make_action(K.DELISTING, opens(3), 5), make_action(K.MERGER, opens(3), 0, cash=20)],
)  # fmt: skip
def test_what_would_deliver_something_else_is_refused_by_name(action: CorporateAction) -> None:
    with pytest.raises(ConfigError, match=r"AAPL-OPT\.OPRA is on AAPL\.XNAS, of which there is a"):
        trade(make_world(60, 60, action, strike="50"), 1)
    late = msgspec.structs.replace(action, ts_event=opens(6), ts_known=opens(6))
    with_it = make_world(60, 60, late, strike="50")
    assert ends(trade(with_it, 1))[0][0] == "exercise"


def test_the_fold_of_a_tape_knows_what_options_have_become() -> None:
    timeline = make_world(10, 90, split(1, 8), strike="8")
    tape = MemoryTape()
    strategy = at_rows({0: lambda ctx: ctx.buy(OPTION, 2)}, instrument=OPTION)
    session = BacktestSession(
        timeline, [StrategySpec(name="s0", strategy=strategy, capital=to_minor(20_000, "c"))],
        make_terms(timeline, margin=make_margin(timeline)), RiskLimits(), tape, SessionIdentity(),
    )  # fmt: skip
    session.run()
    folded = fold_tape(MemoryTapeReader(tape))
    assert folded.options == {each.instrument: each.deliverable for each in session.save().options}
    assert folded.options[OPTION].cash == 40 * E8
