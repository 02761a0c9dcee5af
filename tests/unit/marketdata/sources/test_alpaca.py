"""Alpaca's bars through the real alpaca-py client, from a server on loopback."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
import pytest
from pydantic import SecretStr

from onetape.domain.errors import ConfigError, DataError, SourceUnavailable
from onetape.domain.instrument import InstrumentKind
from onetape.domain.timestamps import NS_PER_DAY, from_iso
from onetape.marketdata.sources.alpaca import AlpacaSource
from onetape.marketdata.sources.port import SourcePage
from onetape.marketdata.sources.requester import Pace
from tests.support.instruments import make_instrument
from tests.support.provider_servers import KEY, SECRET, Provider, Reply, alpaca, serve
from tests.support.pulls import FakeTime, days, make_access, make_requester

EQUITY = make_instrument("AAPL.XNAS", calendar="hours:America/New_York:09:30-16:00")
PAIR = make_instrument("BTCUSD.ALPACA", kind=InstrumentKind.SPOT, base="BTC")


def bar(when: str, price: float) -> dict:
    prices = {"o": price, "h": price + 1, "l": price - 1, "c": price + 0.5}
    return {"t": when, **prices, "v": 1000, "n": 9, "vw": price}


# 2024-03-10 is the day of the clock change: midnight in New York is 05:00Z, then 04:00Z.
DAILY = [
    bar("2024-03-07T05:00:00Z", 10), bar("2024-03-08T05:00:00Z", 11),
    bar("2024-03-11T04:00:00Z", 12), bar("2024-03-12T04:00:00Z", 13),
]  # fmt: skip
MINUTES = [bar(f"2024-03-11T14:{minute:02}:00Z", 10 + minute) for minute in range(30, 60)]


@pytest.fixture
def provider() -> Generator[Provider]:
    with serve(alpaca({"AAPL": DAILY, "MSFT": MINUTES, "BTC/USD": MINUTES})) as server:
        yield server


def open_source(provider: Provider, time: FakeTime | None = None, **access) -> AlpacaSource:
    requester = make_requester(Pace(per_minute=1e9, burst=1000, attempts=4), time)
    secrets = {"key": SecretStr(KEY), "secret": SecretStr(SECRET)}
    return AlpacaSource(make_access(provider.url, requester, **{**secrets, **access}))


def fetch(provider: Provider, symbol: str = "MSFT", **options) -> list[SourcePage]:
    source = open_source(provider, symbol=symbol, **options)
    return list(source.pages(EQUITY, "1m", *days("2024-03-11", "2024-03-12")))


def times(pages: list[SourcePage]) -> list[int]:
    return [int(each) for page in pages for each in page.times]


ALL = [from_iso(each["t"]) for each in MINUTES]


def test_bars_of_all_pages_come_in_order(provider: Provider) -> None:
    pages = fetch(provider)
    assert times(pages) == ALL
    assert len(pages) == len(provider.asked) == 10
    assert provider.asked[1]["page_token"] == "3"


def test_daily_bars_are_named_by_their_new_york_date(provider: Provider) -> None:
    pages = list(open_source(provider).pages(EQUITY, "1d", *days("2024-03-07", "2024-03-13")))
    assert all(page.by_date for page in pages)
    dates = [str(np.datetime64(day, "D")) for day in times(pages)]
    assert dates == ["2024-03-07", "2024-03-08", "2024-03-11", "2024-03-12"]
    assert pages[0].values["close"].tolist() == [10.5, 11.5, 12.5]


def test_what_is_asked_for_is_what_was_told(provider: Provider) -> None:
    source = open_source(provider, adjustment="splits", options={"feed": "iex"})
    list(source.pages(EQUITY, "1d", *days("2024-03-11", "2024-03-12")))
    assert provider.asked[0] == {
        "symbols": "AAPL", "timeframe": "1Day", "start": "2024-03-10T00:00:00Z",
        "end": "2024-03-11T23:59:59.999999999Z", "limit": "10000", "sort": "asc",
        "adjustment": "split", "feed": "iex",
    }  # fmt: skip
    assert (source.name, source.adjustment) == ("alpaca/iex", "splits")


def test_a_pair_comes_from_the_crypto_endpoint(provider: Provider) -> None:
    pages = list(open_source(provider).pages(PAIR, "1m", *days("2024-03-11", "2024-03-12")))
    assert times(pages) == ALL
    assert "adjustment" not in provider.asked[0]
    assert not pages[0].by_date


def test_an_empty_range_has_no_pages(provider: Provider) -> None:
    assert list(open_source(provider).pages(EQUITY, "1d", 0, NS_PER_DAY)) == []


RESET = {"X-RateLimit-Reset": "1445412495", "Date": "Wed, 21 Oct 2015 07:28:00 GMT"}
FAULTS = [
    ([Reply(429, {"message": "too many requests."}, {"Retry-After": "7"})], [7]),
    ([Reply(429, {"message": "too many requests."}, RESET)], [15]),
    ([Reply(500, {"message": "internal server error"}), Reply(504, b"")], [1, 2]),
    ([Reply(cut=30)], [1]),
    ([Reply(200, b'{"bars": {"MSFT": [{"t": "2024-')], [1]),
    ([Reply(200, {"bars": {"MSFT": [{"o": 1}]}})], [1]),
    ([Reply(200, [])], [1]),
    ([None, None, Reply(502, b"<html>")], [1]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("faults", "waits"), FAULTS,
    ids=["limit", "reset", "5xx", "cut off", "half JSON", "half bar", "list", "third page"],
)  # fmt: skip
def test_a_passing_fault_is_waited_out(
    provider: Provider, faults: list[Reply | None], waits: list[float]
) -> None:
    provider.faults += faults
    time = FakeTime()
    assert times(fetch(provider, time=time)) == ALL
    assert time.slept == waits


def test_a_lasting_fault_is_told(provider: Provider) -> None:
    provider.faults += [Reply(503, {"message": "busy"})] * 4
    with pytest.raises(SourceUnavailable, match=r"alpaca does not serve: 503 busy.*4 times"):
        fetch(provider)


def test_a_server_that_is_not_there_is_told() -> None:
    with serve(alpaca({})) as gone:
        pass
    said = r"can't be reached or read at 127\.0\.0\.1:\d+: ConnectionError"
    with pytest.raises(SourceUnavailable, match=said):
        fetch(gone)


def test_a_wrong_key_is_refused_and_no_secret_is_shown(provider: Provider) -> None:
    with pytest.raises(ConfigError, match="alpaca refuses access: 403 forbidden") as caught:
        fetch(provider, secret=SecretStr("also-never-print-this"))
    assert len(provider.asked) == 1
    assert "never-print" not in f"{caught.value!r}{caught.value}"


def test_a_plan_without_recent_sip_bars_says_what_helps(provider: Provider) -> None:
    said = "subscription does not permit querying recent SIP data"
    provider.faults.append(Reply(403, {"message": said}))
    with pytest.raises(ConfigError, match=rf"{said} \(--option feed=iex, or an --end"):
        fetch(provider)


def test_a_missing_key_says_where_it_may_be(provider: Provider) -> None:
    with pytest.raises(ConfigError, match="APCA_API_KEY_ID"):
        open_source(provider, key=None)


def test_a_bad_symbol_is_refused_in_alpacas_words(provider: Provider) -> None:
    with pytest.raises(DataError, match=r"400 invalid symbol: A\$PL"):
        fetch(provider, "A$PL")


def test_a_page_that_leads_to_itself_is_told(provider: Provider) -> None:
    again = Reply(200, {"bars": {"MSFT": MINUTES[:1]}, "next_page_token": "3"})
    provider.faults += [None, again, again]
    with pytest.raises(DataError, match="same page again and again"):
        fetch(provider)


def test_alpacas_clock_is_that_of_its_last_answer(provider: Provider) -> None:
    provider.date_s = 1_445_412_480
    source = open_source(provider)
    list(source.pages(EQUITY, "1d", 0, NS_PER_DAY))
    assert source.ts_server == 1_445_412_480 * 10**9


def test_unknown_adjustment_option_or_timeframe_is_refused(provider: Provider) -> None:
    with pytest.raises(ConfigError, match=r"adjustment 'split'.*'splits'"):
        open_source(provider, adjustment="split")
    with pytest.raises(ConfigError, match=r"no option 'fed'.*'feed'"):
        open_source(provider, options={"fed": "iex"})
    with pytest.raises(ConfigError, match="no bars of 7s"):
        list(open_source(provider).pages(EQUITY, "7s", 0, 1))
