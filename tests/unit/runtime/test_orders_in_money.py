"""An order that names money may cost all of it: risk counts that, and not what it buys now."""

from __future__ import annotations

import pytest

from onetape.domain.events import OrderDenied, OrderFilled, OrderShrunk
from onetape.domain.market import Bar
from onetape.domain.numbers import E8
from onetape.domain.orders import DenialCode
from onetape.execution.simulated.fees import BpsFees
from onetape.risk.limits import RiskLimits
from onetape.runtime.compiled.host import CompiledHost
from onetape.runtime.sessions.backtest import StrategySpec
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, param, state
from onetape.tape.reader import MemoryTapeReader
from onetape.tape.repeated import RepeatedTape
from onetape.tape.store import MemoryTape
from tests.support.session_runs import make_terms, run_session
from tests.support.timelines import flat, make_timeline


class Spender(Strategy):
    """Names money, or a share of its equity, several times at the first bar."""

    money: float = param(0.0, ge=0)
    share: float = param(0.0, ge=0)
    times: int = param(2, ge=1)
    bars: int = state(0)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        self.bars += 1
        if self.bars == 1:
            for _ in range(self.times):
                if self.money > 0.0:
                    ctx.spend(bar.instrument, self.money)
                else:
                    ctx.spend_ratio(bar.instrument, self.share)


@pytest.mark.parametrize(
    ("params", "fills", "denied"),
    [
        # 130: a share costs 60 at the decision, so 100 buy one and leave 40; at 50 they buy two
        ({"money": 100.0}, [2], 1),
        ({"money": 65.0}, [1, 1], 0),
        ({"money": 131.0, "times": 1}, [], 1),
        ({"money": 130.0, "times": 1}, [2], 0),
        ({"share": 0.5}, [1, 1], 0),
        ({"share": 0.333, "times": 3}, [], 3),
    ],
)
def test_buys_in_money_never_cost_more_than_the_cash_of_a_cash_account(
    params: dict[str, float], fills: list[int], denied: int
) -> None:
    timeline = make_timeline(flat(60, 50, 50))
    terms, limits = make_terms(timeline), RiskLimits()
    strategy = Spender(**params)
    run = run_session(timeline, strategy, capital=130, terms=terms, limits=limits)
    assert [each.lots for each in run.fills] == fills
    assert len(run.denied) == denied
    assert run.ledger().cash >= 0
    spec = StrategySpec(name="s0", strategy=strategy, capital=130 * E8)
    tape = MemoryTape()
    host = CompiledHost(timeline, spec, terms, limits)
    host.record(Spender(**params), lambda: RepeatedTape(tape), run.session.header())
    told = [each.payload for each in MemoryTapeReader(tape).events()]
    assert [each for each in told if isinstance(each, OrderDenied | OrderFilled)] == run.of_type(
        OrderDenied, OrderFilled
    )


def test_shares_of_the_equity_that_make_the_whole_are_approved() -> None:
    """Seven of a seventh, whatever the rounding of what each binds."""
    timeline = make_timeline(flat(3.33, 3.33, 3.33))
    fees = BpsFees(maker_bps=7, taker_bps=7)
    strategy = Spender(share=0.14285714, times=7)
    run = run_session(timeline, strategy, capital=12_345.67, fees=fees, limits=RiskLimits())
    assert run.denied == []
    assert len(run.fills) == 7
    assert run.ledger().cash >= 0


def test_money_beyond_the_cash_shrinks_to_the_lots_that_it_buys_now() -> None:
    """131 of 130: two at 60 can be paid, and stay two at 50."""
    timeline = make_timeline(flat(60, 50, 50))
    run = run_session(
        timeline, Spender(money=131.0, times=1), capital=130,
        limits=RiskLimits(shrink=("buying_power",)),
    )  # fmt: skip
    (step,) = run.of_type(OrderShrunk)
    assert (step.asked_lots, step.lots) == (2, 2)
    assert [each.lots for each in run.fills] == [2]
    assert run.ledger().cash == 30 * E8


def test_money_beyond_the_largest_order_is_refused_though_it_buys_less_now() -> None:
    timeline = make_timeline(flat(60, 50, 50))
    for limit, codes in ((100, []), (99, [DenialCode.ORDER_NOTIONAL] * 2)):
        run = run_session(
            timeline, Spender(money=100.0), capital=1_000,
            limits=RiskLimits(max_order_notional=limit),
        )  # fmt: skip
        assert [each.code for each in run.denied] == codes
