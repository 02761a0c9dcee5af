from __future__ import annotations

import pytest

from onetape.domain.errors import DataError
from onetape.domain.events import OrderEvent, OrderFilled
from onetape.domain.market import Bar, TimeSlice
from onetape.domain.numbers import to_minor
from onetape.execution.simulated.fees import PerShareFees
from onetape.features import FeatureMap, Sma
from onetape.research.why_page import render_why
from onetape.risk.limits import RiskLimits
from onetape.runtime.sessions.backtest import BacktestSession, SessionIdentity, StrategySpec
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy
from onetape.tape.reader import MemoryTapeReader
from onetape.tape.store import MemoryTape
from onetape.telemetry.why import Chain, Link, explain, trace_event, trace_order
from tests.support.session_runs import make_terms, run_session
from tests.support.timelines import AAPL, flat, make_timeline


class Plan(Strategy):
    """Buys 10 on the second bar, a far limit on the third that it cancels on the fifth, then too
    much; a fill makes it ask for a protective stop."""

    def features(self) -> FeatureMap:
        return {"mean": Sma(2)}

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        match int(bar.close):
            case 11:
                ctx.buy(bar.instrument, 10)
            case 12:
                ctx.buy(bar.instrument, 7, limit=5.0)
            case 14:
                ctx.cancel(ctx.open_orders()[-1].client_order_id)
            case 15:
                ctx.buy(bar.instrument, 500)
            case _:
                pass

    def on_order_update(self, update: OrderEvent, ctx: Context) -> None:
        if isinstance(update, OrderFilled):
            ctx.sell(AAPL, 10, stop=1.0)


class World:
    def __init__(self) -> None:
        self.timeline = make_timeline(flat(10, 11, 12, 13, 14, 15, 16))
        tape = MemoryTape()
        spec = StrategySpec(name="plan", strategy=Plan(), capital=to_minor(5_000, "capital"))
        terms = make_terms(self.timeline, fees=PerShareFees(rate="0.01", minimum="1"))
        limits = RiskLimits(max_order_quantity=100)
        session = BacktestSession(self.timeline, [spec], terms, limits, tape, SessionIdentity())
        session.run()
        self.prefix = session.session[:8]
        self.features = {"plan": session.runners["plan"].columns}
        self.reader = MemoryTapeReader(tape)
        self.events = list(self.reader.events())

    def order(self, number: int) -> list[Link]:
        chain = trace_order(self.reader.records, f"{self.prefix}-plan-{number}")
        return explain(chain, self.timeline, self.features)

    def event(self, seq: int) -> list[Link]:
        chain = trace_event(self.reader.records, seq)
        return explain(chain, self.timeline, self.features)

    def seq(self, event_type: str) -> int:
        return next(each.seq for each in self.events if each.type == event_type)


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def test_chain_of_an_order_runs_from_the_bar_to_the_books_and_what_it_led_to(world: World) -> None:
    links = world.order(1)
    assert [each.kind for each in links] == [
        "market", "features", "intent.order", "risk.approved", "order.submitted",
        "order.accepted", "market", "order.filled", "position.opened", "intent.order",
    ]  # fmt: skip
    text = [each.text for each in links]
    assert "close 11.0" in text[0]
    assert text[1] == "plan knows mean 10.5"
    assert text[2] == "plan asks: BUY 10 AAPL.XNAS market GTC"
    assert "close 12.0" in text[6]
    assert text[7] == ("BUY 10 AAPL.XNAS at 12.00 as taker, notional 120.00, fee 1.00, 0 left")
    assert text[8] == ("plan holds 10 AAPL.XNAS, cost 120.00, realized 0.00, cash 4,879.00")
    assert text[9] == "plan asks: SELL 10 AAPL.XNAS stop stop 1.00 GTC"
    assert [each.row for each in links if each.row >= 0] == [1, 2]


