"""The local Binance and the feed against what the real one sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec

from onetape.domain.instrument import make_spot
from onetape.domain.market import AggressorSide, BookDelta, QuoteTick, TradeTick, make_bar
from onetape.domain.orders import OrderType, Side
from onetape.marketdata.feeds.binance_client import BinanceClient, BinanceSettings
from onetape.marketdata.feeds.binance_instruments import to_instrument
from onetape.marketdata.feeds.binance_streams import BarReader, BookReader, QuoteReader, TradeReader
from onetape.marketdata.order_book import OrderBook
from onetape.runtime.local_venues.binance_requests import _is_signed
from onetape.runtime.local_venues.binance_shapes import (
    show_account,
    show_canceled,
    show_kline,
    show_kline_event,
    show_order,
    show_print,
    show_print_row,
    show_quote,
    show_report,
    show_symbol,
)
from onetape.runtime.local_venues.messages import NewOrder, PlacedOrder
from tests.support.binance_live import COIN, World
from tests.support.local_venues import placed
from tests.support.recorded_depth import SPOT, read_messages
from tests.support.shared_data import SHARED, needs_shared

pytestmark = needs_shared
FOLDER = SHARED / "protocol/binance"
MINUTE = 60_000_000_000


def recorded(path: str, method: str = "GET") -> Any:
    routes = json.loads((FOLDER / "rest_spot_v3_recorded.json").read_text())["routes"]
    return routes[f"/api/v3/{path}"][method][0]["data"]


def stream(kind: str) -> dict[str, Any]:
    """The first message of a kind of the recording."""
    for _, data in read_messages(2.0):
        found = data.get("e", "bookTicker" if "B" in data else "snapshot")
        if found == kind:
            return data
    raise AssertionError(kind)


def check_same(theirs: Any, ours: Any, where: str = "") -> None:
    """Every field of theirs is in ours, of the same JSON type; decimals are texts in both."""
    assert type(theirs) is type(ours), where
    if isinstance(theirs, dict):
        assert theirs.keys() <= ours.keys(), where
        for name, each in theirs.items():
            if each is not None and name not in ("permissionSets", "filters", "symbols"):
                check_same(each, ours[name], f"{where}.{name}")
    elif isinstance(theirs, list) and theirs and ours:
        check_same(theirs[0], ours[0], f"{where}[0]")


def placed_order() -> PlacedOrder:
    world = World()
    world.exchange.step()
    return placed(world.exchange.submit("me", NewOrder(
        symbol="BTCUSDT", client_order_id="a", side=Side.BUY, order_type=OrderType.LIMIT,
        quantity=Decimal("0.5"), limit=Decimal(30_000))))  # fmt: skip


BAR = make_bar("BTCUSDT.BINANCE", ts_open=0, ts_close=MINUTE, open=1.0, high=2.0, low=0.5,
               close=1.5, volume=3.25, timeframe="1m")  # fmt: skip


def test_answers_have_the_fields_of_real_ones() -> None:
    order = placed_order()
    check_same(recorded("openOrders")[0], show_order(COIN, order))
    check_same(recorded("order"), show_order(COIN, order))
    check_same(recorded("order", "DELETE"), show_canceled(COIN, order, "b"))
    check_same(recorded("klines")[0], show_kline(BAR))
    info = next(each for each in recorded("exchangeInfo")["symbols"])
    check_same(info, show_symbol(COIN, is_halted=False))
    real = {each["filterType"]: each for each in info["filters"]}
    for each in show_symbol(COIN, is_halted=False)["filters"]:
        check_same(each, real[each["filterType"]])
    account = recorded("account")
    check_same(account, show_account(World().exchange.books("me"), 1))
    tick = TradeTick(COIN.id, 5_000_000, 0, 1.5, 2.0, AggressorSide.SELLER)
    check_same(recorded("trades")[0], show_print_row(tick, 7))


def test_messages_have_the_fields_of_real_ones() -> None:
    tick = TradeTick(COIN.id, 5_000_000, 0, 1.5, 2.0, AggressorSide.SELLER)
    check_same(stream("trade"), show_print("BTCUSDT", tick, 7, 5))
    quote = QuoteTick(instrument=COIN.id, ts_event=0, ts_known=0, bid=1.0, ask=2.0, bid_size=1.0,
                      ask_size=1.0)  # fmt: skip
    check_same(stream("bookTicker"), show_quote("BTCUSDT", quote, 7))
    lines = [json.loads(each) for each in (FOLDER / "ws_messages.jsonl").read_text().splitlines()]
    said = {each["data"]["e"]: each["data"] for each in lines}
    check_same(said["kline"], show_kline_event("BTCUSDT", "1m", BAR, 5))
    report = show_report(COIN, placed_order(), "NEW", 5)
    assert report.keys() >= said["executionReport"].keys()


def test_symbols_of_the_real_exchange_are_instruments() -> None:
    info = next(each for each in recorded("exchangeInfo")["symbols"] if each["symbol"] == "BTCUSDT")
    one = to_instrument(COIN.id, info)
    assert (one.base_currency, one.quote_currency) == ("BTC", "USDT")
    assert (one.tick_size, one.lot_size) == (Decimal("0.01"), Decimal("0.00001"))
    assert (one.min_lots, one.max_lots, one.min_notional) == (1, 900_000_000, 5)


def test_published_signature_is_accepted_and_no_other() -> None:
    (vector,) = json.loads((FOLDER / "signing_vectors.json").read_text())["vectors"]
    assert _is_signed(vector["secret"], vector["payload"], vector["signature"])
    assert not _is_signed(vector["secret"], vector["payload"] + "0", vector["signature"])


class Recorded(BinanceClient):
    """A client whose REST answers are given."""

    def __init__(self, answers: list[Any]) -> None:
        self.answers = answers
        self.settings = BinanceSettings()
        self.offset_ns = 0
        self.clock = lambda: 0

    async def ask(self, method: str, path: str, params: Any = None, **how: Any) -> Any:
        return self.answers.pop(0)


def test_recorded_book_is_the_recorded_best_bid_and_ask() -> None:
    """Deltas of the reader make a book whose top is the `bookTicker` of the same update."""
    messages = list(read_messages(6.0))
    snapshot = next(data for _, data in messages if "lastUpdateId" in data)
    tops = {data["u"]: data for _, data in messages if "B" in data}
    spot = msgspec.structs.replace(SPOT, quote_currency="USDT")
    book, compared = OrderBook(), 0

    async def take(deltas: Sequence[BookDelta]) -> None:
        for each in deltas:
            book.apply(each, spot.tick_float, spot.lot_float)

    async def test() -> None:
        nonlocal compared
        reader = BookReader(Recorded([snapshot]), spot, take)
        for ts, data in messages:
            if data.get("e") != "depthUpdate":
                continue
            await reader.read(data, ts)
            top = tops.get(data["u"])
            if top is not None and book.update_id == data["u"]:
                for is_bid, price, size in ((True, "b", "B"), (False, "a", "A")):
                    ticks, lots = book.best(is_bid=is_bid)
                    assert spot.ticks_to_price(ticks) == Decimal(top[price])
                    assert spot.lots_to_quantity(lots) == Decimal(top[size])
                compared += 1

    asyncio.run(test())
    assert compared >= 3


def test_new_snapshot_is_told_as_what_has_changed() -> None:
    pair = make_spot("ETHUSDT.BINANCE", base="ETH", quote="USDT", tick_size="0.01",
                     lot_size="0.1")  # fmt: skip
    told: list[BookDelta] = []

    def update(first: int, last: int, *bids: list[str]) -> dict[str, Any]:
        return {"E": last, "U": first, "u": last, "b": list(bids), "a": []}

    async def take(deltas: Sequence[BookDelta]) -> None:
        told.extend(deltas)

    async def test() -> None:
        snapshots = [
            {"lastUpdateId": 10, "bids": [["5.00", "1.0"], ["4.99", "2.0"]], "asks": []},
            {"lastUpdateId": 29, "bids": [["5.00", "1.0"], ["4.98", "3.0"]], "asks": []},
        ]
        reader = BookReader(Recorded(snapshots), pair, take)
        await reader.read(update(9, 11, ["4.99", "2.5"]), 1)
        assert [(each.price, each.size) for each in told] == [(4.99, 2.5), (5.0, 1.0)]
        told.clear()
        await reader.read(update(30, 31, ["5.01", "1.0"]), 2)  # 12 to 29 are missing
        assert [(each.price, each.size) for each in told] == [(4.99, 0.0), (4.98, 3.0), (5.01, 1.0)]
        assert all(each.update_id == 31 and each.is_bid for each in told)

    asyncio.run(test())


def test_open_bars_are_not_told_and_quotes_go_forward() -> None:
    told: list[Any] = []

    async def take(each: Any) -> None:
        told.append(each)

    async def miss(*_: Any) -> None:
        raise AssertionError

    async def test() -> None:
        bars = BarReader(Recorded([]), COIN, "1m", take)
        kline = show_kline_event("BTCUSDT", "1m", BAR, 5)
        await bars.read({**kline, "k": {**kline["k"], "x": False}}, 1)
        assert told == []
        await bars.read(kline, 1)
        await bars.read(kline, 1)
        assert [each.close for each in told] == [1.5]
        told.clear()
        quotes = QuoteReader(Recorded([]), COIN, take)
        sent = [data for _, data in read_messages(0.5) if "B" in data][:5]
        for data in [*sent[:3], sent[1], *sent[2:]]:
            await quotes.read(data, 7)
        assert [each.bid_size for each in told] == [float(each["B"]) for each in sent]
        told.clear()
        prints = TradeReader(Recorded([]), COIN, take, miss)
        real = [data for _, data in read_messages(3.0) if data.get("e") == "trade"]
        for data in [*real, real[-1]]:
            await prints.read(data, 7)
        assert [int(each.trade_id) for each in told] == [each["t"] for each in real]
        sides = {AggressorSide.SELLER: True, AggressorSide.BUYER: False}
        assert [sides[each.aggressor] for each in told] == [each["m"] for each in real]

    asyncio.run(test())
