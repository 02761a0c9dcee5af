"""Closing positions at a venue without reduce-only: nothing may take a position beyond flat.

Every report here is given by hand, in the order in which a venue could say it.
"""

from __future__ import annotations

import msgspec

from onetape.domain.events import (
    OrderCancelPending,
    OrderDenied,
    OrderSubmitted,
    VenueCommand,
)
from onetape.domain.instrument import make_equity
from onetape.domain.market import Bar
from onetape.domain.numbers import E8
from onetape.domain.orders import DenialCode, OrderType, TimeInForce
from onetape.domain.venue import (
    BarClosed,
    OperatorAction,
    OperatorCommand,
    ReportKind,
    VenueBalance,
    VenueOrder,
    VenuePosition,
    VenueReport,
    VenueSnapshot,
)
from onetape.execution.gateway import Capabilities
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
from onetape.tape.store import MemoryTape

STOCK = make_equity("A.FAKE", calendar="24/7")
MINUTE = 60_000_000_000
T0 = 28_500_000 * MINUTE
CAPITAL = 1_000_000 * E8
TICKS = 10_000


class Rests(Strategy):
    """Buys ten, then rests a limit order to sell six of them."""

    bars: int = state(0)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        self.bars += 1
        if self.bars == 1:
            ctx.buy(bar.instrument, 10)
        elif self.bars == 2:
            ctx.sell(bar.instrument, 6, limit=110.0)


class SellsTwice(Strategy):
    """Buys ten, then asks twice to sell at most what it holds."""

    bars: int = state(0)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        self.bars += 1
        if self.bars == 1:
            ctx.buy(bar.instrument, 10)
        elif self.bars == 2:
            ctx.sell(bar.instrument, 8, limit=110.0, reduce_only=True)
            ctx.sell(bar.instrument, 3, limit=111.0, reduce_only=True)
            ctx.sell(bar.instrument, 2, limit=112.0, reduce_only=True)


CAN = Capabilities(
    order_types=frozenset({OrderType.MARKET, OrderType.LIMIT}),
    times_in_force=frozenset(TimeInForce),
    can_short=True,
)


