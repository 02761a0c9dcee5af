"""Fills behind the end of an order and fees in lots: desk, fold, projection and journal agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from onetape.domain.events import (
    CapitalDeposited,
    Event,
    OrderAccepted,
    OrderApproved,
    OrderSubmitted,
    Payload,
    PositionOpened,
    PositionSettled,
    SessionStarted,
    StrayFilled,
)
from onetape.domain.instrument import make_spot
from onetape.domain.orders import LiquiditySide, OrderStatus, OrderType, Side, TimeInForce
from onetape.domain.venue import ReportKind
from onetape.execution.venue_reports import BaseFee
from onetape.portfolio.journal import read_journal
from onetape.portfolio.ledger import Ledger
from onetape.runtime.order_desk import OrderDesk
from onetape.runtime.runner import Runner
from onetape.runtime.sessions.recovery import FoldedState
from onetape.runtime.step_log import StepLog
from onetape.telemetry.run_projection import RunProjection
from tests.support.venue_desk import CAPITAL, VenueDesk

BTC = make_spot("BTCUSDT.BINANCE", base="BTC", quote="USDT", tick_size="0.01", lot_size="0.00001")
HEADER = SessionStarted(
    session="x", mode="live", config="", config_hash="", code_version="", strategy_versions={},
    seed=0, datasets=[], instruments=[BTC],
)  # fmt: skip


class Written:
    """A tape in memory."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def append(
        self, first_seq: int, ts: int, market_index: int, events: Sequence[tuple[Payload, int, int]]
    ) -> None:
        for seq, (payload, origin, cause) in enumerate(events, first_seq):
            self.events.append(
                Event(
                    seq=seq, ts_event=ts, ts_ingest=ts, type="", source="", payload=payload,
                    correlation_id=origin, causation_id=cause,
                )
            )  # fmt: skip

    def commit(self) -> None:
        """Nothing waits."""


class BooksOnly:
    """The part of a runner that a report of a venue reaches."""

    exchange = None

    def __init__(self, ledger: Ledger) -> None:
        self.settle = ledger.apply
        self.settle_contract = ledger.settle


def test_stray_fill_and_fee_in_lots_reach_the_books_of_desk_fold_and_report() -> None:
    venue = VenueDesk(BTC)
    order = venue.submit()
    tape = Written()
    log = StepLog(tape)
    runner = cast("Runner", BooksOnly(venue.ledger))
    market: Any = None  # no report of a venue asks for it
    desk = OrderDesk(log, market, venue.oms, [BTC], {}, {"s": runner})
    log.begin(1, -1)
    log.emit(HEADER, 0, 0)
    log.emit(CapitalDeposited("s", "USDT", CAPITAL), 0, 0)
    log.emit(OrderApproved("s", 1, "s-1", Side.BUY, 100), 0, 0)
    submitted = OrderSubmitted(
        "s-1", "s", BTC.id, Side.BUY, OrderType.LIMIT, TimeInForce.GTC, 100, 10_000, 0, 0
    )
    log.emit(submitted, 0, 0)
    log.finish()
    for at, report in enumerate(
        (
            venue.report(ReportKind.ACCEPTED),
            venue.report(ReportKind.CANCELED),
            venue.fill("x", 40, fee_units=1_500),
        ),
        2,
    ):
        log.begin(at, -1)
        cause = log.emit(report, 0, 0)
        for outcome in venue.reports.translate(report, venue.oms.open.get("s-1"), at):
            if isinstance(outcome, BaseFee):
                desk.books.pay_in_lots(outcome, cause)
            else:
                heard = desk.settle(outcome, cause)
                assert heard is runner
        log.finish()

    fill, opened, settled = [each.payload for each in tape.events[-3:]]
    notional = 40 * 10_000 * BTC.minor_per_tick_lot
    assert fill == StrayFilled(
        "s-1", "s", BTC.id, Side.BUY, 40, 10_000, notional, 0, LiquiditySide.TAKER, 0, 4
    )
    assert opened == PositionOpened("s", BTC.id, 40, notional, 0, CAPITAL - notional)
    assert isinstance(settled, PositionSettled)
    assert (settled.traded, settled.lots, settled.cash) == (-2, 38, CAPITAL - notional)
    assert settled.fee == settled.amount == 2 * 10_000 * BTC.minor_per_tick_lot
    assert order.status is OrderStatus.CANCELED

    folded, projection = FoldedState(HEADER), RunProjection(HEADER)
    for event in tape.events:
        folded.apply(event.payload, event.seq, event.correlation_id)
        projection.apply(event)
    assert folded.ledgers["s"].save() == venue.ledger.save()
    assert folded.orders == {}
    state = projection.orders["s-1"]
    assert (state.status, state.filled_lots, state.lots) == (OrderStatus.CANCELED, 40, 100)
    assert [each.lots for _, _, each in projection.fills] == [40]
    assert projection.cash == {("s", "USDT"): venue.ledger.cash}
    entries = list(read_journal(tape.events))
    assert sum(each.changes.get("cash", 0) for each in entries) == venue.ledger.cash
    assert entries[-1].text == "base fee"
    assert isinstance(tape.events[5].payload, OrderAccepted)
    assert venue.ledger.fees == 2 * 10_000 * BTC.minor_per_tick_lot
