"""Funding, daily settlement, expiry and exercise in a session, by hand-worked tables."""

from __future__ import annotations

from functools import partial

import msgspec
import pytest

from onetape.domain.errors import ConfigError, DataError
from onetape.domain.events import CashPosted, OrderCanceled, PositionSettled
from onetape.domain.instrument import ExerciseStyle, Instrument, OptionRight
from onetape.domain.market import ContractExpiry, FundingRate, MarkPrice
from onetape.domain.numbers import E8
from onetape.domain.orders import DenialCode
from onetape.marketdata.timeline import build_timeline
from onetape.research.result_table import alarms
from onetape.research.run_summary import summarize_run
from onetape.risk.limits import RiskLimits
from onetape.runtime.sessions.backtest import BacktestSession, SessionIdentity, StrategySpec
from onetape.runtime.sessions.session_state import decode_state, encode_state
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy
from onetape.tape.store import MemoryTape
from tests.support.contracts import (
    INVERSE,
    LINEAR,
    check_whole,
    make_contract_timeline,
    make_funding,
    make_future,
    make_margin,
    make_option,
)
from tests.support.session_runs import SessionRun, make_terms
from tests.support.session_runs import run_session as run_with_limits
from tests.support.timelines import (
    AAPL,
    EQUITY,
    SECOND,
    at_rows,
    closes,
    flat,
    make_columns,
    opens,
)

run_session = partial(run_with_limits, limits=RiskLimits())


def settled(run: SessionRun) -> list[tuple[str, str, int, float, float, float]]:
    """Instrument, kind, lots traded, price in ticks, amount and cash of each settlement."""
    return [
        (str(e.instrument), e.kind.value, e.traded, e.ticks, e.amount / E8, e.cash / E8)
        for e in run.of_type(PositionSettled)
    ]


# 1 BTC long from 50,000. At the close of bar 2 the mark is 51,000: at 0.01 % 5.10 are paid; between
# bars 3 and 4 the venue marks 49,800, at -0.02 % 9.96 are received, and equity is at that mark.
def test_funding_is_paid_at_the_mark_before_the_rows_of_its_time() -> None:
    marked = MarkPrice(instrument=LINEAR.id, ts_event=closes(3), ts_known=closes(3), price=49_800.0)
    steps = [
        make_funding(closes(2), 0.0001), marked, make_funding(closes(3), -0.0002, mark=49_800.0)
    ]  # fmt: skip
    timeline = make_contract_timeline(
        (LINEAR, flat(50_000, 50_000, 51_000, 50_500, 50_700)), steps=steps
    )
    seen: dict[int, float] = {}
    strategy = at_rows({0: lambda ctx: ctx.buy(LINEAR.id, 1)}, instrument=LINEAR.id)

    def on_funding(_self: Strategy, funding: FundingRate, ctx: Context) -> None:
        seen[funding.ts_event] = ctx.equity

    listening = type("Listening", (type(strategy),), {"on_funding": on_funding})()
    run = run_session(timeline, listening, margin=make_margin(timeline))
    assert [(each.amount, each.reason) for each in run.of_type(CashPosted)] == [
        (-510_000_000, "rate 0.0001 at 51000.0"), (996_000_000, "rate -0.0002 at 49800.0"),
    ]  # fmt: skip
    assert seen == {closes(2): 100_000 + 1_000 - 5.1, closes(3): 100_000 - 200 - 5.1 + 9.96}
    kinds = [each.type for each in run.events]
    cause = {each.seq: each for each in run.events}
    for each in run.events:
        if each.type == "account.posted":
            assert isinstance(cause[each.causation_id].payload, FundingRate)
    assert kinds.count("market.mark") == 1
    check_whole(run, timeline)