class Venue:
    """A session, and what a test says to it; `sent` are the commands that left since asked last."""

    can = CAN
    limits = RiskLimits()

    def __init__(self, strategy: Strategy) -> None:
        self.tape = MemoryTape()
        self.session = self.open(strategy)
        self.ts = T0
        self.session.start(self.ts)
        self.lots = 0
        self.cash = CAPITAL
        self.look()

    def open(self, strategy: Strategy) -> RealtimeSession:
        fees = {STOCK.id: build_fee_schedule(NoFees(), STOCK)}
        return RealtimeSession(
            (STOCK,), "1m", "fake", [StrategySpec(name="s", strategy=strategy, capital=CAPITAL)],
            VenueTerms(fees=fees, slippage=SlippageTerms(), limit_reach=0.0,
                       latency=build_latency(LatencyModel(), 0), capabilities=self.can),
            self.limits, self.tape, RealtimeIdentity(mode="live"),
            RealtimePolicy(is_simulated=False),
        )  # fmt: skip

    def now(self) -> int:
        self.ts += 1_000_000
        return self.ts

    def bar(self, price: float = 100.0) -> list[VenueCommand]:
        """The next minute at one price; returns what left for the venue."""
        close = (self.ts // MINUTE + 1) * MINUTE
        self.ts = close
        self.session.take_rows(
            [BarClosed(STOCK.id, close - MINUTE, close, self.now(), 0, price, price, price, price,
                       1.0)]
        )  # fmt: skip
        return self.sent()

    def sent(self) -> list[VenueCommand]:
        return self.session.outbox.take()

    def hear(
        self, kind: ReportKind, order: OrderSubmitted, lots: int = 0, filled: int = -1
    ) -> list[VenueCommand]:
        """One report; a fill of `lots`."""
        name = order.client_order_id
        report = VenueReport(
            kind=kind, client_order_id=name, instrument=STOCK.id, side=order.side,
            venue_order_id=f"v-{name}", ts_venue=self.ts, filled_lots=filled,
        )  # fmt: skip
        if kind is ReportKind.FILLED:
            self.lots += order.side * lots
            self.cash -= order.side * lots * TICKS * STOCK.minor_per_tick_lot
            report = msgspec.structs.replace(
                report, execution_id=f"x-{name}-{filled}", lots=lots, ticks=TICKS
            )
        self.session.take(report, self.now())
        return self.sent()

    def look(self, *orders: VenueOrder) -> list[VenueCommand]:
        """The venue's books."""
        self.session.take(
            VenueSnapshot(
                name="FAKE", reason="test", ts_venue=self.ts, reports=[], orders=list(orders),
                positions=[VenuePosition(instrument=STOCK.id, lots=self.lots)] if self.lots else [],
                balances=[VenueBalance(currency="USD", amount=self.cash)],
            ),
            self.now(),
        )  # fmt: skip
        return self.sent()

    def ask(self, action: OperatorAction) -> list[VenueCommand]:
        self.session.take(OperatorCommand(action, "", "test"), self.now())
        return self.sent()

    def begin(self) -> OrderSubmitted:
        """Ten are held, and a limit order to sell six rests; returns that order."""
        (bought,) = self.bar()
        assert isinstance(bought, OrderSubmitted)
        self.hear(ReportKind.ACCEPTED, bought)
        self.hear(ReportKind.FILLED, bought, lots=10, filled=10)
        rests = self.bar()[0]
        assert isinstance(rests, OrderSubmitted)
        self.hear(ReportKind.ACCEPTED, rests)
        return rests

    @property
    def held(self) -> int:
        return self.session.desk.position_lots("s", STOCK.id)


def test_flatten_waits_for_a_cancel_that_a_fill_may_cross() -> None:
    venue = Venue(Rests())
    rests = venue.begin()
    (cancel,) = venue.ask(OperatorAction.FLATTEN)
    assert isinstance(cancel, OrderCancelPending)  # and no closing order yet
    assert not venue.hear(ReportKind.FILLED, rests, lots=4, filled=4)  # it crossed the cancel
    (closing,) = venue.hear(ReportKind.CANCELED, rests, filled=4)
    assert isinstance(closing, OrderSubmitted)
    assert (closing.side, closing.lots, closing.order_type) == (-1, 6, OrderType.MARKET)
    venue.hear(ReportKind.ACCEPTED, closing)
    assert not venue.hear(ReportKind.FILLED, closing, lots=6, filled=6)
    assert venue.held == 0
    assert not venue.look()


def test_flatten_that_an_exit_has_done_sends_nothing() -> None:
    venue = Venue(Rests())
    rests = venue.begin()
    venue.ask(OperatorAction.FLATTEN)
    (closing,) = venue.hear(ReportKind.FILLED, rests, lots=6, filled=6)
    assert isinstance(closing, OrderSubmitted)
    assert closing.lots == 4


def test_closing_order_that_is_refused_is_sent_again_behind_the_next_look() -> None:
    """Not at once: a venue that refuses it would be asked without end."""
    venue = Venue(Rests())
    rests = venue.begin()
    venue.ask(OperatorAction.FLATTEN)
    (closing,) = venue.hear(ReportKind.CANCELED, rests, filled=0)
    assert isinstance(closing, OrderSubmitted)
    assert not venue.hear(ReportKind.REJECTED, closing)
    (again,) = venue.look()
    assert isinstance(again, OrderSubmitted)
    assert again.client_order_id != closing.client_order_id
    assert again.lots == 10


def test_resume_ends_a_flatten() -> None:
    venue = Venue(Rests())
    rests = venue.begin()
    venue.ask(OperatorAction.FLATTEN)
    venue.ask(OperatorAction.RESUME)
    assert not venue.hear(ReportKind.CANCELED, rests, filled=0)
    assert not venue.look()


def test_flatten_goes_on_where_a_snapshot_was_saved() -> None:
    venue = Venue(Rests())
    rests = venue.begin()
    venue.ask(OperatorAction.FLATTEN)
    saved = encode_realtime(venue.session.save())
    venue.session = venue.open(Rests())
    venue.session.restore(decode_realtime(saved))
    (closing,) = venue.hear(ReportKind.CANCELED, rests, filled=0)
    assert isinstance(closing, OrderSubmitted)
    assert closing.lots == 10


def test_reduce_only_orders_share_what_is_held() -> None:
    """Ten are held: eight and three can't both be sold, eight and two can."""
    venue = Venue(SellsTwice())
    (bought,) = venue.bar()
    assert isinstance(bought, OrderSubmitted)
    venue.hear(ReportKind.ACCEPTED, bought)
    venue.hear(ReportKind.FILLED, bought, lots=10, filled=10)
    sold = venue.bar()
    assert [each.lots for each in sold if isinstance(each, OrderSubmitted)] == [8, 2]
    venue.tape.commit()
    (denied,) = [each.payload for each in MemoryTapeReader(venue.tape).events()
                 if isinstance(each.payload, OrderDenied)]  # fmt: skip
    assert (denied.code, denied.actual, denied.limit) == (DenialCode.REDUCE_ONLY, 3, 2)
