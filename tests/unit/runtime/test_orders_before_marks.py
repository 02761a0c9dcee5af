"""Limit orders in what has no bar yet count at their own price."""

from __future__ import annotations

import msgspec
import pytest

from onetape.domain.events import OrderDenied
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.market import Bar
from onetape.domain.numbers import E8
from onetape.domain.orders import DenialCode
from onetape.marketdata.timeline import Timeline, build_timeline
from onetape.risk.limits import AccountLimits, RiskLimits
from onetape.runtime.compiled.host import CompiledHost
from onetape.runtime.sessions.backtest import StrategySpec
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, param, state
from onetape.tape.reader import MemoryTapeReader
from onetape.tape.repeated import RepeatedTape
from onetape.tape.store import MemoryTape
from tests.support.contracts import INVERSE, LINEAR, make_margin
from tests.support.session_runs import make_terms, run_session
from tests.support.timelines import EQUITY, OTHER, at_rows, flat, make_columns


def make_worlds(first: Instrument, second: Instrument, price: float) -> Timeline:
    """Six bars of one instrument; the other has none before the fourth."""
    columns = make_columns(flat(*[price] * 6))
    late = {name: column[3:] for name, column in columns.items()}
    return build_timeline([(first, columns), (second, late)], source="test", timeframe="1m")


def other_of(instrument: Instrument) -> Instrument:
    return msgspec.structs.replace(instrument, id=InstrumentId(f"OTHER-{instrument.id}"))


@pytest.mark.parametrize(
    ("first", "early", "later", "capital", "currency"),
    [
        # a tenth of the notional: 20,000 and 80,000 or 90,000 of 100,000 dollars
        (LINEAR, 10, (40, 45), 100_000, "USD"),
        # 100 dollars each: a tenth of 20 and of 80 or 90 bitcoin, of 10
        (INVERSE, 4_000, (16_000, 18_000), 10, "BTC"),
    ],
    ids=["linear", "inverse"],
)
def test_order_without_a_mark_needs_its_margin(
    first: Instrument, early: float, later: tuple[float, float], capital: float, currency: str
) -> None:
    second = other_of(first)
    timeline = make_worlds(first, second, 20_000.0)
    for quantity, denied in zip(later, ([], [DenialCode.BUYING_POWER]), strict=True):

        def enter(ctx: Context) -> None:
            ctx.buy(second.id, early, limit=20_000.0)

        def more(ctx: Context, quantity: float = quantity) -> None:
            ctx.buy(first.id, quantity)

        run = run_session(
            timeline, at_rows({0: enter, 1: more}, instrument=first.id), capital=capital,
            currency=currency, margin=make_margin(timeline), limits=RiskLimits(max_leverage=100),
        )  # fmt: skip
        assert run.quarantined == []
        assert [each.code for each in run.denied] == denied


def test_order_of_another_strategy_without_a_mark_counts_in_the_account() -> None:
    """Contracts of 100 dollars: 10 bitcoin wait in s0, s1 asks for 20, the account has 4."""
    second = other_of(INVERSE)
    timeline = make_worlds(INVERSE, second, 20_000.0)
    for pct, denied in ((750, 0), (749, 1)):
        run = run_session(
            timeline, at_rows({0: lambda ctx: ctx.buy(second.id, 2_000, limit=20_000.0)},
                              instrument=INVERSE.id),
            at_rows({1: lambda ctx: ctx.buy(INVERSE.id, 4_000)}, instrument=INVERSE.id),
            capital=2, currency="BTC", margin=make_margin(timeline, "1", "1"),
            limits=RiskLimits(max_leverage=100, account=AccountLimits(max_gross_exposure_pct=pct)),
        )  # fmt: skip
        assert [each.code for each in run.denied] == [DenialCode.ACCOUNT_GROSS_EXPOSURE] * denied


class EarlyBuyer(Strategy):
    """20 of what has no bar yet, then as many as it is told of what has."""

    quantity: int = param(1, gt=0)
    bars: int = state(0)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        self.bars += 1
        if self.bars == 1:
            ctx.buy(ctx.instruments[1], 20, limit=100.0)
        if self.bars == 2:
            ctx.buy(ctx.instruments[0], self.quantity)


@pytest.mark.parametrize(("quantity", "denied"), [(80, 0), (81, 1)])
def test_order_without_a_mark_counts_in_gross_exposure_in_both_hosts(
    quantity: int, denied: int
) -> None:
    timeline = make_worlds(EQUITY, OTHER, 100.0)
    limits = RiskLimits(max_leverage=4, max_gross_exposure_pct=100)
    strategy = EarlyBuyer(quantity=quantity)
    run = run_session(timeline, strategy, capital=10_000, limits=limits)
    assert [each.code for each in run.denied] == [DenialCode.GROSS_EXPOSURE] * denied
    spec = StrategySpec(name="s0", strategy=strategy, capital=10_000 * E8)
    host, tape = CompiledHost(timeline, spec, make_terms(timeline), limits), MemoryTape()
    host.record(EarlyBuyer(quantity=quantity), lambda: RepeatedTape(tape), run.session.header())
    told = [each.payload for each in MemoryTapeReader(tape).events()]
    assert [each for each in told if isinstance(each, OrderDenied)] == run.denied