def test_funding_inside_a_bar_counts_behind_it() -> None:
    """A position that the bar opens pays it, at the close where the venue gives no mark."""
    timeline = make_contract_timeline(
        (LINEAR, [(50_000,), (50_000, 50_500, 50_000, 50_500), (50_500,)]),
        steps=[make_funding(opens(1) + 30 * SECOND, 0.0001)],
    )
    strategy = at_rows({0: lambda ctx: ctx.buy(LINEAR.id, 1)}, instrument=LINEAR.id)
    run = run_session(timeline, strategy, margin=make_margin(timeline))
    assert [each.amount for each in run.of_type(CashPosted)] == [-505_000_000]


# 3 contracts of 50 an index point bought at 5,000.00, sessions of two bars. The gain of each
# session at its last mark moves to cash: 150 a point.
#
#   session ends at   moved     cash      at expiry, 5,010.00
#          5,004.00     600  100,600
#          4,998.00    -900   99,700
#          5,010.00                       1,800, cash 101,500, flat
def test_a_future_settles_daily_and_ends() -> None:
    future = make_future(closes(6))
    rows = flat(4_999, 5_000, 5_003, 5_004, 5_001, 4_998, 5_010)
    columns = [(future, rows), (EQUITY, flat(*[100] * 10))]
    timeline = make_contract_timeline(*columns, session=2)
    strategy = at_rows({0: lambda ctx: ctx.buy(future.id, 3),
                        5: lambda ctx: ctx.sell(future.id, 3, limit=6_000)},
                       instrument=future.id)  # fmt: skip
    run = run_session(timeline, strategy, margin=make_margin(timeline))
    assert settled(run) == [
        (future.id, "variation", 0, 5_000 * 4, 0, 100_000),
        (future.id, "variation", 0, 5_004 * 4, 600, 100_600),
        (future.id, "variation", 0, 4_998 * 4, -900, 99_700),
        (future.id, "final", -3, 5_010 * 4, 1_800, 101_500),
    ]
    assert [each.reason for each in run.of_type(OrderCanceled)] == ["its instrument has expired"]
    assert run.equity() == 101_500 * E8
    check_whole(run, timeline)


def test_an_order_of_an_expired_future_is_denied_with_its_lots() -> None:
    future = make_future(closes(1))
    timeline = make_contract_timeline((future, flat(5_000, 5_000)), (EQUITY, flat(*[100] * 4)))
    strategy = at_rows({2: lambda ctx: ctx.buy(future.id, 3)})
    run = run_session(timeline, strategy, margin=make_margin(timeline))
    (denied,) = run.denied
    assert (denied.code, denied.actual, denied.unit) == (DenialCode.EXPIRED, 3, "lots")


# 2 March contracts bought at 5,000 and rolled at 5,020 / 5,045: the roll is two orders, and its
# gain of 2,000 stays; June ends at 5,050: 500 more.
def test_a_roll_is_two_orders() -> None:
    march, june = make_future(closes(3)), make_future(closes(90), "ESM4.XCME")
    timeline = make_contract_timeline(
        (march, flat(5_000, 5_000, 5_020, 5_020)), (june, flat(5_030, 5_030, 5_045, 5_045, 5_050))
    )

    def roll(ctx: Context) -> None:
        held = ctx.position(march.id)
        ctx.sell(march.id, held)
        ctx.buy(june.id, held)

    strategy = at_rows({0: lambda ctx: ctx.buy(march.id, 2), 1: roll}, instrument=march.id)
    run = run_session(timeline, strategy, capital=200_000, margin=make_margin(timeline))
    assert [(fill.instrument, int(fill.side), fill.ticks) for fill in run.fills] == [
        (march.id, 1, 20_000), (march.id, -1, 20_080), (june.id, 1, 20_180),
    ]  # fmt: skip
    assert run.equity() == (200_000 + 2_000 + 500) * E8
    check_whole(run, timeline)


def run_option(
    option: Instrument, lots: int, stock: float, *, capital: float = 100_000, exercise: int = 0
) -> SessionRun:
    """`lots` of an option at 4.00; the stock stands at `stock` when it expires behind bar 3."""
    rows = flat(4, 4, 4, 4)
    timeline = make_contract_timeline((EQUITY, flat(*[stock] * 6)), (option, rows))
    actions = {0: lambda ctx: ctx.buy(option.id, lots) if lots > 0 else ctx.sell(option.id, -lots)}
    if exercise:
        actions[2] = lambda ctx: ctx.exercise(option.id, exercise)
    run = run_session(
        timeline, at_rows(actions, instrument=option.id), capital=capital,
        margin=make_margin(timeline, "50", "25"),
    )  # fmt: skip
    check_whole(run, timeline)
    return run


