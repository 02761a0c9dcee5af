"""A cash account may not spend what it has sold for until that has settled."""

from __future__ import annotations

import msgspec
import pytest

from onetape.domain.errors import ConfigError
from onetape.domain.events import CashSettling
from onetape.domain.numbers import E8
from onetape.execution.simulated.terms import VenueTerms
from onetape.risk.limits import RiskLimits
from onetape.runtime.compiled.host import CompiledHost
from onetape.runtime.sessions.backtest import BacktestSession, SessionIdentity, StrategySpec
from onetape.runtime.sessions.recovery import fold_tape
from onetape.runtime.sessions.session_state import decode_state, encode_state
from onetape.strategy.context import Context
from onetape.strategy.library.buy_and_hold import BuyAndHold
from onetape.strategy.sdk import Strategy
from onetape.tape.reader import MemoryTapeReader
from onetape.tape.store import MemoryTape
from tests.support.session_runs import SessionRun, make_terms, run_session
from tests.support.timelines import AAPL, at_rows, closes, flat, make_timeline

WORLD = make_timeline(flat(*[10] * 12), session=2)
"""Six trading days of two bars."""


def settling(days: int) -> VenueTerms:
    return msgspec.structs.replace(make_terms(WORLD), settlement_days=days)


def trade(cash: list[tuple[float, float]]) -> Strategy:
    """Buys for all its cash, sells on day 1 and tries to buy again at every bar from then on."""

    def again(ctx: Context) -> None:
        cash.append((ctx.cash, ctx.settled_cash))
        if not ctx.open_orders() and not ctx.position(AAPL):
            ctx.buy(AAPL, 100)

    return at_rows(
        {0: lambda ctx: ctx.buy(AAPL, 100), 1: lambda ctx: ctx.sell(AAPL, 100)}
        | dict.fromkeys(range(2, 12), again)
    )


def run(days: int, leverage: float | None = None) -> tuple[SessionRun, list[tuple[float, float]]]:
    cash: list[tuple[float, float]] = []
    limits = RiskLimits(max_leverage=leverage)
    return run_session(
        WORLD, trade(cash), capital=1_000, terms=settling(days), limits=limits
    ), cash  # fmt: skip


# Sold at the open of row 2, the first bar of day 1; the days end behind rows 1, 3, 5, 7, ...
BOUGHT_AT = [(0, 3), (1, 5), (2, 7), (3, 9)]


@pytest.mark.parametrize(("days", "row"), BOUGHT_AT)
def test_proceeds_are_spent_when_as_many_days_have_ended(days: int, row: int) -> None:
    """T+1: sold on day 1, decided on the first bar of day 2 (row 4), filled at the next open."""
    outcome, cash = run(days)
    assert [fill.ts_fill for fill in outcome.fills][2:] == [closes(row - 1)]
    waits = row - 3
    assert {(each.code.value, each.actual, each.limit) for each in outcome.denied} == (
        {("buying_power", 1_000, 0)} if waits else set()
    )
    assert len(outcome.denied) == waits
    assert cash[: waits + 1] == [(1_000, 0)] * waits + [(1_000, 1_000)]
    told = outcome.of_type(CashSettling)
    assert [(each.amount, each.unsettled) for each in told] == (
        [(1_000 * E8, 1_000 * E8), (-1_000 * E8, 0)] if days else []
    )


def test_margin_account_does_not_wait() -> None:
    outcome, _ = run(2, leverage=1.5)
    assert outcome.denied == []
    assert [fill.ts_fill for fill in outcome.fills][2:] == [closes(2)]


def test_session_that_settles_in_parts_equals_the_whole_one_and_its_fold() -> None:
    def open_session(tape: MemoryTape) -> BacktestSession:
        def once(ctx: Context) -> None:
            ctx.buy(AAPL, 10)

        def back(ctx: Context) -> None:
            ctx.sell(AAPL, 5)

        strategy = at_rows({0: once, 4: back, 6: back, 8: once, 9: back})
        spec = StrategySpec(name="s0", strategy=strategy, capital=200 * E8)
        return BacktestSession(
            WORLD, [spec], settling(2), RiskLimits(), tape, SessionIdentity()
        )  # fmt: skip

    tape = MemoryTape()
    whole = open_session(tape)
    whole.start()
    unsettled: set[int] = set()
    for _, stop in whole.cut_blocks(1):
        whole.advance(stop)
        tape.commit()
        folded = fold_tape(MemoryTapeReader(tape)).unsettled
        assert folded.get("s0", 0) == whole.runners["s0"].unsettled
        unsettled.add(folded.get("s0", 0))
        kept = whole.save()
        again = open_session(MemoryTape())
        again.restore(decode_state(encode_state(kept)))
        assert again.save() == kept
        assert again.runners["s0"].unsettled == whole.runners["s0"].unsettled
    assert unsettled == {0, 50 * E8, 100 * E8}


def test_compiled_host_refuses_sales_that_settle_later() -> None:
    spec = StrategySpec(name="s0", strategy=BuyAndHold(), capital=10**12)
    with pytest.raises(ConfigError, match="sales that settle later, which the compiled host"):
        CompiledHost(WORLD, spec, settling(1), RiskLimits())
