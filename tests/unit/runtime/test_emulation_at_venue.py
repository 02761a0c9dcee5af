"""Held orders and what a real venue says: cancels that fills cross, no answers, pauses."""

from __future__ import annotations

import msgspec
import pytest

from onetape.domain.events import (
    OrderCanceled,
    OrderCancelPending,
    OrderDenied,
    OrderReplacePending,
    OrderSubmitted,
    VenueCommand,
)
from onetape.domain.market import Bar
from onetape.domain.orders import DenialCode, OrderType, Side
from onetape.domain.venue import (
    ConnectionChanged,
    ConnectionPart,
    OperatorAction,
    ReportKind,
    VenueOrder,
)
from onetape.risk.limits import RiskLimits
from onetape.runtime.sessions.realtime import decode_realtime, encode_realtime
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, param, state
from onetape.tape.reader import MemoryTapeReader
from tests.unit.runtime.test_closing_at_venue import CAN, STOCK, Venue

K = ReportKind


class Bracket(Strategy):
    """One bracket at the first bar."""

    bars: int = state(0)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        self.bars += 1
        if self.bars == 1:
            ctx.bracket(bar.instrument, Side.BUY, 10, take_profit=110.0, stop_loss=95.0)


class Breakout(Strategy):
    """One stop to buy at the first bar."""

    bars: int = state(0)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        self.bars += 1
        if self.bars == 1:
            ctx.buy(bar.instrument, 10, stop=105.0)


class Changes(Strategy):
    """A limit order to buy `first`, changed to `then` at the next bar."""

    first: int = param(16)
    then: int = param(20)
    bars: int = state(0)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        self.bars += 1
        if self.bars == 1:
            ctx.buy(bar.instrument, self.first, limit=90.0)
        elif self.bars == 2:
            order = ctx.open_orders(bar.instrument)[0]
            ctx.replace(order.client_order_id, bar.instrument, quantity=self.then)
        elif self.bars == 3:
            ctx.buy(bar.instrument, 5, limit=90.0)


def only(commands: list[VenueCommand]) -> OrderSubmitted:
    (sent,) = commands
    assert isinstance(sent, OrderSubmitted)
    return sent


def stand(order: OrderSubmitted, filled: int = 0) -> VenueOrder:
    """An order as it is open at the venue."""
    return VenueOrder(
        client_order_id=order.client_order_id, venue_order_id=f"v-{order.client_order_id}",
        instrument=STOCK.id, side=order.side, order_type=order.order_type, lots=order.lots,
        filled_lots=filled, limit_ticks=order.limit_ticks,
    )  # fmt: skip


def begin() -> tuple[Venue, OrderSubmitted]:
    """A venue at which an entry of ten has filled, and the limit of its bracket rests."""
    venue = Venue(Bracket())
    entry = only(venue.bar())
    venue.hear(K.ACCEPTED, entry)
    profit = only(venue.hear(K.FILLED, entry, lots=10, filled=10))
    assert (profit.order_type, profit.lots, profit.conditions) == (OrderType.LIMIT, 10, None)
    venue.hear(K.ACCEPTED, profit)
    return venue, profit


def meet_stop(venue: Venue) -> None:
    """A bar at which the stop is met: the limit is asked back, and nothing else leaves."""
    (cancel,) = venue.bar(94.0)
    assert isinstance(cancel, OrderCancelPending)


def test_stop_leaves_for_what_the_limit_has_left_when_its_cancel_is_through() -> None:
    venue, profit = begin()
    meet_stop(venue)
    assert not venue.hear(K.FILLED, profit, lots=4, filled=4)  # it crossed the cancel
    stop = only(venue.hear(K.CANCELED, profit, filled=4))
    assert (stop.order_type, stop.lots, stop.side) == (OrderType.MARKET, 6, Side.SELL)
    assert stop.conditions is None
    venue.hear(K.ACCEPTED, stop)
    assert not venue.hear(K.FILLED, stop, lots=6, filled=6)
    assert venue.held == 0
    assert not venue.look()


def test_stop_ends_when_the_limit_fills_before_its_cancel() -> None:
    venue, profit = begin()
    meet_stop(venue)
    assert not venue.hear(K.CANCEL_REJECTED, profit)
    assert not venue.hear(K.FILLED, profit, lots=10, filled=10)
    assert venue.held == 0
    assert not venue.session.open_orders


