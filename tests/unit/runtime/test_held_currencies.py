"""Foreign cash that is held, and conversions that a strategy asks for; by hand."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from onetape.domain.errors import ConfigError, StrategyError
from onetape.domain.events import CashPosted, CashSettling, KillSwitchSet, OrderDenied
from onetape.domain.market import CorporateActionKind
from onetape.domain.numbers import E8, minor_to_decimal
from onetape.domain.orders import ConvertIntent
from onetape.domain.timestamps import NS_PER_DAY
from onetape.execution.simulated.carrying import CarryingModel, build_carrying
from onetape.marketdata.timeline import Timeline, build_timeline
from onetape.portfolio.currency_ledger import CurrencyLedger
from onetape.portfolio.equity_curve import Marks
from onetape.portfolio.journal import read_journal
from onetape.portfolio.statement import days_of, state_day
from onetape.research.run_summary import summarize_run
from onetape.risk.limits import AccountLimits, RiskLimits
from onetape.runtime.compiled.host import CompiledHost
from onetape.runtime.config_execution import Currencies
from onetape.runtime.sessions.backtest import StrategySpec
from onetape.strategy.context import Context
from onetape.strategy.library.buy_and_hold import BuyAndHold
from onetape.strategy.sdk import Strategy
from tests.support.actions import make_action, with_actions
from tests.support.currencies import (
    EURO,
    EURO_SHARE,
    EURUSD,
    SAP,
    USDJPY,
    YEN,
    YEN_SHARE,
    make_world,
)
from tests.support.session_runs import SessionRun, make_terms, run_session
from tests.support.strategies import FakeSurroundings, make_context
from tests.support.timelines import at_rows, flat, opens

# row      0    1    2     3    4
WORLD = make_world(
    (EURO, flat(1.1, 1.2, 1.25, 1.3, 1.3)), (YEN, flat(150, 150, 160, 120, 120)),
    (EURO_SHARE, flat(100, 100, 110, 110, 110)), (YEN_SHARE, flat(*[1000] * 5)),
)  # fmt: skip
Act = Callable[[Context], object]


def hold(
    timeline: Timeline,
    strategy: Strategy | dict[int, Act],
    *,
    spread_bps: str = "0",
    minimum: int = 0,
    capital: float = 100_000,
    limits: RiskLimits | None = None,
    **terms: Any,
) -> SessionRun:
    """A session that holds foreign cash; actions go by the bars of the euro's share."""
    if isinstance(strategy, dict):
        strategy = at_rows(strategy, instrument=SAP)
    made = msgspec.structs.replace(
        make_terms(timeline), conversion_e8=int(Decimal(spread_bps) * 10_000),
        conversion_minimum=minimum * E8, holds_currencies=True, **terms,
    )  # fmt: skip
    return run_session(
        timeline, strategy, capital=capital, limits=limits or RiskLimits(), terms=made
    )


def postings(run: SessionRun) -> list[tuple[str, str, str, str]]:
    return [
        (each.kind.value, each.instrument, f"{minor_to_decimal(each.amount).normalize():f}",
         each.currency)
        for each in run.of_type(CashPosted)
    ]  # fmt: skip


def denials(run: SessionRun) -> list[tuple[str, float, float, str]]:
    return [(e.code.value, e.actual, e.limit, e.unit) for e in run.of_type(OrderDenied)]


def cash(run: SessionRun) -> dict[str, Decimal]:
    books = run.ledger()
    assert isinstance(books, CurrencyLedger)
    return {each: minor_to_decimal(books.cash_in(each)) for each in ("USD", *books.others)}