CALL, PUT = OptionRight.CALL, OptionRight.PUT


# 2 contracts of 100 shares at 4.00: 800 paid (long) or received (short), strike 100.
@pytest.mark.parametrize(
    ("right", "lots", "stock", "kind", "moved", "shares", "cost"),
    [
        (CALL, +2, 107.5, "exercise", 0, +200, 20_000),
        (CALL, -2, 107.5, "assignment", 0, -200, -20_000),
        (PUT, +2, 92.5, "exercise", 0, -200, -20_000),
        (PUT, -2, 92.5, "assignment", 0, +200, 20_000),
        (CALL, +2, 100.0, "worthless", 0, 0, 0),
        (CALL, -2, 93.0, "worthless", 0, 0, 0),
        (PUT, +2, 107.0, "worthless", 0, 0, 0),
    ],
)
def test_an_option_delivers_at_its_strike_when_it_expires_in_the_money(
    right: OptionRight, lots: int, stock: float, kind: str, moved: float, shares: int, cost: int
) -> None:
    option = make_option(closes(3), right=right)
    run = run_option(option, lots, stock)
    first, *delivery = settled(run)
    premium = -400 * lots
    assert first == (option.id, kind, -lots, 0, moved, 100_000 + premium)
    position = run.ledger().positions[AAPL]
    assert (position.lots, position.cost) == (shares, cost * E8)
    assert [each[1] for each in delivery] == (["delivery"] if shares else [])
    assert run.ledger().cash == (100_000 + premium - cost) * E8
    assert run.equity() == round((100_000 + premium + shares * (stock - 100)) * E8)


@pytest.mark.parametrize(
    ("right", "lots", "stock", "kind", "moved"),
    [
        (CALL, +2, 107.5, "exercise", 1_500),
        (CALL, -2, 107.5, "assignment", -1_500),
        (PUT, +2, 92.25, "exercise", 1_550),
        (PUT, -2, 92.25, "assignment", -1_550),
        (PUT, +2, 107.5, "worthless", 0),
    ],
)
def test_an_option_that_is_settled_in_cash_moves_what_it_is_worth(
    right: OptionRight, lots: int, stock: float, kind: str, moved: float
) -> None:
    option = make_option(closes(3), right=right, cash_settled=True)
    run = run_option(option, lots, stock)
    (only,) = settled(run)
    assert (only[1], only[4]) == (kind, moved)
    assert AAPL not in run.ledger().held
    assert run.equity() == round((100_000 - 400 * lots + moved) * E8)


def test_an_american_option_can_be_exercised_before_its_expiry() -> None:
    option = make_option(closes(3))
    run = run_option(option, 2, 107.5, exercise=1)
    early, delivery, late, _ = run.of_type(PositionSettled)
    assert (early.traded, delivery.traded, late.traded) == (-1, 100, -1)
    assert run.ledger().positions[AAPL].lots == 200
    intent = next(each for each in run.events if each.type == "intent.exercise")
    caused = next(each for each in run.events if each.payload is early)
    assert caused.causation_id == intent.seq


@pytest.mark.parametrize(
    ("option", "stock", "lots", "refusal"),
    [
        (make_option(closes(3)), 107.5, 3, (3, 2, "lots")),
        (make_option(closes(3)), 99.5, 1, (99.5, 100, "strike")),
        (make_option(closes(3), exercise=ExerciseStyle.EUROPEAN), 107.5, 1,
         (0, 1, "american options")),
    ],
)  # fmt: skip
def test_an_exercise_that_is_not_allowed_is_denied_with_its_numbers(
    option: Instrument, stock: float, lots: int, refusal: tuple[float, float, str]
) -> None:
    run = run_option(option, 2, stock, exercise=lots)
    (denied,) = run.denied
    assert denied.code is DenialCode.NOT_EXERCISABLE
    assert (denied.actual, denied.limit, denied.unit) == refusal


