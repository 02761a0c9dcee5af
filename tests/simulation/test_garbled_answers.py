"""Answers of providers with parts that are missing, doubled or of another kind.

Whatever comes, a pull ends with bars that the importer has checked, or with one typed error.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yfinance
from pydantic import SecretStr

from onetape.domain.errors import OnetapeError
from onetape.domain.instrument import Instrument, InstrumentKind
from onetape.domain.timestamps import NS_PER_MS, from_iso
from onetape.marketdata.bars import check_columns
from onetape.marketdata.catalog import Catalog
from onetape.marketdata.pulling import pull_bars
from onetape.marketdata.sources.alpaca import AlpacaSource
from onetape.marketdata.sources.crypto import CryptoSource
from onetape.marketdata.sources.port import BarSource
from onetape.marketdata.sources.requester import Pace, Requester
from onetape.marketdata.sources.yahoo import YahooSource
from tests.support.instruments import make_instrument
from tests.support.provider_servers import (
    HOUR_MS,
    KEY,
    SECRET,
    Provider,
    Reply,
    alpaca,
    binance,
    make_kline,
    make_symbol,
    serve,
    yahoo,
)
from tests.support.pulls import days, make_access, make_requester

CASES = 25
JUNK: list[Any] = [
    None, True, -1, 0, float("inf"), float("nan"), "", "x", [], {}, [[]], 10**30, -(10**18),
    "2024-13-45T99:00:00Z", "NaN",
]  # fmt: skip
EQUITY = make_instrument("AAPL.XNAS", calendar="hours:America/New_York:09:30-16:00")
PAIR = make_instrument("BTCUSDT.BINANCE", kind=InstrumentKind.SPOT, base="BTC", currency="USDT")
BEGIN_MS = from_iso("2024-03-04") // NS_PER_MS
DATES = [f"2024-03-0{day}" for day in range(4, 9)]


def garble(whole: Any, chance: random.Random) -> Any:
    """A copy with one to three parts left out, doubled or replaced by junk."""
    top = {"": copy.deepcopy(whole)}
    for _ in range(chance.choice([1, 1, 3])):
        parent: Any = top
        key: Any = ""
        while isinstance(parent[key], dict | list) and parent[key] and chance.random() < 0.8:
            parent = parent[key]
            key = chance.choice(list(parent) if isinstance(parent, dict) else range(len(parent)))
        if parent is not top and chance.random() < 0.3:
            del parent[key]
        elif isinstance(parent, list) and chance.random() < 0.2:
            parent.insert(key, copy.deepcopy(parent[key]))
        else:
            parent[key] = chance.choice(JUNK)
        if "" not in top:
            break
    return top[""]


def make_yahoo() -> Provider:
    rows = [
        {"t": from_iso(f"{date}T14:30:00Z") // 10**9, "o": 10.0, "h": 12.0, "l": 9.0, "c": 11.0,
         "v": 100, "a": 5.5}
        for date in DATES
    ]  # fmt: skip
    return yahoo({"AAPL": rows})


def make_alpaca() -> Provider:
    prices = {"o": 10, "h": 12, "l": 9, "c": 11, "v": 100}
    return alpaca({"AAPL": [{"t": f"{date}T05:00:00Z", **prices} for date in DATES]})


def make_binance() -> Provider:
    hours = [make_kline(BEGIN_MS + hour * HOUR_MS) for hour in range(96)]
    return binance({"1h": hours, "1d": []}, [make_symbol("BTC", "USDT")])


def open_yahoo(url: str, chance: random.Random) -> BarSource:
    adjustment = chance.choice(["splits", "all"])
    return YahooSource(make_access(url, once(), adjustment=adjustment))


def open_alpaca(url: str, chance: random.Random) -> BarSource:
    secrets = {"key": SecretStr(KEY), "secret": SecretStr(SECRET)}
    return AlpacaSource(make_access(url, once(), **secrets))


def open_binance(url: str, chance: random.Random) -> BarSource:
    return CryptoSource("binance", make_access(url, once()))


def once() -> Requester:
    return make_requester(Pace(per_minute=1e9, burst=1000, attempts=1))


@pytest.mark.parametrize(
    ("make_server", "open_source", "instrument", "timeframe"),
    [
        (make_yahoo, open_yahoo, EQUITY, "1d"),
        (make_alpaca, open_alpaca, EQUITY, "1d"),
        (make_binance, open_binance, PAIR, "1h"),
    ],
    ids=["yahoo", "alpaca", "binance"],
)
def test_garbled_answer_gives_checked_bars_or_one_typed_error(
    tmp_path: Path,
    make_server: Callable[[], Provider],
    open_source: Callable[[str, random.Random], BarSource],
    instrument: Instrument,
    timeframe: str,
) -> None:
    yfinance.set_tz_cache_location(str(tmp_path))
    ends = {"bars": 0, "errors": 0}
    provider = make_server()
    whole, chance = provider.answer, random.Random(0)

    def answer(path: str, query: dict[str, str], headers: dict[str, str]) -> Reply:
        asked = {**query, "page_token": str(query.get("page_token", "0"))}
        if not asked["page_token"].isdigit():
            return Reply(422, {"message": "invalid page token"})
        reply = whole(path, query, headers)
        if not provider.is_bars(path):
            return reply
        return Reply(reply.status, json.dumps(garble(reply.body, chance)).encode())

    provider.answer = answer
    with serve(provider) as server:
        for case in range(CASES):
            chance.seed(case)
            catalog = Catalog(tmp_path / str(case))
            try:
                pull_bars(
                    open_source(server.url, chance), catalog, instrument, timeframe,
                    days("2024-03-04", "2024-03-08"), clock_ns=lambda: from_iso("2024-06-01"),
                )  # fmt: skip
            except OnetapeError:
                ends["errors"] += 1
                continue
            for each in catalog.datasets():
                check_columns(catalog.read_bars(each.instrument, each.timeframe), f"case {case}")
                ends["bars"] += 1
    assert min(ends.values()) > 0, ends