# 12,000 USD are 10,000 EUR at 1.2, for 2 USD: 0.2 bps are 0.24. They buy 90 shares at 110; the 100
# EUR that are left don't buy another, and are 130 USD at 1.3, less 2.
#
#        USD     EUR  shares  rate   equity
#   row 2  87,998     100   90 x 110  1.25   87,998 + 10,000 x 1.25 = 100,498
#   row 3  88,126       0   90 x 110  1.30   88,126 +  9,900 x 1.30 = 100,996
def test_cash_is_converted_where_the_strategy_asks_and_held_until_then() -> None:
    seen: list[float] = []

    def look(ctx: Context) -> None:
        seen.extend((ctx.cash, ctx.cash_in("EUR"), ctx.cash_in("USD"), ctx.cash_in("GBP")))

    run = hold(
        WORLD,
        {
            1: lambda ctx: (ctx.convert(12_000, "USD", "EUR"), ctx.buy(SAP, 90)),
            2: lambda ctx: (look(ctx), ctx.buy(SAP, 1)),
            3: lambda ctx: ctx.convert(100, "EUR", "USD"),
        },
        spread_bps="0.2", minimum=2,
    )  # fmt: skip
    assert postings(run) == [
        ("fx_conversion", EURUSD, "-12000", "USD"), ("fx_conversion", EURUSD, "10000", "EUR"),
        ("fee", EURUSD, "-2", "USD"),
        ("fx_conversion", EURUSD, "-100", "EUR"), ("fx_conversion", EURUSD, "130", "USD"),
        ("fee", EURUSD, "-2", "USD"),
    ]  # fmt: skip
    posted = run.of_type(CashPosted)
    assert posted[0].reason == "12,000.00 USD at 1.2"
    assert posted[2].reason == "the minimum, above 0.2 bps of 12,000.00 USD"
    seqs = {id(each.payload): each for each in run.events}
    (first, _) = run.of_type(ConvertIntent)
    assert [seqs[id(each)].causation_id for each in posted[:3]] == [seqs[id(first)].seq] * 3
    assert seen == [87_998, 100, 87_998, 0]
    assert denials(run) == [("buying_power", 110, 100, "EUR cash")]
    assert cash(run) == {"USD": 88_126, "EUR": 0, "JPY": 0}
    summary = summarize_run(WORLD, run.events, digest="")
    assert [minor_to_decimal(each) for each in summary.curves.account.equity.tolist()] == [
        Decimal(each) for each in ("100000", "99998", "100498", "100996", "100996")
    ]
    assert summary.sum_postings() == {
        "fx_conversion": {"USD": Decimal(-11_870), "EUR": Decimal(9_900)},
        "fee": {"USD": Decimal(-4)},
    }


# Interactive Brokers, "Forex - Pricing Structure": USD 50,000 cost USD 2.00, USD 1,000,000,000
# cost USD 20,000 (0.20 basis points, at least USD 2.00).
@pytest.mark.parametrize(("amount", "cost"), [(50_000, "-2"), (1_000_000_000, "-20000")])
def test_a_conversion_costs_what_the_broker_publishes(amount: float, cost: str) -> None:
    run = hold(WORLD, {1: lambda ctx: ctx.convert(amount, "USD", "EUR")}, capital=2_000_000_000,
               spread_bps="0.2", minimum=2)  # fmt: skip
    assert postings(run)[-1] == ("fee", EURUSD, cost, "USD")


# 1,000 EUR at 1.25 are 1,250 USD; at 160 they are 200,000 JPY.
def test_two_foreign_currencies_are_converted_across_that_of_the_books() -> None:
    def cross(ctx: Context) -> None:
        ctx.convert(2_500, "USD", "EUR")
        ctx.convert(1_000, "EUR", "JPY")

    run = hold(WORLD, {2: cross}, spread_bps="8")
    assert postings(run)[3:] == [
        ("fx_conversion", EURUSD, "-1000", "EUR"), ("fx_conversion", USDJPY, "200000", "JPY"),
        ("fee", USDJPY, "-1", "USD"),
    ]  # fmt: skip
    assert run.of_type(CashPosted)[3].reason == "1,000.00 EUR at 1.25 and 160"
    assert cash(run) == {"USD": 100_000 - 2_500 - 2 - 1, "EUR": 1_000, "JPY": 200_000}


