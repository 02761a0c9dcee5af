"""Case A13: a recorded stream of Binance, rebuilt into the book that its own ticker tells."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from decimal import Decimal

import pytest

from onetape.marketdata.order_book import BookSync, NumberedUpdate
from tests.support.shared_data import SHARED, needs_shared

pytestmark = needs_shared

RECORDING = "protocol/binance/spot_ws_recording_btcusdt_20240808.gz"
TICK, LOT = Decimal("0.01"), Decimal("0.00000001")


def levels(rows: list[list[str]]) -> list[tuple[int, int]]:
    exact = [(Decimal(price) / TICK, Decimal(size) / LOT) for price, size in rows]
    assert all(each == each.to_integral_value() for row in exact for each in row)
    return [(int(ticks), int(lots)) for ticks, lots in exact]


def test_a13_recorded_stream_gives_the_book_of_its_own_ticker() -> None:
    cases = json.loads((SHARED / "acceptance" / "cases.json").read_text())["cases"]
    expected = next(each for each in cases if each["id"] == "A13")["expected"]
    counts: Counter[str] = Counter()
    sync = BookSync()
    tickers: list[tuple[int, tuple[int, int], tuple[int, int]]] = []
    tops: list[tuple[int, tuple[int, int] | None, tuple[int, int] | None]] = []
    volume, last_trade, crossed, trade_gaps = Decimal(0), 0, 0, 0
    with gzip.open(SHARED / RECORDING, "rt") as lines:
        for line in lines:
            counts["lines"] += 1
            message = json.loads(line.partition(" ")[2])
            if "lastUpdateId" in message:
                counts["snapshots"] += 1
                sync.take_snapshot(
                    levels(message["bids"]), levels(message["asks"]), message["lastUpdateId"]
                )
                continue
            data = message["data"]
            kind = data.get("e", "bookTicker")
            counts[kind] += 1
            if kind == "bookTicker":
                ((bid, ask),) = zip(
                    levels([[data["b"], data["B"]]]), levels([[data["a"], data["A"]]]), strict=True
                )
                tickers.append((data["u"], bid, ask))
            elif kind == "trade":
                volume += Decimal(data["q"])
                trade_gaps += last_trade != 0 and data["t"] != last_trade + 1
                last_trade = data["t"]
            else:
                update = NumberedUpdate(data["U"], data["u"], levels(data["b"]), levels(data["a"]))
                if sync.follow(update):
                    book = sync.book
                    tops.append((data["u"], book.best(is_bid=True), book.best(is_bid=False)))
                    crossed += book.is_crossed
    for name in ("lines", "depthUpdate", "bookTicker", "trade", "snapshots"):
        assert counts[name] == expected[name], name
    assert (sync.gaps, trade_gaps, crossed) == (
        expected["update_id_gaps"], expected["trade_id_gaps"], expected["crossed_books"]
    )  # fmt: skip

    tickers.sort(key=lambda each: each[0])
    at, compared, mismatches = -1, 0, 0
    for update_id, bid, ask in tops:
        while at + 1 < len(tickers) and tickers[at + 1][0] <= update_id:
            at += 1
        if at >= 0:
            compared += 1
            mismatches += (bid, ask) != tickers[at][1:]
    assert (compared, mismatches) == (expected["bbo_comparisons"], expected["bbo_mismatches"])
    assert float(volume) == pytest.approx(expected["traded_volume_btc"], abs=1e-6)
    final_bid, final_ask = sync.book.best(is_bid=True), sync.book.best(is_bid=False)
    assert final_bid is not None
    assert final_ask is not None
    assert float(final_bid[0] * TICK) == expected["final_best_bid"]
    assert float(final_ask[0] * TICK) == expected["final_best_ask"]
