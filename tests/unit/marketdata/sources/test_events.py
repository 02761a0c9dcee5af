"""Corporate actions and funding of providers, through their real clients, from servers on loopback.

The numbers of Apple are its own: 2.65 a share on 2012-08-09, 7 for 1 on 2014-06-09, 4 for 1 on
2020-08-31 (its investor pages), as Yahoo gives them in shares of today.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
import yfinance
from pydantic import SecretStr

from onetape.domain.errors import ConfigError, DataError
from onetape.domain.instrument import Instrument, InstrumentKind
from onetape.domain.timestamps import NS_PER_MS, NS_PER_SECOND, from_iso
from onetape.marketdata.catalog import Catalog
from onetape.marketdata.corporate_actions import ActionRow
from onetape.marketdata.funding import FundingRow
from onetape.marketdata.pulling_events import EventsResult, find_first, pull_events
from onetape.marketdata.record_kinds import RecordKind
from onetape.marketdata.sources.alpaca import AlpacaSource
from onetape.marketdata.sources.crypto import CryptoSource
from onetape.marketdata.sources.port import BarSource, EventSource
from onetape.marketdata.sources.yahoo import YahooSource
from onetape.marketdata.stored_events import StoredEvents
from tests.support.instruments import make_instrument
from tests.support.provider_servers import (
    KEY,
    SECRET,
    Provider,
    Reply,
    alpaca,
    binance,
    make_perpetual,
    serve,
    yahoo,
)
from tests.support.pulls import MemorySource, make_access

EQUITY = make_instrument("AAPL.XNAS", calendar="hours:America/New_York:09:30-16:00")
PERP = make_instrument("BTCUSDT.BINANCE", kind=InstrumentKind.SPOT, base="BTC", currency="USDT")
ACTIONS = RecordKind.CORPORATE_ACTIONS
START, NOW = from_iso("2000-01-01"), from_iso("2024-06-01")


def open_of(day: str) -> int:
    return from_iso(f"{day}T13:30:00Z") // NS_PER_SECOND


def day_of(row: ActionRow) -> str:
    return str(date.fromordinal(719_163 + (row.day or 0)))


CHART = {
    "AAPL": [{"t": open_of("2012-08-09"), "o": 22.0, "h": 22.1, "l": 21.9, "c": 22.0, "v": 1,
              "a": 20.0}],
}  # fmt: skip


def make_events(amount: float = 0.094643, later: int = 1) -> dict[str, dict[str, dict]]:
    """As of before a split in 2024 (`later` new for one), or after it."""
    splits = {"2014-06-09": (7, 1), "2020-08-31": (4, 1)}
    if later > 1:
        splits["2024-04-01"] = (later, 1)
    return {
        "dividends": {
            str(open_of("2012-08-09")): {"amount": amount / later, "date": open_of("2012-08-09")},
            str(open_of("2024-02-09")): {"amount": 0.24 / later, "date": open_of("2024-02-09")},
        },
        "splits": {
            str(open_of(day)): {"date": open_of(day), "numerator": top, "denominator": bottom,
                                "splitRatio": f"{top}:{bottom}"}
            for day, (top, bottom) in splits.items()
        },
    }  # fmt: skip


@pytest.fixture(autouse=True)
def _cache_here(tmp_path: Path) -> None:
    yfinance.set_tz_cache_location(str(tmp_path))


def pull(
    source: BarSource, catalog: Path, instrument: Instrument = EQUITY,
    kind: RecordKind = ACTIONS, *, start: int = START, replace: bool = False, now: int = NOW,
) -> EventsResult:  # fmt: skip
    return pull_events(
        source, Catalog(catalog), instrument, kind, (start, now), replace=replace,
        clock_ns=lambda: now,
    )  # fmt: skip


def stored_actions(catalog: Path) -> list[tuple[str, str, float]]:
    rows = StoredEvents(Catalog(catalog), ACTIONS, [EQUITY.id], None).actions([EQUITY.id])
    return [(day_of(row), row.kind.value, row.value / row.divisor) for row in rows]


def test_yahoo_gives_what_was_paid_and_not_what_later_splits_made_of_it(tmp_path: Path) -> None:
    with serve(yahoo(CHART, events=make_events())) as server:
        done = pull(YahooSource(make_access(server.url)), tmp_path)
        again = pull(YahooSource(make_access(server.url)), tmp_path)
    assert (done.rows_written, done.rows, done.warnings) == (4, 4, ())
    assert stored_actions(tmp_path) == [
        ("2012-08-09", "cash_dividend", 2.65), ("2014-06-09", "split", 7.0),
        ("2020-08-31", "split", 4.0), ("2024-02-09", "cash_dividend", 0.24),
    ]  # fmt: skip
    assert again.rows_written == 0
    assert server.asked[0]["interval"] == "1d"
    assert find_first(Catalog(tmp_path), EQUITY.id, ACTIONS) == from_iso("2012-08-09")


def test_later_split_leaves_stored_dividends_as_they_are(tmp_path: Path) -> None:
    """After another 10 for 1 less is left of the decimals: times 280 they make 2.649."""
    with serve(yahoo(CHART, events=make_events())) as server:
        pull(YahooSource(make_access(server.url)), tmp_path)
    with serve(yahoo(CHART, events=make_events(0.0946, later=10))) as server:
        done = pull(YahooSource(make_access(server.url)), tmp_path)
    assert done.rows_written == 1
    assert stored_actions(tmp_path)[0] == ("2012-08-09", "cash_dividend", 2.65)
    assert stored_actions(tmp_path)[-1] == ("2024-04-01", "split", 10.0)
    assert len(done.warnings) == 1
    assert "the dividend of 2012-08-09 is 2.649 now; the stored 2.65 stays" in done.warnings[0]


def test_changed_history_is_refused_unless_replaced(tmp_path: Path) -> None:
    with serve(yahoo(CHART, events=make_events())) as server:
        pull(YahooSource(make_access(server.url)), tmp_path)
    with serve(yahoo(CHART, events=make_events(0.1))) as server:
        with pytest.raises(DataError, match="differ from those in the catalog"):
            pull(YahooSource(make_access(server.url)), tmp_path)
        assert pull(YahooSource(make_access(server.url)), tmp_path, replace=True).version == 1
    assert stored_actions(tmp_path)[0][2] == pytest.approx(2.8)
    with (
        serve(alpaca({}, actions=[{}])) as server,
        pytest.raises(DataError, match="the catalog has these records from 'yahoo'"),
    ):
        pull(open_alpaca(server), tmp_path)


def test_answer_of_yahoo_that_is_cut_off_is_asked_for_again(tmp_path: Path) -> None:
    server = yahoo(CHART, events=make_events())
    server.faults = [Reply(cut=300), Reply(429, {}), Reply(body={"chart": {"result": [{}]}})]
    with serve(server):
        assert pull(YahooSource(make_access(server.url)), tmp_path).rows_written == 4
    assert len(server.asked) == 4


def open_alpaca(server: Provider) -> AlpacaSource:
    return AlpacaSource(make_access(server.url, key=SecretStr(KEY), secret=SecretStr(SECRET)))


def test_alpaca_gives_pay_dates_and_tells_what_it_can_not_say(tmp_path: Path) -> None:
    """Fields as in alpaca-py's models of corporate actions."""
    own = {"symbol": "AAPL", "cusip": "037833100"}
    pages = [
        {
            "cash_dividends": [
                {**own, "rate": 0.24, "special": False, "foreign": False,
                 "process_date": "2024-02-15", "ex_date": "2024-02-09",
                 "payable_date": "2024-02-15"},
                {**own, "symbol": "OTHER", "rate": 9, "process_date": "2024-02-15",
                 "ex_date": "2024-02-09"},
                {**own, "rate": 0.25, "process_date": "2024-08-15", "ex_date": "2024-08-12"},
            ],
            "forward_splits": [
                {**own, "new_rate": 4, "old_rate": 1, "process_date": "2020-08-31",
                 "ex_date": "2020-08-31"},
            ],
        },
        {
            "spin_offs": [
                {"source_symbol": "AAPL", "new_symbol": "PEAR", "source_rate": 1, "new_rate": 0.1,
                 "process_date": "2023-01-09", "ex_date": "2023-01-09"},
            ],
            "stock_dividends": [
                {**own, "rate": 0.05, "process_date": "2022-01-10", "ex_date": "2022-01-07"},
            ],
            "worthless_removals": [{**own, "process_date": "2024-05-01"}],
            "cash_mergers": [
                {"acquirer_symbol": "AAPL", "acquiree_symbol": "BEATS", "rate": 3,
                 "process_date": "2014-08-01", "effective_date": "2014-08-01"},
            ],
        },
    ]  # fmt: skip
    with serve(alpaca({}, actions=pages)) as server:
        server.faults = [Reply(500, {"message": "later"}), Reply(cut=20)]
        done = pull(open_alpaca(server), tmp_path)
    assert done.rows_written == 4
    assert done.warnings == (
        "the spin off of 2023-01-09 is not taken: say it in a file, "
        "with the id of the other shares",
    )
    assert stored_actions(tmp_path) == [
        ("2020-08-31", "split", 4.0), ("2022-01-07", "stock_dividend", 0.05),
        ("2024-02-09", "cash_dividend", 0.24), ("2024-05-01", "delisting", 0.0),
    ]  # fmt: skip
    rows = StoredEvents(Catalog(tmp_path), ACTIONS, [EQUITY.id], None).actions([EQUITY.id])
    assert [row.pay_day for row in rows] == [None, None, 19_768, None]
    assert server.asked[0]["symbols"] == "AAPL"
    assert (server.asked[0]["start"], server.asked[0]["end"]) == ("2000-01-01", "2025-06-02")


