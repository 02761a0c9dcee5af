"""What an `executionReport` means, by its type; the payload is that of Binance's documentation."""

from __future__ import annotations

from typing import Any

import pytest

from onetape.domain.instrument import make_spot
from onetape.domain.orders import LiquiditySide, Side
from onetape.domain.venue import ReportKind, VenueReport
from onetape.execution.binance.order_ids import OrderIds
from onetape.execution.binance.tracking import OrderBookOfOurs, Tracked

PAIR = make_spot("ETHUSDT.BINANCE", base="ETH", quote="USDT", tick_size="0.01", lot_size="0.0001")
OURS = "3f2a9c1d-sma_cross-1"
K = ReportKind


def event(what: str, **fields: Any) -> dict[str, Any]:
    """Binance, "User data streams", Order Update, for a limit buy of 1 ETH at 2,500."""
    usual = {
        "e": "executionReport", "E": 1499405658658, "s": "ETHUSDT", "c": OURS, "S": "BUY",
        "o": "LIMIT", "f": "GTC", "q": "1.00000000", "p": "2500.00000000", "P": "0.00000000",
        "F": "0.00000000", "g": -1, "C": "", "x": what, "X": what, "r": "NONE", "i": 4293153,
        "l": "0.00000000", "z": "0.00000000", "L": "0.00000000", "n": "0", "N": None,
        "T": 1499405658657, "t": -1, "I": 8641984, "w": True, "m": False, "M": False,
        "O": 1499405658657, "Z": "0.00000000", "Y": "0.00000000", "Q": "0.00000000",
        "W": 1499405658657, "V": "NONE",
    }  # fmt: skip
    return usual | fields


def fill(**fields: Any) -> dict[str, Any]:
    usual = {"X": "PARTIALLY_FILLED", "l": "0.25000000", "z": "0.25000000", "L": "2500.00000000",
             "n": "0.00025000", "N": "ETH", "t": 77, "m": True}  # fmt: skip
    return event("TRADE", **(usual | fields))


def make_ours(**fields: Any) -> OrderBookOfOurs:
    ours = OrderBookOfOurs(OrderIds(["sma_cross"]), {"ETHUSDT": PAIR})
    usual = {"lots": 10_000, "limit_ticks": 250_000, "stop_ticks": 0}
    ours.open[OURS] = Tracked(**(usual | fields))
    return ours


def only(reports: list[VenueReport]) -> VenueReport:
    (report,) = reports
    return report


def test_new_is_accepted_once() -> None:
    ours = make_ours()
    report = only(ours.read(event("NEW")))
    assert (report.kind, report.client_order_id, report.venue_order_id) == (
        K.ACCEPTED, OURS, "4293153",
    )  # fmt: skip
    assert report.ts_venue == 1499405658657000000
    assert ours.read(event("NEW")) == []


def test_trade_has_lots_ticks_and_fee_and_says_acceptance_first() -> None:
    accepted, report = make_ours().read(fill())
    assert accepted.kind is K.ACCEPTED
    assert report == VenueReport(
        kind=K.FILLED, client_order_id=OURS, instrument=PAIR.id, side=Side.BUY,
        venue_order_id="4293153", ts_venue=1499405658657000000, execution_id="ETHUSDT:77",
        lots=2_500, ticks=250_000, price="2500.00000000", filled_lots=2_500, fee=0,
        fee_units=25_000, liquidity=LiquiditySide.MAKER,
    )  # fmt: skip


def test_fee_in_a_third_asset_is_said_and_not_booked() -> None:
    report = make_ours(is_told=True).read(fill(n="0.00001234", N="BNB"))[0]
    assert (report.fee, report.fee_units) == (0, 0)
    assert report.reason == "a fee of 0.00001234 BNB was taken from outside of the books"
    report = make_ours(is_told=True).read(fill(n="0.62500000", N="USDT", S="SELL"))[0]
    assert (report.fee, report.fee_units, report.reason) == (62_500_000, 0, "")