def test_a_cash_account_may_not_borrow_and_its_open_buys_are_bound() -> None:
    """10,000 EUR, of which an open buy of 40 at 100 binds 4,000."""

    def ask(ctx: Context) -> None:
        ctx.buy(SAP, 40, limit=100)
        ctx.buy(SAP, 60, limit=100.5)
        ctx.convert(6_000.01, "EUR", "USD")
        ctx.convert(6_000, "EUR", "USD")
        ctx.convert(0.01, "EUR", "USD")
        ctx.convert(200_000, "USD", "JPY")

    run = hold(WORLD, {1: lambda ctx: ctx.convert(12_000, "USD", "EUR"), 2: ask})
    assert denials(run) == [
        ("buying_power", 6_030, 6_000, "EUR cash"),
        ("buying_power", 6_000.01, 6_000, "EUR cash"),
        ("buying_power", 0.01, 0, "EUR cash"),
        ("buying_power", 200_000, 95_500, "USD cash"),
    ]
    assert cash(run) == {"USD": 95_500, "EUR": 4_000, "JPY": 0}


def test_what_a_conversion_costs_must_be_there_too() -> None:
    """Of 100,000 dollars 99,998 can go: the minimum of 2 is paid in dollars. So it is by euros."""

    def ask(ctx: Context) -> None:
        ctx.convert(100_000, "USD", "EUR")
        ctx.convert(99_998, "USD", "EUR")
        ctx.convert(1_000, "EUR", "JPY")
        ctx.convert(1_000, "EUR", "USD")

    run = hold(WORLD, {2: ask}, minimum=2)
    assert denials(run) == [
        ("buying_power", 100_002, 100_000, "USD cash"), ("buying_power", 2, 0, "USD cash")
    ]  # fmt: skip
    assert cash(run) == {"USD": 1_248, "EUR": Decimal("78998.4"), "JPY": 0}


# On a leverage of 1.5 half the equity of 100,000 may be borrowed: 50,000 EUR at 1.25 are 62,500.
# 40,000 EUR are exactly as much. What is repaid passes at any time, a little more does not.
def test_leverage_bounds_what_is_borrowed_and_repaying_passes() -> None:
    run = hold(
        WORLD,
        {
            2: lambda ctx: (ctx.convert(50_000, "EUR", "USD"), ctx.convert(40_000, "EUR", "USD"),
                            ctx.convert(1, "EUR", "USD"), ctx.convert(1, "USD", "EUR")),
        },
        limits=RiskLimits(max_leverage=1.5),
    )  # fmt: skip
    assert denials(run) == [
        ("buying_power", 62_500, 50_000, "USD borrowed"),
        ("buying_power", 50_001.25, 50_000, "USD borrowed"),
    ]
    assert cash(run) == {"USD": 149_999, "EUR": Decimal("-39999.2"), "JPY": 0}
    assert run.equity() == 98_000 * E8 + 4_000_000  # 149,999 - 39,999.2 x 1.3


def test_the_kill_switch_lets_pass_what_brings_foreign_cash_nearer_to_zero() -> None:
    strategy = at_rows(
        {
            1: lambda ctx: ctx.convert(12_000, "USD", "EUR"),
            3: lambda ctx: (ctx.convert(1_300, "USD", "EUR"), ctx.convert(1_000, "EUR", "JPY"),
                            ctx.convert(4_000, "EUR", "USD")),
        },
        instrument=SAP,
    )  # fmt: skip
    terms = msgspec.structs.replace(make_terms(WORLD), conversion_e8=0, holds_currencies=True)
    killed = run_session(
        WORLD, strategy, terms=terms, limits=RiskLimits(), capital=100_000,
        controls=[(opens(2) + 1, KillSwitchSet(active=True, reason="test"))],
    )  # fmt: skip
    assert denials(killed) == [
        ("kill_switch", 14_300, 13_000, "USD in other currencies"),
        ("kill_switch", 13_000, 13_000, "USD in other currencies"),
    ]
    assert cash(killed) == {"USD": 93_200, "EUR": 6_000, "JPY": 0}


