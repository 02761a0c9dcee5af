"""Binance's bars through the real ccxt client, from a server on loopback."""

from __future__ import annotations

import gzip
import json
from collections.abc import Generator
from decimal import Decimal

import numpy as np
import pytest

from onetape.domain.errors import ConfigError, DataError, SourceUnavailable
from onetape.domain.instrument import InstrumentId, InstrumentKind
from onetape.domain.timestamps import NS_PER_MS, from_iso
from onetape.marketdata.sources.crypto import CryptoSource
from onetape.marketdata.sources.requester import Pace
from tests.support.instruments import make_instrument
from tests.support.provider_servers import (
    HOUR_MS,
    Provider,
    Reply,
    binance,
    make_kline,
    make_symbol,
    serve,
)
from tests.support.pulls import FakeTime, days, make_access, make_requester
from tests.support.shared_data import SHARED, needs_shared

BEGIN_MS = from_iso("2020-01-01") // NS_PER_MS
KLINES = {
    "1h": [make_kline(BEGIN_MS + hour * HOUR_MS) for hour in range(1_500)],
    "1d": [make_kline(BEGIN_MS + day * 24 * HOUR_MS, 24 * HOUR_MS) for day in range(63)],
}
PAIR = make_instrument("BTCUSDT.BINANCE", kind=InstrumentKind.SPOT, base="BTC", currency="USDT")


@pytest.fixture
def provider() -> Generator[Provider]:
    symbols = [make_symbol("BTC", "USDT"), make_symbol("ETH", "BTC", "0.00001", "0.0001")]
    with serve(binance(KLINES, symbols)) as server:
        yield server


def fetch(
    provider: Provider,
    begin: str = "2020-01-01",
    end: str = "2020-04-01",
    *,
    time: FakeTime | None = None,
    **access,
) -> np.ndarray:
    requester = make_requester(Pace(per_minute=1e9, burst=1000, attempts=4), time)
    source = CryptoSource("binance", make_access(provider.url, requester, **access))
    pages = list(source.pages(PAIR, "1h", *days(begin, end)))
    return np.concatenate([page.times for page in pages]) if pages else np.zeros(0)


ALL = np.array([row[0] for row in KLINES["1h"]]) * NS_PER_MS


def test_bars_of_several_pages_are_complete(provider: Provider) -> None:
    assert np.array_equal(fetch(provider), ALL)
    assert [int(each["startTime"]) for each in provider.asked[:2]] == [
        BEGIN_MS,
        BEGIN_MS + 1000 * HOUR_MS,
    ]


def test_values_are_those_of_the_texts(provider: Provider) -> None:
    source = CryptoSource("binance", make_access(provider.url))
    (page,) = source.pages(PAIR, "1h", *days("2020-01-01", "2020-01-01T02:00:00Z"))
    row = KLINES["1h"][1]
    names = ("open", "high", "low", "close", "volume")
    assert [page.values[name][1] for name in names] == [float(each) for each in row[1:6]]


def test_years_before_the_listing_take_few_requests(provider: Provider) -> None:
    assert np.array_equal(fetch(provider, "2010-01-01", "2020-02-01"), ALL[: 31 * 24])
    assert len(provider.asked) < 10