def test_cancel_that_is_refused_is_asked_again_with_the_next_bar() -> None:
    """Not at once: a venue that refuses it would be asked without end."""
    venue, profit = begin()
    meet_stop(venue)
    assert not venue.hear(K.CANCEL_REJECTED, profit)
    meet_stop(venue)
    assert only(venue.hear(K.CANCELED, profit, filled=0)).lots == 10


def test_cancel_without_an_answer_keeps_the_stop_until_the_venue_is_asked() -> None:
    venue, profit = begin()
    meet_stop(venue)
    assert not venue.hear(K.UNANSWERED, profit)
    assert not venue.bar(93.0)
    (cancel,) = venue.look(stand(profit))
    assert isinstance(cancel, OrderCancelPending)
    assert only(venue.hear(K.CANCELED, profit, filled=0)).lots == 10


def test_held_orders_are_no_difference_to_the_books_of_the_venue() -> None:
    venue, profit = begin()
    for _ in range(6):
        assert not venue.look(stand(profit))
    assert venue.session.state_of("s") == "running"
    assert [each.client_order_id for each in venue.session.submitted_orders()] == [
        profit.client_order_id
    ]
    assert venue.session.open_orders == 2


def test_stop_is_held_where_a_snapshot_was_saved() -> None:
    venue, profit = begin()
    meet_stop(venue)
    saved = encode_realtime(venue.session.save())
    venue.session = venue.open(Bracket())
    venue.session.restore(decode_realtime(saved))
    assert encode_realtime(venue.session.save()) == saved
    assert only(venue.hear(K.CANCELED, profit, filled=0)).lots == 10


def test_flatten_does_not_wait_for_orders_that_are_held() -> None:
    venue, profit = begin()
    (cancel,) = venue.ask(OperatorAction.FLATTEN)
    assert isinstance(cancel, OrderCancelPending)
    closing = only(venue.hear(K.CANCELED, profit, filled=0))
    assert (closing.order_type, closing.lots) == (OrderType.MARKET, 10)
    assert venue.session.open_orders == 1


def test_entry_is_kept_back_while_the_session_may_only_reduce() -> None:
    """Met while the venue's books are in doubt, it has to be met again behind the look."""
    venue = Venue(Breakout())
    assert not venue.bar()
    gone = ConnectionChanged(ConnectionPart.VENUE, "FAKE", is_up=True, reason="there again")
    venue.session.take(gone, venue.now())
    assert not venue.bar(106.0)
    assert not venue.look()
    assert not venue.bar(100.0)
    assert only(venue.bar(106.0)).order_type is OrderType.MARKET


class CountsAnew(Venue):
    """A venue that counts a replacement from its own start, and a limit of 30."""

    can = msgspec.structs.replace(CAN, replaces_anew=True)
    limits = RiskLimits(max_position_quantity=30)


@pytest.mark.parametrize(("then", "is_sent"), [(14, True), (15, False), (20, False)])
def test_replacement_that_comes_beside_its_order_counts_with_it(then: int, is_sent: bool) -> None:
    """16 may fill on the way, and 14 beside them: 30."""
    venue = CountsAnew(Changes(first=16, then=then))
    venue.hear(K.ACCEPTED, only(venue.bar()))
    sent = venue.bar()
    assert [type(each) for each in sent] == ([OrderReplacePending] if is_sent else [])
    venue.bar()
    venue.tape.commit()
    denied = [each.payload for each in MemoryTapeReader(venue.tape).events()
              if isinstance(each.payload, OrderDenied)]  # fmt: skip
    # While it is under way nothing else finds room; without it five more do.
    assert [(each.code, each.actual) for each in denied] == [
        (DenialCode.POSITION_QUANTITY, 35.0 if is_sent else 16.0 + then)
    ]


def test_replacement_elsewhere_takes_the_place_of_its_order() -> None:
    class Replaces(CountsAnew):
        can = CAN

    venue = Replaces(Changes(first=16, then=30))
    venue.hear(K.ACCEPTED, only(venue.bar()))
    (command,) = venue.bar()
    assert isinstance(command, OrderReplacePending)


def test_canceled_bracket_says_why() -> None:
    venue, profit = begin()
    venue.hear(K.FILLED, profit, lots=10, filled=10)
    venue.tape.commit()
    reasons = [each.payload.reason for each in MemoryTapeReader(venue.tape).events()
               if isinstance(each.payload, OrderCanceled)]  # fmt: skip
    assert reasons == ["one updates the other"]
