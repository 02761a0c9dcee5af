"""The recorded depth and trades of Binance as a timeline of a book."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np

from onetape.domain.instrument import Instrument, InstrumentId, InstrumentKind
from onetape.marketdata.tick_timeline import build_book_timeline, build_quote_timeline
from onetape.marketdata.timeline import Timeline
from tests.support.shared_data import SHARED

RECORDING = "protocol/binance/spot_ws_recording_btcusdt_20240808.gz"
BTCUSDT = InstrumentId("BTCUSDT.BINANCE")
SPOT = Instrument(
    id=BTCUSDT, kind=InstrumentKind.SPOT, quote_currency="USD", base_currency="BTC",
    tick_size=Decimal("0.01"), lot_size=Decimal("0.00001"), calendar="24/7",
)  # fmt: skip


def read_messages(seconds: float) -> Iterator[tuple[int, dict[str, Any]]]:
    """(arrival in ns, message) of so many seconds behind the snapshot, and everything before it."""
    end = None
    with gzip.open(SHARED / RECORDING, "rt") as lines:
        for line in lines:
            arrival, _, text = line.partition(" ")
            message = json.loads(text)
            if "lastUpdateId" in message:
                end = int(arrival) + round(seconds * 1e9)
            elif end is not None and int(arrival) > end:
                return
            yield int(arrival), message.get("data", message)


def read_book(seconds: float) -> Timeline:
    """The book from its snapshot on, with the trades; everything happens when it arrives."""
    rows: list[tuple[int, int, float, float, int]] = []
    prints: list[tuple[int, float, float, int]] = []
    waiting: list[tuple[int, dict[str, Any]]] = []
    known = -1
    for arrival, data in read_messages(seconds):
        if "lastUpdateId" in data:
            known = data["lastUpdateId"]
            rows += _levels(arrival, data["bids"], data["asks"], known)
            for _, update in waiting:
                if update["u"] > known:
                    rows += _levels(arrival, update["b"], update["a"], update["u"])
        elif data.get("e") == "depthUpdate" and known < 0:
            waiting.append((arrival, data))
        elif data.get("e") == "depthUpdate" and data["u"] > known:
            rows += _levels(arrival, data["b"], data["a"], data["u"])
        elif data.get("e") == "trade" and known >= 0:
            side = -1 if data["m"] else 1
            prints.append((arrival, float(data["p"]), float(data["q"]), side))
    ts, is_bid, price, size, update_id = (np.array(each) for each in zip(*rows, strict=True))
    ts_print, traded, quantity, side = (np.array(each) for each in zip(*prints, strict=True))
    deltas = {"ts_event": ts, "is_bid": is_bid, "price": price, "size": size,
              "update_id": update_id}  # fmt: skip
    trades = {"ts_event": ts_print, "price": traded, "size": quantity, "aggressor": side}
    return build_book_timeline([(SPOT, deltas)], source="recorded", trades={BTCUSDT: trades})


def read_quotes(seconds: float) -> Timeline:
    """The best bid and ask of the same seconds, with the trades; all happens when it arrives."""
    quotes: list[tuple[int, float, float, float, float]] = []
    prints: list[tuple[int, float, float, int]] = []
    for arrival, data in read_messages(seconds):
        if "B" in data:
            best = (float(data[key]) for key in "baBA")
            quotes.append((arrival, *best))  # pyright: ignore[reportArgumentType]
        elif data.get("e") == "trade":
            prints.append((arrival, float(data["p"]), float(data["q"]), -1 if data["m"] else 1))
    names = ("ts_event", "bid", "ask", "bid_size", "ask_size")
    told = {name: np.array(each) for name, each in zip(names, zip(*quotes, strict=True),
                                                       strict=True)}  # fmt: skip
    names = ("ts_event", "price", "size", "aggressor")
    trades = {name: np.array(each) for name, each in zip(names, zip(*prints, strict=True),
                                                         strict=True)}  # fmt: skip
    return build_quote_timeline([(SPOT, told)], source="recorded", trades={BTCUSDT: trades})


def _levels(
    ts: int, bids: list[list[str]], asks: list[list[str]], update_id: int
) -> list[tuple[int, int, float, float, int]]:
    return [
        (ts, is_bid, float(price), float(size), update_id)
        for is_bid, levels in ((1, bids), (0, asks))
        for price, size in levels
    ]