def test_a_hole_loses_no_bar(provider: Provider) -> None:
    kept = [row for row in KLINES["1h"] if not 100 <= (row[0] - BEGIN_MS) // HOUR_MS < 1_200]
    with serve(binance({**KLINES, "1h": kept}, [make_symbol("BTC", "USDT")])) as server:
        assert np.array_equal(fetch(server), np.array([row[0] for row in kept]) * NS_PER_MS)


def test_empty_range_has_no_bars(provider: Provider) -> None:
    assert len(fetch(provider, "2021-01-01", "2021-02-01")) == 0


FAULTS = [
    ([Reply(429, {"code": -1003, "msg": "Too many requests."}, {"Retry-After": "7"})], [7]),
    ([Reply(418, {"code": -1003, "msg": "Way too many."}, {"Retry-After": "30"})], [30]),
    ([Reply(503, b"<html>"), Reply(502, b"")], [1, 2]),
    ([Reply(cut=40)], [1]),
    ([Reply(200, b'[[1577836800000,"9000')], [1]),
    ([Reply(200, [[BEGIN_MS, "9000"]])], [1]),
    ([None, Reply(500, {"code": -1000, "msg": "unknown"})], [1]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("faults", "waits"), FAULTS,
    ids=["limit", "ban", "5xx", "cut off", "half JSON", "half rows", "second page"],
)  # fmt: skip
def test_a_passing_fault_is_waited_out(
    provider: Provider, faults: list[Reply | None], waits: list[float]
) -> None:
    provider.faults += faults
    time = FakeTime()
    assert np.array_equal(fetch(provider, time=time), ALL)
    assert time.slept == waits


def test_a_lasting_fault_is_told(provider: Provider) -> None:
    provider.faults += [Reply(503, b"down")] * 4
    with pytest.raises(SourceUnavailable, match=r"binance does not serve.*asked 4 times"):
        fetch(provider)


def test_a_ban_of_days_is_not_waited_for(provider: Provider) -> None:
    provider.faults.append(Reply(418, {"code": -1003, "msg": "banned"}, {"Retry-After": "259200"}))
    with pytest.raises(SourceUnavailable, match="asks to wait 259,200 s"):
        fetch(provider)


def test_an_unknown_symbol_names_the_nearest(provider: Provider) -> None:
    with pytest.raises(DataError, match=r"does not know the symbol 'BTC/USD'.*'BTC/USDT'"):
        fetch(provider, symbol="BTC/USD")
    source = CryptoSource("binance", make_access(provider.url))
    with pytest.raises(DataError, match="does not know the symbol 'BTCEUR'"):
        source.define(InstrumentId("BTCEUR.BINANCE"))


def test_a_place_that_is_shut_out_is_told_at_once(provider: Provider) -> None:
    said = "Service unavailable from a restricted location according to 'b. Eligibility'"
    provider.faults.append(Reply(451, {"code": 0, "msg": said}))
    with pytest.raises(DataError, match=r"refuses this place.*restricted location"):
        fetch(provider)


def test_the_exchange_defines_the_pair(provider: Provider) -> None:
    source = CryptoSource("binance", make_access(provider.url))
    defined = source.define(InstrumentId("BTCUSDT.BINANCE"))
    assert defined is not None
    assert (defined.base_currency, defined.quote_currency) == ("BTC", "USDT")
    assert (defined.tick_size, defined.lot_size) == (Decimal("0.01"), Decimal("0.00001"))
    with pytest.raises(ConfigError, match="can't be booked exactly"):
        source.define(InstrumentId("ETHBTC.BINANCE"))


def test_the_exchanges_clock_is_that_of_its_last_answer(provider: Provider) -> None:
    provider.date_s = 1_577_840_461.7
    source = CryptoSource("binance", make_access(provider.url))
    assert source.ts_server is None
    list(source.pages(PAIR, "1h", *days("2020-01-01", "2020-01-02")))
    assert source.ts_server == from_iso("2020-01-01T01:01:01Z")


def test_an_unknown_timeframe_exchange_or_option_is_refused(provider: Provider) -> None:
    source = CryptoSource("binance", make_access(provider.url))
    with pytest.raises(ConfigError, match="binance has no bars of 7m"):
        list(source.pages(PAIR, "7m", 0, 1))
    with pytest.raises(ConfigError, match=r"source 'binanze' is unknown.*'binance'"):
        CryptoSource("binanze", make_access())
    with pytest.raises(ConfigError, match=r"has no option 'typ'"):
        CryptoSource("binance", make_access(options={"typ": "spot"}))
    with pytest.raises(ConfigError, match="no prices of adjustment 'all'"):
        CryptoSource("binance", make_access(adjustment="all"))


@needs_shared
def test_recorded_answers_of_binance_are_read() -> None:
    """Hours of BTCUSDT from 2020-05-01, two pages as gocryptotrader recorded them.

    Binance was down for maintenance on 2020-06-28 from 02:00 to 05:30 UTC: three hours are missing.
    """
    path = SHARED / "protocol" / "binance" / "rest_spot_v3_recorded.json"
    routes = json.loads(path.read_text(encoding="utf-8"))["routes"]
    recorded = [
        each["data"]
        for each in routes["/api/v3/klines"]["GET"]
        if "interval=1h" in each["queryString"] and "BTCUSDT" in each["queryString"]
    ]
    info = routes["/api/v3/exchangeInfo"]["GET"][0]["data"]
    by_time = {row[0]: row for page in recorded for row in page if row[0] < 1_600_000_000_000}
    rows = [by_time[ms] for ms in sorted(by_time)]
    symbols = [*info["symbols"], make_symbol("BTC", "USDT")]
    with serve(binance({"1h": rows}, symbols)) as server:
        times = fetch(server, "2020-05-01", "2020-07-01T04:00:00Z")
        source = CryptoSource("binance", make_access(server.url))
        (page,) = source.pages(PAIR, "1h", *days("2020-05-01", "2020-05-01T01:00:00Z"))
    hours = np.arange(*days("2020-05-01", "2020-07-01T04:00:00Z"), HOUR_MS * NS_PER_MS)
    lost = hours[~np.isin(hours, times)]
    assert len(times) == 1_465
    assert lost.tolist() == [from_iso(f"2020-06-28T0{hour}:00:00Z") for hour in (2, 3, 4)]
    assert page.values["open"].tolist() == [8620.0]
    assert page.values["volume"].tolist() == [3459.688665]


@needs_shared
def test_real_hours_come_through_unchanged() -> None:
    path = SHARED / "crypto" / "binance_btcusdt_hour_20180501_20180505.csv.gz"
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()[1:]
    rows = []
    for line in lines:
        when, *cells = line.split(",")
        ms = from_iso(when) // NS_PER_MS
        rows.append([ms, *cells, ms + HOUR_MS - 1, "0", 1, "0", "0", "0"])
    with serve(binance({"1h": rows}, [make_symbol("BTC", "USDT")])) as server:
        source = CryptoSource("binance", make_access(server.url))
        (page,) = source.pages(PAIR, "1h", *days("2018-05-01", "2018-05-06"))
    assert page.values["close"].tolist() == [float(line.split(",")[4]) for line in lines]
