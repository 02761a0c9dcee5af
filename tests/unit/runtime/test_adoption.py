"""A session that adopts orders: who hears of them, what they count for, when none is adopted."""

from __future__ import annotations

from typing import Any

import pytest

from onetape.domain.events import KillSwitchSet, OrderAdopted, OrderDenied, OrderEvent
from onetape.domain.market import Bar
from onetape.domain.orders import DenialCode, OrderType, Side
from onetape.domain.venue import (
    Discrepancy,
    OperatorAction,
    OperatorCommand,
    VenueOrder,
    name_manual,
)
from onetape.execution.reconciliation import OnDifference, ReconciliationPolicy
from onetape.execution.simulated.fees import NoFees, build_fee_schedule
from onetape.execution.simulated.latency import LatencyModel, build_latency
from onetape.execution.simulated.slippage import SlippageTerms
from onetape.execution.simulated.terms import VenueTerms
from onetape.risk.limits import RiskLimits
from onetape.runtime.sessions.backtest import StrategySpec
from onetape.runtime.sessions.realtime import (
    RealtimeIdentity,
    RealtimePolicy,
    RealtimeSession,
    decode_realtime,
    encode_realtime,
)
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, state
from onetape.tape.reader import MemoryTapeReader
from tests.unit.runtime.test_closing_at_venue import CAN, CAPITAL, STOCK, TICKS, Venue

BY_HAND = name_manual("by-hand")


class Watches(Strategy):
    """Wants six at each bar, and raises at the third; counts what it is told."""

    bars: int = state(0)
    adopted: int = state(0)
    denied: int = state(0)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        self.bars += 1
        if self.bars == 4:
            raise ValueError("on purpose")
        if self.bars > 1:
            ctx.buy(bar.instrument, 6)

    def on_order_update(self, update: OrderEvent, ctx: Context) -> None:
        if isinstance(update, OrderAdopted):
            self.adopted += 1
            (order,) = ctx.open_orders(STOCK.id)
            assert (order.client_order_id, order.quantity, order.filled) == (BY_HAND, 10, 2)
        self.denied += isinstance(update, OrderDenied)


class Adopting(Venue):
    limits = RiskLimits(max_position_quantity=12)

    def open(self, strategy: Strategy) -> RealtimeSession:
        return RealtimeSession(
            (STOCK,), "1m", "fake", [StrategySpec(name="s", strategy=strategy, capital=CAPITAL)],
            VenueTerms(fees={STOCK.id: build_fee_schedule(NoFees(), STOCK)},
                       slippage=SlippageTerms(), limit_reach=0.0,
                       latency=build_latency(LatencyModel(), 0), capabilities=CAN),
            self.limits, self.tape, RealtimeIdentity(mode="live"),
            RealtimePolicy(
                is_simulated=False,
                reconciliation=ReconciliationPolicy(
                    foreign_orders=OnDifference.ADOPT, adopt_into={STOCK.id: "s"}
                ),
            ),
        )  # fmt: skip

    def look_twice(self, lots: int = 10) -> None:
        for _ in range(2):
            self.look(
                VenueOrder(
                    client_order_id=BY_HAND, venue_order_id="by-hand", instrument=STOCK.id,
                    side=Side.BUY, order_type=OrderType.LIMIT, lots=lots, filled_lots=2,
                    limit_ticks=TICKS,
                )
            )  # fmt: skip

    def told(self, kind: type[Any]) -> list[Any]:
        self.tape.commit()
        return [
            each.payload for each in MemoryTapeReader(self.tape).events()
            if isinstance(each.payload, kind)
        ]  # fmt: skip


def test_adopted_order_counts_for_risk_and_its_strategy_hears_of_it() -> None:
    strategy = Watches()
    venue = Adopting(strategy)
    venue.bar()
    venue.look_twice()
    assert strategy.adopted == 1
    assert venue.session.open_orders == 1

    assert venue.bar() == []

    assert strategy.denied == 1
    (denied,) = venue.told(OrderDenied)
    assert denied.code is DenialCode.POSITION_QUANTITY
    assert (denied.actual, denied.limit) == (14, 12)  # eight by hand, six by itself
    (adopted,) = venue.told(OrderAdopted)
    assert adopted.breaks is None


def test_order_that_breaks_a_limit_says_it_and_stays() -> None:
    venue = Adopting(Watches())
    venue.bar()
    venue.look_twice(lots=20)
    (adopted,) = venue.told(OrderAdopted)
    assert (adopted.breaks, adopted.actual, adopted.limit) == (DenialCode.POSITION_QUANTITY, 18, 12)
    assert venue.session.open_orders == 1
    assert venue.sent() == []


@pytest.mark.parametrize("by", ["an operator has paused s", "the kill switch is set"])
def test_nothing_is_adopted_while_a_person_has_taken_over(by: str) -> None:
    def take_over(venue: Adopting, *, on: bool) -> None:
        if "kill" in by:
            venue.session.take(KillSwitchSet(active=on, reason="test"), venue.now())
        else:
            action = OperatorAction.PAUSE if on else OperatorAction.RESUME
            venue.session.take(OperatorCommand(action, "", "test"), venue.now())

    venue = Adopting(Watches())
    venue.bar()
    take_over(venue, on=True)
    venue.look_twice()
    assert venue.told(OrderAdopted) == []
    (differs,) = venue.told(Discrepancy)
    assert differs.resolution == f"by-hand is not ours, and not adopted, because {by}"
    assert venue.session.state_of("s") == "paused"

    take_over(venue, on=False)
    venue.look_twice()
    venue.look_twice()

    assert len(venue.told(OrderAdopted)) == 1
    assert venue.session.state_of("s") == "running"


def test_strategy_that_is_out_adopts_nothing_and_one_without_a_price_waits() -> None:
    venue = Adopting(Watches())
    venue.look_twice()
    (differs,) = venue.told(Discrepancy)
    assert differs.resolution.endswith("because it has no price yet")
    for _ in range(4):
        venue.bar()
    venue.look_twice()
    assert venue.told(OrderAdopted) == []
    assert venue.told(Discrepancy)[-1].resolution.endswith("because s is quarantined")


def test_session_that_was_saved_goes_on_with_its_adopted_order() -> None:
    venue = Adopting(Watches())
    venue.bar()
    venue.look_twice()
    saved = encode_realtime(venue.session.save())

    other = venue.open(Watches())
    other.restore(decode_realtime(saved))

    assert encode_realtime(other.save()) == saved
    (order,) = other.submitted_orders()
    assert (order.client_order_id, order.lots) == (BY_HAND, 10)
