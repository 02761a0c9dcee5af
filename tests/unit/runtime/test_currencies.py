"""A strategy that trades in other currencies than its own, by hand."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from onetape.domain.errors import ConfigError
from onetape.domain.events import CashPosted, OrderDenied
from onetape.domain.market import CorporateActionKind
from onetape.domain.numbers import minor_to_decimal
from onetape.domain.timestamps import NS_PER_DAY
from onetape.execution.simulated.carrying import CarryingModel, build_carrying
from onetape.execution.simulated.fees import BpsFees
from onetape.research.run_summary import summarize_run
from onetape.risk.limits import RiskLimits
from onetape.runtime.compiled.host import CompiledHost
from onetape.runtime.sessions.backtest import StrategySpec
from onetape.strategy.context import Context
from onetape.strategy.library.buy_and_hold import BuyAndHold
from tests.support.actions import make_action, with_actions
from tests.support.currencies import (
    EURO,
    EURO_SHARE,
    EURUSD,
    SAP,
    SONY,
    USDJPY,
    YEN,
    YEN_SHARE,
    make_world,
    run_currencies,
)  # fmt: skip
from tests.support.session_runs import SessionRun, make_terms, run_session
from tests.support.timelines import at_rows, flat, opens


def minor(text: str) -> int:
    return int(Decimal(text) * 10**8)


def conversions(run: SessionRun) -> list[tuple[str, str, str]]:
    return [
        (each.instrument, f"{minor_to_decimal(each.amount).normalize():f}", each.currency)
        for each in run.of_type(CashPosted)
    ]


def buy_both(ctx: Context) -> None:
    ctx.buy(SAP, 100)
    ctx.buy(SONY, 300)


# row      0    1    2     3    4
WORLD = make_world(
    (EURO, flat(1.1, 1.2, 1.25, 1.3, 1.3)), (YEN, flat(150, 150, 160, 120, 120)),
    (EURO_SHARE, flat(100, 100, 110, 110, 110)), (YEN_SHARE, flat(*[1000] * 5)),
)  # fmt: skip


def test_fill_is_paid_in_the_currency_of_the_books_at_the_mark_and_its_spread() -> None:
    """11,000 EUR at 1.25 are 13,750 USD and 2 bps of it 2.75; 300,000 JPY at 160 are 1,875 + 0.375.

    Half of the shares sold at 110 bring 5,500 EUR, at 1.30 7,150 USD less 1.43.
    """
    strategy = at_rows({1: buy_both, 3: lambda ctx: ctx.sell(SAP, 50)}, instrument=SAP)
    run = run_currencies(WORLD, strategy, spread_bps="2")
    assert conversions(run) == [
        (EURUSD, "11000", "EUR"), (EURUSD, "-13752.75", "USD"),
        (USDJPY, "300000", "JPY"), (USDJPY, "-1875.375", "USD"),
        (EURUSD, "-5500", "EUR"), (EURUSD, "7148.57", "USD"),
    ]  # fmt: skip
    assert run.of_type(CashPosted)[1].reason == "at 1.25, 2 bps"
    cash = minor("91520.445")
    assert run.ledger().cash == cash
    # 50 x 110 EUR at 1.30 and 300,000 JPY at 120
    assert run.equity() == cash + minor("7150") + minor("2500")
    summary = summarize_run(WORLD, run.events, digest="")
    assert summary.currency == "USD"
    assert [minor_to_decimal(each) for each in summary.curves.account.equity.tolist()] == [
        Decimal(each) for each in ("100000", "100000", "99996.875", "101171.875", "101170.445")
    ]
    assert summary.account.traded_notional == Decimal("13750") + 1875 + 7150
    assert summary.sum_postings() == {
        "fx_conversion": {
            "EUR": Decimal(5500), "JPY": Decimal(300_000), "USD": Decimal("-8479.555")
        }
    }  # fmt: skip


def test_fee_in_a_foreign_currency_is_converted_with_the_fill() -> None:
    run = run_currencies(
        WORLD, at_rows({1: lambda ctx: ctx.buy(SAP, 100)}, instrument=SAP),
        fees=BpsFees(maker_bps=Decimal(10), taker_bps=Decimal(10)),
    )  # fmt: skip
    assert conversions(run)[1] == (EURUSD, "-13763.75", "USD")  # 11,011 EUR
    summary = summarize_run(WORLD, run.events, digest="")
    assert summary.account.fees == Decimal("13.75")


def test_order_before_the_first_rate_is_denied_with_its_numbers() -> None:
    late = make_world((EURO, flat(1.25, 1.25)), start=opens(2))
    timeline = make_world((EURO_SHARE, flat(*[100] * 4)))
    from onetape.marketdata.timeline import build_timeline

    both = build_timeline(
        [(EURO, late.columns), (EURO_SHARE, timeline.columns)], source="test", timeframe="1m"
    )
    strategy = at_rows(
        {0: lambda ctx: ctx.buy(SAP, 10), 1: lambda ctx: ctx.target_weight(SAP, 0.5),
         2: lambda ctx: ctx.buy(SAP, 10)},
        instrument=SAP,
    )  # fmt: skip
    run = run_currencies(both, strategy)
    assert [(e.code.value, e.actual, e.limit, e.unit) for e in run.of_type(OrderDenied)] == [
        ("no_rate", 0, 1, "bars of EURUSD.FX")
    ] * 2
    assert len(run.fills) == 1


def test_gates_compare_in_the_currency_of_the_books() -> None:
    """100 shares at 110 EUR are 13,750 USD at 1.25: more than the cash, or a limit of 13,000."""

    def buy(ctx: Context) -> None:
        ctx.buy(SAP, 100)

    poor = run_currencies(WORLD, at_rows({2: buy}, instrument=SAP), capital=13_000)
    (denied,) = poor.denied
    assert (denied.code.value, denied.actual, denied.limit) == ("buying_power", 13_750, 13_000)
    assert denied.unit == "USD"
    spread = run_currencies(WORLD, at_rows({2: buy}, instrument=SAP), capital=13_750,
                            spread_bps="10")  # fmt: skip
    assert [each.actual for each in spread.denied] == [13_763.75]
    limits = RiskLimits(max_order_notional=13_000)
    (denied,) = run_currencies(WORLD, at_rows({2: buy}, instrument=SAP), limits=limits).denied
    assert (denied.code.value, denied.actual, denied.limit, denied.unit) == (
        "order_notional", 13_750, 13_000, "USD"
    )  # fmt: skip
    # 300,000 JPY at 160 are 1,875 USD; with 8,000 EUR open that is more than 12% of 100,000
    limits = RiskLimits(max_gross_exposure_pct=12)
    strategy = at_rows({2: lambda ctx: (ctx.buy(SAP, 80), ctx.buy(SONY, 300))}, instrument=SONY)
    (denied,) = run_currencies(WORLD, strategy, limits=limits).denied
    assert (denied.code.value, denied.instrument, denied.actual) == (
        "gross_exposure", SONY, 12_875
    )  # fmt: skip


def test_weights_and_money_at_the_fill_are_sized_in_the_currency_of_the_books() -> None:
    """11% of 100,000 USD are 8,800 EUR at 1.25: 80 shares at 110.

    Sized at the fill, 50% are 50,000 USD at 1.30, which is known by then: 349 shares at 110 EUR.
    """
    run = run_currencies(WORLD, at_rows({2: lambda ctx: ctx.target_weight(SAP, 0.11)},
                                        instrument=SAP))  # fmt: skip
    assert [each.lots for each in run.fills] == [80]
    run = run_currencies(WORLD, at_rows({2: lambda ctx: ctx.spend_ratio(SAP, 0.5)},
                                        instrument=SAP))  # fmt: skip
    assert [each.lots for each in run.fills] == [349]


def test_loss_of_a_rate_counts_toward_drawdown() -> None:
    """8,800 EUR held: from 1.30 to 0.90 they lose 3.5% of the peak without a trade."""
    world = make_world(
        (EURO, flat(1.3, 1.3, 1.3, 0.9, 0.9)), (EURO_SHARE, flat(*[110] * 5)),
    )  # fmt: skip
    strategy = at_rows({0: lambda ctx: ctx.buy(SAP, 80), 3: lambda ctx: ctx.buy(SAP, 1)},
                       instrument=SAP)  # fmt: skip
    (denied,) = run_currencies(world, strategy, limits=RiskLimits(max_drawdown_pct=3)).denied
    assert denied.code.value == "drawdown"
    assert run_currencies(world, strategy, limits=RiskLimits(max_drawdown_pct=4)).denied == []


def test_dividend_and_borrow_fee_in_a_foreign_currency_are_converted() -> None:
    dividend = make_action(CorporateActionKind.CASH_DIVIDEND, opens(3), 2, instrument=SAP)
    run = run_currencies(
        with_actions(WORLD, [dividend]),
        at_rows({1: lambda ctx: ctx.buy(SAP, 100)}, instrument=SAP),
    )  # fmt: skip
    # At the open of row 3 the newest rate is 1.25.
    assert conversions(run)[2:] == [(EURUSD, "-200", "EUR"), (EURUSD, "250", "USD")]

    days = make_world(
        (EURO, flat(*[1.25] * 4)), (EURO_SHARE, flat(*[100] * 4)), step=NS_PER_DAY, session=1
    )
    model = CarryingModel(borrow_pct=Decimal("3.6"))
    terms = msgspec.structs.replace(
        make_terms(days), conversion_e8=0, carrying=build_carrying(model, days.instruments)
    )
    strategy = at_rows({0: lambda ctx: ctx.sell(SAP, 10)}, instrument=SAP)
    run = run_session(days, strategy, terms=terms)
    # 1,000 EUR short cost 0.1 EUR a night.
    assert conversions(run)[2:5] == [
        (SAP, "-0.1", "EUR"), (EURUSD, "0.1", "EUR"), (EURUSD, "-0.125", "USD")
    ]  # fmt: skip


def test_session_without_pair_or_without_leave_is_refused() -> None:
    strategy = at_rows({})
    share = make_world((EURO_SHARE, flat(100, 100)))
    with pytest.raises(ConfigError, match="is a rate between USD and EUR"):
        run_currencies(share, strategy)
    with pytest.raises(ConfigError, match=r"SAP.XETR is quoted in EUR.* or have execution\.curr"):
        run_session(WORLD, strategy, instruments=[(SAP,)])


def test_compiled_host_refuses_several_currencies() -> None:
    spec = StrategySpec(name="s0", strategy=BuyAndHold(), capital=10**12)
    terms = msgspec.structs.replace(make_terms(WORLD), conversion_e8=0)
    with pytest.raises(ConfigError, match="several currencies, which the compiled host"):
        CompiledHost(WORLD, spec, terms, RiskLimits())