def test_a_cash_account_neither_sells_options_short_nor_exercises_what_it_cannot_pay() -> None:
    option = make_option(closes(3))
    timeline = make_contract_timeline((EQUITY, flat(*[107.5] * 6)), (option, flat(4, 4, 4, 4)))
    strategy = at_rows(
        {0: lambda ctx: (ctx.sell(option.id, 1), ctx.buy(option.id, 2)),
         2: lambda ctx: ctx.exercise(option.id, 2)},
        instrument=option.id,
    )  # fmt: skip
    run = run_session(timeline, strategy, capital=10_000)
    assert [(each.code, each.actual, each.limit) for each in run.denied] == [
        (DenialCode.BUYING_POWER, 1, 0), (DenialCode.BUYING_POWER, 20_000, 9_200),
    ]  # fmt: skip


def test_an_exercise_is_not_paid_from_cash_that_an_open_buy_has_bound() -> None:
    """22,000 less 800 for the options and 10,000 that a limit order waits with: 11,200."""
    option = make_option(closes(3))
    timeline = make_contract_timeline((EQUITY, flat(*[107.5] * 6)), (option, flat(4, 4, 4, 4)))
    strategy = at_rows(
        {0: lambda ctx: (ctx.buy(option.id, 2), ctx.buy(AAPL, 100, limit=100)),
         2: lambda ctx: (ctx.exercise(option.id, 2), ctx.exercise(option.id, 1))},
        instrument=option.id,
    )  # fmt: skip
    run = run_session(timeline, strategy, capital=22_000)
    assert [(each.code, each.actual, each.limit) for each in run.denied] == [
        (DenialCode.BUYING_POWER, 20_000, 11_200)
    ]


def test_an_exercise_is_not_paid_from_sales_that_have_not_settled() -> None:
    option = make_option(closes(3))
    timeline = make_contract_timeline((EQUITY, flat(*[107.5] * 6)), (option, flat(4, 4, 4, 4)))
    strategy = at_rows(
        {0: lambda ctx: (ctx.buy(AAPL, 100), ctx.buy(option.id, 1)),
         1: lambda ctx: ctx.sell(AAPL, 100),
         2: lambda ctx: ctx.exercise(option.id, 1)},
        instrument=option.id,
    )  # fmt: skip
    terms = msgspec.structs.replace(make_terms(timeline), settlement_days=1)
    run = run_session(timeline, strategy, capital=12_000, terms=terms)
    assert [(each.code, each.actual, each.limit) for each in run.denied] == [
        (DenialCode.BUYING_POWER, 10_000, 850)
    ]