def test_bad_conversions_are_denied_with_their_numbers() -> None:
    late = make_world((EURO, flat(1.25, 1.25)), start=opens(2))
    share = make_world((EURO_SHARE, flat(*[100] * 4)))
    world = build_timeline(
        [(EURO, late.columns), (EURO_SHARE, share.columns)], source="test", timeframe="1m"
    )
    ask = {
        0: lambda ctx: ctx.convert(1, "USD", "EUR"),
        3: lambda ctx: (ctx.convert(1, "USD", "GBP"), ctx.convert(0.00000001, "USD", "EUR")),
    }
    assert denials(hold(world, ask)) == [
        ("no_rate", 0, 1, "bars of EURUSD.FX"),
        ("no_currency", 0, 1, "held cash in GBP"),
        ("zero_quantity", 0, 1, "1e-8 of the currency"),
    ]
    alone = run_session(share, at_rows(ask, instrument=SAP), currency="EUR")
    assert [each[3] for each in denials(alone)] == ["held cash in USD"] * 3
    at_once = msgspec.structs.replace(make_terms(world), conversion_e8=0)
    run = run_session(world, at_rows(ask, instrument=SAP), terms=at_once)
    assert [each[0] for each in denials(run)] == ["no_currency"] * 3
    ctx = make_context(around=FakeSurroundings(foreign_minor={"EUR": 5 * E8}))
    assert ctx.cash_in("EUR") == 5
    with pytest.raises(StrategyError, match="is not positive"):
        ctx.convert(0, "USD", "EUR")
    with pytest.raises(StrategyError, match="converts EUR into EUR"):
        ctx.convert(1, "EUR", "EUR")


# 10,000 EUR are borrowed for shares at 4.5% of 360: 1.25 EUR a night. The dollars bear 3.6%:
# 10 a night on 100,000. The dividend of 2 a share stays in euros.
def test_borrowed_currencies_pay_their_own_rate_and_income_stays_where_it_is() -> None:
    days = make_world(
        (EURO, flat(*[1.25] * 4)), (EURO_SHARE, flat(*[100] * 4)), step=NS_PER_DAY, session=1
    )
    model = CarryingModel(
        margin_interest_pct=Decimal(7), margin_interest_pct_of={"EUR": Decimal("4.5")},
        credit_interest_pct=Decimal("3.6"), credit_interest_pct_of={"EUR": Decimal(1)},
    )  # fmt: skip
    dividend = make_action(CorporateActionKind.CASH_DIVIDEND, opens(0) + 3 * NS_PER_DAY, 2,
                           instrument=SAP)  # fmt: skip
    run = hold(
        with_actions(days, [dividend]), {0: lambda ctx: ctx.buy(SAP, 100)},
        limits=RiskLimits(max_leverage=2), carrying=build_carrying(model, days.instruments),
    )  # fmt: skip
    assert [each for each in postings(run) if each[3] == "EUR"] == [
        ("margin_interest", "", "-1.25", "EUR"), ("margin_interest", "", "-1.25015625", "EUR")
    ]  # fmt: skip
    assert next(each[2] for each in postings(run) if each[3] == "USD") == "10"
    assert cash(run)["EUR"] == Decimal("-10000") - Decimal("2.50015625") + 200


