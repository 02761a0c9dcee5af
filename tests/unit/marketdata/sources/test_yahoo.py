"""Yahoo's bars through the real yfinance client, from a server on loopback."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest
import yfinance

from onetape.domain.errors import ConfigError, DataError, SourceUnavailable
from onetape.domain.instrument import InstrumentKind
from onetape.domain.timestamps import NS_PER_SECOND, from_iso
from onetape.marketdata.sources.port import SourcePage
from onetape.marketdata.sources.requester import Pace
from onetape.marketdata.sources.yahoo import YahooSource, to_wire_symbol
from tests.support.instruments import make_instrument
from tests.support.provider_servers import Provider, Reply, serve, yahoo
from tests.support.pulls import FakeTime, days, make_access, make_requester

EQUITY = make_instrument("AAPL.XNAS", calendar="hours:America/New_York:09:30-16:00")


def row(when: str, price: float | None, adjusted: float | None = None) -> dict:
    """Prices as Yahoo sends them: float32 widened."""
    cell = None if price is None else float(np.float32(price))
    return {
        "t": from_iso(when) // NS_PER_SECOND, "o": cell, "h": cell, "l": cell, "c": cell,
        "v": None if price is None else 82_488_704,
        "a": None if adjusted is None else float(np.float32(adjusted)),
    }  # fmt: skip


# Opens of sessions, around the clock change of 2024-03-10.
DAILY = [
    row("2024-03-07T14:30:00Z", 169.0, 84.5), row("2024-03-08T14:30:00Z", 170.73, 85.365),
    row("2024-03-11T13:30:00Z", 172.75, 172.75), row("2024-03-12T13:30:00Z", None),
    row("2024-03-13T13:30:00Z", 171.13, 171.13),
]  # fmt: skip
MINUTES = [row(f"2024-03-11T13:{minute}:00Z", 170 + minute / 8) for minute in range(30, 40)]


@pytest.fixture(autouse=True)
def _cache_here(tmp_path: Path) -> None:
    yfinance.set_tz_cache_location(str(tmp_path))


@pytest.fixture
def provider() -> Generator[Provider]:
    with serve(yahoo({"AAPL": DAILY, "MIN": MINUTES})) as server:
        yield server


def open_source(provider: Provider, time: FakeTime | None = None, **access) -> YahooSource:
    requester = make_requester(Pace(per_minute=1e9, burst=1000, attempts=4), time)
    return YahooSource(make_access(provider.url, requester, **access))


def fetch(provider: Provider, timeframe: str = "1d", **options) -> list[SourcePage]:
    span = days("2024-03-07", "2024-03-14")
    return list(open_source(provider, **options).pages(EQUITY, timeframe, *span))


def dates(pages: list[SourcePage]) -> list[str]:
    return [str(np.datetime64(int(day), "D")) for page in pages for day in page.times]


def test_daily_bars_are_named_by_the_exchanges_date_and_empty_rows_left_out(
    provider: Provider,
) -> None:
    pages = fetch(provider)
    assert dates(pages) == ["2024-03-07", "2024-03-08", "2024-03-11", "2024-03-13"]
    assert all(page.by_date for page in pages)


def test_prices_are_the_decimals_that_yahoo_meant(provider: Provider) -> None:
    (page,) = fetch(provider)
    assert page.values["close"].tolist() == [169.0, 170.73, 172.75, 171.13]
    assert page.values["volume"].tolist() == [82_488_704.0] * 4


def test_prices_are_recorded_as_adjusted_for_splits(provider: Provider) -> None:
    assert open_source(provider).adjustment == "splits"
    assert "adjusted_close" not in fetch(provider)[0].values
    everything = open_source(provider, adjustment="all")
    assert everything.adjustment == "all"
    assert fetch(provider, adjustment="all")[0].values["adjusted_close"].tolist() == [
        84.5, 85.365, 172.75, 171.13,
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="no prices of adjustment 'none'"):
        open_source(provider, adjustment="none")


def test_the_live_row_of_a_day_gives_way_to_the_days_own() -> None:
    live = row("2024-03-13T18:11:07Z", 999.0)
    with serve(yahoo({"AAPL": DAILY}, live=live)) as server:
        (page,) = fetch(server)
    assert page.values["close"].tolist()[-1] == 171.13


def test_rows_outside_the_sessions_that_yahoo_states_are_left_out() -> None:
    ends = from_iso("2024-03-11T20:00:00Z") // NS_PER_SECOND
    closing = {**MINUTES[-1], "t": ends}
    periods = [[{"start": MINUTES[1]["t"], "end": ends}]]
    with serve(yahoo({"AAPL": [*MINUTES, closing]}, periods=periods)) as server:
        pages = fetch(server, "1m")
    assert [int(each) // NS_PER_SECOND for page in pages for each in page.times] == [
        each["t"] for each in MINUTES[1:]
    ]


def test_minutes_are_asked_for_a_week_at_a_time(provider: Provider) -> None:
    source = open_source(provider, symbol="MIN")
    pages = list(source.pages(EQUITY, "1m", *days("2024-03-01", "2024-03-20")))
    spans = [int(each["period2"]) - int(each["period1"]) for each in provider.asked]
    assert max(spans) == 7 * 86_400
    assert sum(len(page.times) for page in pages) == len(MINUTES)


def test_an_empty_range_has_no_bars(provider: Provider) -> None:
    assert list(open_source(provider).pages(EQUITY, "1d", *days("2030-01-01", "2030-02-01"))) == []


TOO_MANY = b"Too Many Requests\r\n"
FAULTS = [
    # yfinance asks once more by itself, with other cookies, before it says what went wrong.
    ([Reply(429, TOO_MANY, {"Retry-After": "7"})] * 2, [7]),
    ([Reply(503, b"<html>")] * 4, [1, 2]),
    ([Reply(cut=60)], [1]),
    ([Reply(200, b'{"chart": {"result": [{"meta"')], [1]),
    ([Reply(200, {"chart": {"result": [{"timestamp": [1, 2], "indicators": {}}]}})], [1]),
    ([Reply(200, b"Will be right back...")], [1]),
]


@pytest.mark.parametrize(
    ("faults", "waits"), FAULTS,
    ids=["limit", "5xx", "cut off", "half JSON", "half columns", "sorry page"],
)  # fmt: skip
def test_a_passing_fault_is_waited_out(
    provider: Provider, faults: list[Reply | None], waits: list[float]
) -> None:
    provider.faults += faults
    time = FakeTime()
    assert dates(fetch(provider, time=time))[-1] == "2024-03-13"
    assert time.slept == waits


def test_a_lasting_fault_is_told(provider: Provider) -> None:
    provider.faults += [Reply(503, b"")] * 8
    with pytest.raises(SourceUnavailable, match=r"AAPL: yahoo does not serve: status 503.*4 times"):
        fetch(provider)


def test_an_unknown_symbol_is_refused_in_yahoos_words(provider: Provider) -> None:
    with pytest.raises(DataError, match="APPL: yahoo does not know the symbol: No data found"):
        fetch(provider, symbol="APPL")


def test_a_range_that_yahoo_does_not_keep_is_refused_in_its_words(provider: Provider) -> None:
    said = "1m data not available for startTime=1. The requested range must be within the last 30"
    reply = Reply(422, {"chart": {"result": None, "error": {"code": "x", "description": said}}})
    provider.faults += [reply] * 2
    with pytest.raises(DataError, match="must be within the last 30"):
        fetch(provider, "1m")


def test_prices_in_pence_are_refused_for_an_instrument_in_pounds() -> None:
    pounds = make_instrument("VOD.XLON", currency="GBP")
    with serve(yahoo({"VOD.L": DAILY}, currency="GBp")) as server:
        source = open_source(server)
        with pytest.raises(DataError, match=r"prices are in GBp, VOD\.XLON is in GBP"):
            list(source.pages(pounds, "1d", *days("2024-03-07", "2024-03-14")))


@pytest.mark.parametrize(
    ("name", "kind", "base", "wire"),
    [
        ("AAPL.XNAS", InstrumentKind.EQUITY, "", "AAPL"),
        ("BRK.B.XNYS", InstrumentKind.EQUITY, "", "BRK-B"),
        ("VOD.XLON", InstrumentKind.EQUITY, "", "VOD.L"),
        ("7203.XTKS", InstrumentKind.EQUITY, "", "7203.T"),
        ("BTCUSD.COINBASE", InstrumentKind.SPOT, "BTC", "BTC-USD"),
        ("EURUSD.FX", InstrumentKind.FX, "EUR", "EURUSD=X"),
    ],
)
def test_symbols_are_yahoos(name: str, kind: InstrumentKind, base: str, wire: str) -> None:
    assert to_wire_symbol(make_instrument(name, kind=kind, base=base)) == wire


def test_yahoos_clock_is_that_of_its_last_answer(provider: Provider) -> None:
    provider.date_s = 1_445_412_480
    source = open_source(provider)
    list(source.pages(EQUITY, "1d", *days("2024-03-07", "2024-03-14")))
    assert source.ts_server == 1_445_412_480 * 10**9