FUNDING = [
    {"symbol": "BTCUSDT", "fundingTime": from_iso("2024-01-01") // NS_PER_MS + hour * 3_600_000,
     "fundingRate": rate, "markPrice": mark}
    for hour, rate, mark in (
        (0, "0.00010000", "42313.90000000"), (8, "-0.00037409", "42500"), (16, "0.00001", ""),
        (24, "0.00063521", "44000.5"), (32, "0.0001", "45000"),
    )
]  # fmt: skip


def test_funding_comes_page_by_page_with_its_marks_and_goes_on(tmp_path: Path) -> None:
    """Fields as Binance documents `GET /fapi/v1/fundingRate`."""
    kind = RecordKind.FUNDING
    server = binance({}, [make_perpetual("BTC", "USDT")], FUNDING[:4])
    with serve(server):
        access = make_access(server.url, options={"type": "swap"})
        server.faults = [Reply(cut=30)]
        done = pull(CryptoSource("binance", access), tmp_path, PERP, kind)
    assert (done.rows_written, done.warnings) == (4, ())
    rows = StoredEvents(Catalog(tmp_path), kind, [PERP.id], None).funding()
    assert [(row.rate, row.mark) for row in rows] == [
        (0.0001, 42313.9), (-0.00037409, 42500.0), (0.00001, 0.0), (0.00063521, 44000.5),
    ]  # fmt: skip
    first = find_first(Catalog(tmp_path), PERP.id, kind)
    assert first == FUNDING[3]["fundingTime"] * NS_PER_MS
    server = binance({}, [make_perpetual("BTC", "USDT")], FUNDING)
    with serve(server):
        access = make_access(server.url, options={"type": "swap"})
        done = pull(CryptoSource("binance", access), tmp_path, PERP, kind, start=first)
    assert (done.rows_written, done.rows) == (1, 5)
    assert int(server.asked[0]["startTime"]) == FUNDING[3]["fundingTime"]


def test_provider_without_such_records_says_so(tmp_path: Path) -> None:
    assert not isinstance(MemorySource(), EventSource)
    with pytest.raises(ConfigError, match="memory gives no corporate actions"):
        pull(MemorySource(), tmp_path)
    with serve(yahoo(CHART)) as server, pytest.raises(ConfigError, match="yahoo gives no funding"):
        pull(YahooSource(make_access(server.url)), tmp_path, kind=RecordKind.FUNDING)


def test_rows_are_of_the_kind_that_was_asked_for() -> None:
    with serve(binance({}, [make_perpetual("BTC", "USDT")], FUNDING)) as server:
        source = CryptoSource("binance", make_access(server.url, options={"type": "swap"}))
        answer = source.events(PERP, RecordKind.FUNDING, START, NOW)
    assert all(isinstance(row, FundingRow) for row in answer.rows)