# Shares for 10,000 EUR are sold on the second day, T+1: until the third ends they buy nothing and
# are not converted.
def test_proceeds_settle_in_their_own_currency() -> None:
    days = make_world(
        (EURO, flat(*[1.25] * 5)), (EURO_SHARE, flat(*[100] * 5)), step=NS_PER_DAY, session=1
    )

    def ask(ctx: Context) -> None:
        ctx.buy(SAP, 1)
        ctx.convert(1, "EUR", "USD")

    run = hold(
        days,
        {0: lambda ctx: (ctx.convert(12_500, "USD", "EUR"), ctx.buy(SAP, 100)),
         1: lambda ctx: ctx.sell(SAP, 100), 2: ask, 3: ask},
        settlement_days=1,
    )  # fmt: skip
    assert [(e.amount / E8, e.currency, e.unsettled / E8) for e in run.of_type(CashSettling)] == [
        (10_000, "EUR", 10_000), (-10_000, "EUR", 0)
    ]  # fmt: skip
    assert denials(run) == [
        ("buying_power", 100, 0, "EUR cash"), ("buying_power", 1, 0, "EUR cash")
    ]  # fmt: skip
    assert cash(run) == {"USD": Decimal("87501.25"), "EUR": 9_899}


# 10,000 EUR come at 1.2. On the second day they are at 1.25, then at 1.3: 500 USD each.
def test_a_statement_tells_what_the_rate_made_of_held_cash() -> None:
    days = make_world(
        (EURO, flat(1.2, 1.25, 1.3)), (EURO_SHARE, flat(*[100] * 3)), step=NS_PER_DAY, session=1
    )
    run = hold(days, {0: lambda ctx: ctx.convert(12_000, "USD", "EUR"),
                      2: lambda ctx: ctx.convert(1_000, "EUR", "USD")})  # fmt: skip
    entries, marks = list(read_journal(run.events)), Marks(days)
    found = [
        (each.translation.opening, each.translation.moved, each.translation.revaluation,
         each.translation.closing, each.translation.equity)
        for day in days_of(entries, marks)
        for each in state_day(entries, marks, day).balances
        if each.translation is not None
    ]  # fmt: skip
    assert [[number / E8 for number in each] for each in found] == [
        [0, 12_000, 0, 12_000, 12_000],
        [12_000, 0, 500, 12_500, 12_500],
        [12_500, -1_300, 500, 11_700, 11_700],
    ]


def test_what_is_not_carried_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="it asks for none"):
        Currencies.model_validate({"minimum": 2})
    spec = StrategySpec(name="s0", strategy=BuyAndHold(), capital=10**12)
    terms = msgspec.structs.replace(make_terms(WORLD), conversion_e8=0, holds_currencies=True)
    with pytest.raises(ConfigError, match="several currencies, which the compiled host"):
        CompiledHost(WORLD, spec, terms, RiskLimits())
    model = CarryingModel(margin_interest_pct_of={"GBP": Decimal(1)})
    with pytest.raises(ConfigError, match="a rate of GBP"):
        build_carrying(model, WORLD.instruments)


# Two strategies with 100,000 each. The first holds 100 at 110 EUR, 13,750 USD at 1.25, and has a
# buy of 20 open; the second wants 100 for 13,750: with 2,750 more that is 15.125 % of 200,000.
@pytest.mark.parametrize(("limit", "refused"), [(15.2, 0), (15.1, 1)])
def test_exposure_of_the_account_is_added_up_in_the_currency_of_the_books(
    limit: float, refused: int
) -> None:
    first = at_rows(
        {1: lambda ctx: ctx.buy(SAP, 100), 2: lambda ctx: ctx.buy(SAP, 20, limit=1)},
        instrument=SAP,
    )  # fmt: skip
    second = at_rows({2: lambda ctx: ctx.buy(SAP, 100)}, instrument=SAP)
    terms = msgspec.structs.replace(make_terms(WORLD), conversion_e8=0)
    account = AccountLimits(max_gross_exposure_pct=limit)
    run = run_session(WORLD, first, second, limits=RiskLimits(account=account), terms=terms)
    assert [(e.code.value, e.actual, e.unit) for e in run.of_type(OrderDenied)] == [
        ("account_gross_exposure", 30_250, "USD")
    ] * refused


def test_losses_of_an_account_in_several_currencies_are_refused_by_name() -> None:
    limits = RiskLimits(account=AccountLimits(max_drawdown_pct=5))
    with pytest.raises(ConfigError, match="losses of the account are watched in one"):
        hold(WORLD, {}, limits=limits)
