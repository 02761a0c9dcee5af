"""What an operator hears of a session."""

from __future__ import annotations

import pytest

from onetape.domain.events import (
    KillSwitchSet,
    OrderAccepted,
    OrderDenied,
    OrderFilled,
    Payload,
    PositionAdjusted,
    StrategyQuarantined,
)
from onetape.domain.instrument import InstrumentId, make_equity
from onetape.domain.market import CorporateActionKind
from onetape.domain.numbers import E8
from onetape.domain.orders import DenialCode, LiquiditySide, Side
from onetape.domain.timestamps import from_iso
from onetape.domain.venue import (
    ConnectionChanged,
    ConnectionPart,
    Discrepancy,
    DiscrepancyKind,
    OperatorAction,
    OperatorCommand,
)
from onetape.telemetry.session_news import SessionNews

STOCK = make_equity("A.FAKE")
TS = from_iso("2026-03-01T03:00:00Z")
DENIED = OrderDenied("s", 1, STOCK.id, DenialCode.PAUSED, 20, 0, "units")


def venue(*, is_up: bool, reason: str = "gone") -> ConnectionChanged:
    return ConnectionChanged(ConnectionPart.VENUE, "FAKE", is_up=is_up, reason=reason)


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (venue(is_up=False), "error   connection.changed venue FAKE is down: gone"),
        (venue(is_up=True), "info    connection.changed venue FAKE is up: gone"),
        (KillSwitchSet(active=True, reason="storm"),
         "warning control.kill_switch kill switch set: storm"),
        (OperatorCommand(OperatorAction.FLATTEN, "", ""),
         "warning control.operator flatten all strategies"),
        (DENIED, "warning risk.denied s A.FAKE: paused, 20 against 0 units"),
        (OrderFilled("o-1", "s", STOCK.id, Side.BUY, 3, 1_050, 0, 0, LiquiditySide.TAKER, 2, 0),
         "info    order.filled o-1 BUY 3 A.FAKE at 10.50, 2 left"),
        (Discrepancy(kind=DiscrepancyKind.POSITION, instrument=STOCK.id, client_order_id="",
                     ours=5, theirs=-10, is_resolved=False, resolution="a person"),
         "error   venue.differs position A.FAKE: ours 5, theirs -10; a person"),
        (PositionAdjusted("s", STOCK.id, CorporateActionKind.SPLIT, 77, 0, 99 * E8, 0, 0, 0),
         "info    position.adjusted s: split of A.FAKE, 77 held, +99.00 cash"),
        (StrategyQuarantined("s", "on_bar", "ValueError: one\ntwo\x1b[31m", "s.py:3"),
         "error   failure.strategy_quarantined s in on_bar: ValueError: one two [31m (s.py:3)"),
    ],
)  # fmt: skip
def test_news_is_one_line_that_names_its_event(event: Payload, line: str) -> None:
    told = SessionNews([STOCK]).take(TS, 7, event)
    assert str(told) == f"2026-03-01T03:00:00Z {line} (event 7)"


def test_what_goes_as_planned_is_no_news() -> None:
    assert SessionNews([STOCK]).take(TS, 1, OrderAccepted("o-1", "v-1")) is None


def test_denials_that_repeat_themselves_are_told_at_each_power_of_ten() -> None:
    news = SessionNews([STOCK])
    told = [at for at in range(1, 1_500) if news.take(TS, at, DENIED) is not None]
    assert told == [1, 10, 100, 1_000]
    other = OrderDenied("t", 1, STOCK.id, DenialCode.PAUSED, 20, 0, "units")
    assert news.take(TS, 2_000, other) is not None


def test_outage_keeps_its_beginning_and_its_newest_reason_until_it_is_over() -> None:
    news = SessionNews()
    news.take(TS, 1, venue(is_up=False, reason="closed"))
    news.take(TS + 9, 2, venue(is_up=False, reason="keys refused"))
    assert news.outages == {("venue", "FAKE"): (TS, "keys refused")}
    news.take(TS + 10, 3, venue(is_up=True))
    assert news.outages == {}


def test_silence_of_one_instrument_is_no_outage() -> None:
    news = SessionNews()
    silent = ConnectionChanged(
        ConnectionPart.FEED, "fake", is_up=False, reason="silent",
        instruments=[InstrumentId("A.FAKE")],
    )  # fmt: skip
    assert "A.FAKE" in str(news.take(TS, 1, silent))
    assert news.outages == {}


def test_only_the_newest_troubles_are_remembered_and_no_good_news() -> None:
    news = SessionNews([STOCK])
    news.take(TS, 0, venue(is_up=True))
    for seq in range(1, 100):
        news.take(TS, seq, KillSwitchSet(active=True, reason=str(seq)))
    assert [each.seq for each in news.troubles] == list(range(80, 100))