def test_chain_of_an_order_that_a_fill_led_to_begins_with_that_fill(world: World) -> None:
    kinds = [each.kind for each in world.order(2)]
    assert kinds == [
        "market", "order.filled", "intent.order", "risk.approved", "order.submitted",
        "order.accepted",
    ]  # fmt: skip


def test_chain_of_a_canceled_order_holds_the_cancel_and_its_bar(world: World) -> None:
    links = world.order(3)
    kinds = [each.kind for each in links]
    assert kinds[:6] == [
        "market", "features", "intent.order", "risk.approved", "order.submitted", "order.accepted",
    ]  # fmt: skip
    assert kinds[6:] == [
        "market", "features", "intent.cancel", "order.cancel_pending", "order.canceled"
    ]  # fmt: skip
    assert "limit 5.00" in links[2].text


def test_chain_of_a_denial_has_the_numbers_of_the_gate(world: World) -> None:
    links = world.event(world.seq("risk.denied"))
    kinds = [each.kind for each in links]
    assert kinds == ["market", "features", "intent.order", "risk.denied"]
    assert "order_quantity, 500 against a limit of 100" in links[-1].text
    assert world.event(links[2].seq) == links


@pytest.mark.parametrize("event_type", ["intent.order", "order.filled", "position.opened"])
def test_every_event_of_an_order_gives_the_chain_of_the_order(
    world: World, event_type: str
) -> None:
    assert world.event(world.seq(event_type)) == world.order(1)


def test_chain_of_a_pinned_bar_is_what_it_caused_or_that_it_caused_nothing(world: World) -> None:
    bar = world.seq("order.filled") - 1
    links = world.event(bar)
    assert links[0].text.startswith("bar AAPL.XNAS")
    assert links[0].row == 2
    assert [each.kind for each in links[:3]] == ["market", "order.filled", "position.opened"]
    quiet = world.event(world.seq("account.deposited") + 1)
    assert [(each.row, each.seq) for each in quiet] == [(0, 2), (-1, 2)]
    assert quiet[1].text == "nothing on the tape follows"


def test_chain_of_a_decision_on_a_slice_shows_the_bar_of_the_orders_instrument() -> None:
    class Slices(Strategy):
        def features(self) -> FeatureMap:
            return {"mean": Sma(1)}

        def on_slice(self, slice_: TimeSlice, ctx: Context) -> None:
            if len(ctx.open_orders()) == 0 and ctx.position(AAPL) == 0:
                ctx.buy(AAPL, 3)

    timeline = make_timeline(flat(10, 11, 12), flat(70, 71, 72))
    found = run_session(timeline, Slices())
    runner = found.session.runners["s0"]
    intent = next(each for each in found.events if each.type == "intent.order")
    chain = Chain(events=(intent,), rows={intent.causation_id: 1})
    links = explain(chain, timeline, {"s0": runner.columns})
    assert "bar AAPL.XNAS" in links[0].text
    assert (links[0].row, links[1].text) == (0, "s0 knows mean 10.0")


def test_every_seq_of_a_session_has_a_chain(world: World) -> None:
    for seq in range(world.events[-1].seq + 1):
        assert world.event(seq)[-1].seq >= 0


def test_unknown_subjects_are_told_with_the_nearest(world: World) -> None:
    with pytest.raises(DataError, match=f"did you mean '{world.prefix}-plan-1'"):
        world.order(11)
    last = world.events[-1].seq
    with pytest.raises(DataError, match=f"the tape ends with event {last}"):
        world.event(last + 1)


def test_page_shows_every_link_and_asks_for_nothing_from_elsewhere(world: World) -> None:
    chain = trace_order(world.reader.records, f"{world.prefix}-plan-1")
    links = world.order(1)
    page = render_why(chain, links, world.timeline)
    for link in links:
        assert link.text in page
    assert page.count("<circle") == len({each.ts for each in links})
    assert "http" not in page
    assert "<script" not in page