@pytest.mark.parametrize(("side", "ticks"), [("BUY", 250_001), ("SELL", 250_000)])
def test_price_between_ticks_is_rounded_against_us(side: str, ticks: int) -> None:
    report = make_ours(is_told=True).read(fill(L="2500.00500000", S=side))[0]
    assert (report.ticks, report.price) == (ticks, "2500.00500000")


ENDS = [
    (event("CANCELED", c="web_1", C=OURS, z="0.25000000"), K.CANCELED, 2_500),
    (event("EXPIRED"), K.EXPIRED, 0),
    (event("TRADE_PREVENTION", X="EXPIRED_IN_MATCH"), K.EXPIRED, 0),
    (event("REJECTED", r="INSUFFICIENT_BALANCES"), K.REJECTED, 0),
]


@pytest.mark.parametrize(("said", "kind", "filled"), ENDS, ids=[each[0]["x"] for each in ENDS])
def test_end_is_told_once(said: dict[str, Any], kind: ReportKind, filled: int) -> None:
    ours = make_ours(is_told=True)
    report = only(ours.read(said))
    assert (report.kind, report.client_order_id, report.filled_lots) == (kind, OURS, filled)
    assert ours.read(said) == []
    assert only(ours.read(fill())).kind is K.FILLED  # a late one still counts


def test_amended_order_is_replaced() -> None:
    ours = make_ours(is_told=True)
    report = only(ours.read(event("REPLACED", X="NEW", C=OURS, q="0.50000000")))
    assert (report.kind, report.lots, report.limit_ticks) == (K.REPLACED, 5_000, 250_000)


def test_prevented_part_of_an_order_that_stays_is_taken_from_it() -> None:
    ours = make_ours(is_told=True)
    said = event("TRADE_PREVENTION", X="NEW", A="0.30000000", B="0.30000000")
    report = only(ours.read(said))
    assert (report.kind, report.lots) == (K.REPLACED, 7_000)


def test_stop_is_triggered_when_it_comes_to_the_book() -> None:
    ours = make_ours(stop_ticks=240_000)
    stop = {"o": "STOP_LOSS_LIMIT", "P": "2400.00000000"}
    assert only(ours.read(event("NEW", w=False, **stop))).kind is K.ACCEPTED
    assert only(ours.read(event("NEW", w=True, **stop))).kind is K.TRIGGERED
    assert ours.read(event("NEW", w=True, **stop)) == []


def test_cancel_inside_a_replace_is_no_end_and_the_successor_tells_it() -> None:
    ours = make_ours(is_told=True, is_changing=True, filled_lots=2_500)
    assert ours.read(event("CANCELED", c="web_1", C=OURS, z="0.25000000")) == []
    said = event("NEW", c=f"{OURS}-r1", q="0.75000000", p="2400.00000000", i=4293154)
    report = only(ours.read(said))
    assert (report.kind, report.client_order_id, report.lots) == (K.REPLACED, OURS, 10_000)
    assert (report.limit_ticks, report.filled_lots) == (240_000, 2_500)
    late = only(ours.read(fill(t=78, i=4293153)))
    assert (late.kind, late.client_order_id, late.filled_lots) == (K.FILLED, OURS, -1)
    mine = ours.read(fill(t=79, c=f"{OURS}-r1", i=4293154, q="0.75000000"))[-1]
    assert mine.filled_lots == 5_000


def test_orders_of_others_and_of_other_symbols() -> None:
    ours = make_ours()
    number = fill()["i"]
    for name in ("web_abc", "x-R4BD3S82", "999999999-sma_cross-1"):
        assert only(ours.read(fill(c=name))).client_order_id == f"@{fill()['s']}:{number}"
    of_another_session = "3f2a9c1d-unknown-1"
    assert only(ours.read(fill(c=of_another_session))).client_order_id == of_another_session
    assert ours.read(event("NEW", s="BTCUSDT")) == []