# 2 puts on 100 shares each, strike 100, and 100 shares held; the stock stands at 92.50. A contract
# is covered, the other would sell 100 shares that nobody has.
#
#                        shares  covered  exercised  lapsed
#   cash account            100        1          1       1
#   100 for sale            100        0          0       2
#   for sale, reduce-only   100        1          1       1
#   none                      0        0          0       2
@pytest.mark.parametrize(
    ("shares", "for_sale", "limits", "traded"),
    [
        (100, None, RiskLimits(), [("exercise", -1), ("delivery", -100), ("lapsed", -1)]),
        (100, False, RiskLimits(), [("lapsed", -2)]),
        (100, True, RiskLimits(), [("exercise", -1), ("delivery", -100), ("lapsed", -1)]),
        (0, None, RiskLimits(), [("lapsed", -2)]),
        (0, None, RiskLimits(max_leverage=1), [("lapsed", -2)]),
        (0, None, RiskLimits(max_leverage=4, allow_short=False), [("lapsed", -2)]),
        (200, None, RiskLimits(), [("exercise", -2), ("delivery", -200)]),
        (0, None, RiskLimits(max_leverage=4), [("exercise", -2), ("delivery", -200)]),
    ],
)  # fmt: skip
def test_a_put_that_expires_in_the_money_sells_no_shares_that_a_cash_account_lacks(
    shares: int, *, for_sale: bool | None, limits: RiskLimits, traded: list[tuple[str, int]]
) -> None:
    option = make_option(closes(3), right=PUT)
    timeline = make_contract_timeline((EQUITY, flat(*[92.5] * 6)), (option, flat(4, 4, 4, 4)))

    def buy(ctx: Context) -> None:
        ctx.buy(option.id, 2)
        if shares:
            ctx.buy(AAPL, shares)

    def offer(ctx: Context) -> None:
        if for_sale is not None:
            ctx.sell(AAPL, shares, limit=120, reduce_only=for_sale)

    strategy = at_rows({0: buy, 1: offer}, instrument=option.id)
    run = run_session(timeline, strategy, capital=100_000, limits=limits)
    found = run.of_type(PositionSettled)
    assert [(each.kind.value, each.traded) for each in found] == traded
    sold = -sum(lots for kind, lots in traded if kind == "delivery")
    assert run.ledger().positions[AAPL].lots == shares - sold
    cash = 100_000 - 800 - shares * 92.5 + sold * 100
    assert run.ledger().cash == round(cash * E8)
    check_whole(run, timeline)


# 15,000 less 800 for 2 calls at 4.00: 14,200 pay for one contract of 100 shares at 100.
def test_a_call_that_expires_in_the_money_buys_no_more_than_a_cash_account_pays_for() -> None:
    option = make_option(closes(3))
    timeline = make_contract_timeline((EQUITY, flat(*[107.5] * 6)), (option, flat(4, 4, 4, 4)))
    strategy = at_rows({0: lambda ctx: ctx.buy(option.id, 2)}, instrument=option.id)
    run = run_session(timeline, strategy, capital=15_000, limits=RiskLimits())
    assert [(each.kind.value, each.traded) for each in run.of_type(PositionSettled)] == [
        ("exercise", -1), ("delivery", 100), ("lapsed", -1),
    ]  # fmt: skip
    assert run.ledger().cash == 4_200 * E8
    check_whole(run, timeline)


@pytest.mark.parametrize(
    ("limits", "denied"),
    [
        (RiskLimits(), (200, 100, "units")),
        (RiskLimits(max_leverage=1), (200, 100, "units")),
        (RiskLimits(max_leverage=4, allow_short=False), (200, 100, "units")),
        (RiskLimits(max_leverage=4), None),
    ],
)
def test_an_exercise_that_would_make_a_cash_account_short_is_denied(
    limits: RiskLimits, denied: tuple[float, float, str] | None
) -> None:
    option = make_option(closes(3), right=PUT)
    timeline = make_contract_timeline((EQUITY, flat(*[92.5] * 6)), (option, flat(4, 4, 4, 4)))
    strategy = at_rows(
        {0: lambda ctx: (ctx.buy(option.id, 2), ctx.buy(AAPL, 100)),
         2: lambda ctx: ctx.exercise(option.id, 2)},
        instrument=option.id,
    )  # fmt: skip
    run = run_session(timeline, strategy, limits=limits)
    told = [(each.actual, each.limit, each.unit) for each in run.denied]
    assert told == ([] if denied is None else [denied])
    assert all(each.code is DenialCode.BUYING_POWER for each in run.denied)
    assert (run.ledger().positions[AAPL].lots < 0) == (denied is None)


def test_a_short_call_needs_margin_at_the_money_where_its_underlying_has_no_mark() -> None:
    """1 contract: its premium of 400 and a fifth of 10,000."""
    option = make_option(closes(5))
    late = {name: column[4:] for name, column in make_columns(flat(*[107.5] * 9)).items()}
    rows = make_columns(flat(4, 4, 4, 4))
    timeline = build_timeline([(EQUITY, late), (option, rows)], source="test", timeframe="1m")
    margin = make_margin(timeline, "50", "25")
    for capital, denied in ((2_400, 0), (2_399, 1)):
        run = run_session(
            timeline, at_rows({0: lambda ctx: ctx.sell(option.id, 1)}, instrument=option.id),
            capital=capital, margin=margin,
        )  # fmt: skip
        assert [each.code for each in run.denied] == [DenialCode.BUYING_POWER] * denied


def test_contracts_that_a_session_cannot_settle_are_refused_before_it_runs() -> None:
    rows = flat(5_000, 5_000, 5_000)
    future = make_future(closes(0))
    with pytest.raises(DataError, match=r"expires at .* and has a bar that opens at"):
        make_contract_timeline((future, rows))
    option = make_option(closes(1))
    with pytest.raises(DataError, match=r"settles by AAPL\.XNAS, which has no bars"):
        make_contract_timeline((option, flat(4, 4)))
    timeline = make_contract_timeline((LINEAR, rows))
    with pytest.raises(ConfigError, match="is a perpetual, which is held on margin"):
        run_session(timeline, at_rows({}))
    timeline = make_contract_timeline((INVERSE, rows))
    with pytest.raises(ConfigError, match="is settled in BTC, but the capital"):
        run_session(timeline, at_rows({}), margin=make_margin(timeline))
    odd = make_option(closes(2), strike="100.005")
    timeline = make_contract_timeline((EQUITY, flat(100, 100)), (odd, flat(4, 4)))
    with pytest.raises(ConfigError, match=r"100\.005 is off the grid"):
        run_session(timeline, at_rows({}))


def test_strategies_hear_of_an_expiry_with_the_books_settled() -> None:
    future = make_future(closes(1))
    timeline = make_contract_timeline((future, flat(5_000, 5_000)), (EQUITY, flat(*[100] * 4)))
    heard: list[float] = []
    strategy = at_rows({0: lambda ctx: ctx.buy(future.id, 3)}, instrument=future.id)

    def on_expiry(_self: Strategy, expiry: ContractExpiry, ctx: Context) -> None:
        heard.append(ctx.position(expiry.instrument))

    listening = type("Listening", (type(strategy),), {"on_expiry": on_expiry})()
    run_session(timeline, listening, margin=make_margin(timeline))
    assert heard == [0.0]


def test_a_mark_of_the_venue_is_still_the_mark_after_a_restart() -> None:
    """The perpetual has no bar after its mark price; the share goes on."""
    mark = MarkPrice(instrument=LINEAR.id, ts_event=closes(3), ts_known=closes(3), price=48_000.0)
    timeline = make_contract_timeline(
        (LINEAR, flat(50_000, 50_000)), (EQUITY, flat(*[100] * 8)), steps=[mark]
    )
    strategy = at_rows({0: lambda ctx: ctx.buy(LINEAR.id, 1)}, instrument=LINEAR.id)
    margin = make_margin(timeline)
    run = run_session(timeline, strategy, margin=margin)
    assert run.equity() == 98_000 * E8
    other = BacktestSession(
        timeline, [StrategySpec(name="s0", strategy=strategy, capital=100_000 * E8)],
        make_terms(timeline, margin=margin), RiskLimits(), MemoryTape(), SessionIdentity(),
    )  # fmt: skip
    other.restore(decode_state(encode_state(run.session.save())))
    valuation = other.runners["s0"].valuation
    valuation.refresh()
    assert valuation.equity == 98_000 * E8


def test_an_option_that_lapses_in_the_money_stands_above_the_figures() -> None:
    option = make_option(closes(3), right=PUT)
    timeline = make_contract_timeline((EQUITY, flat(*[92.5] * 6)), (option, flat(4, 4, 4, 4)))
    strategy = at_rows({0: lambda ctx: ctx.buy(option.id, 2)}, instrument=option.id)
    run = run_session(timeline, strategy)
    (alarm,) = alarms(summarize_run(timeline, run.events, digest=""))
    assert alarm.word == "LAPSED"
    assert alarm.story.startswith("AAPL-OPT.OPRA expired in the money")
    assert "800.00 USD were booked" in alarm.story
