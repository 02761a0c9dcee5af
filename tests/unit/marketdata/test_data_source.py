"""The port of research against all rows of a catalog, read without it."""

from __future__ import annotations

import numpy as np
import pytest

from onetape.domain.errors import DataError
from onetape.domain.instrument import InstrumentId, make_equity
from onetape.domain.timestamps import NS_PER_DAY, from_iso
from onetape.marketdata.catalog import Catalog
from onetape.marketdata.data_source import CatalogSource, DataSource
from onetape.marketdata.record_kinds import RecordKind

SPY = InstrumentId("SPY.ARCX")
T0 = from_iso("2024-01-05")
HOUR = 3_600_000_000_000


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """Ten daily bars, each known a day late, and quotes of two days with a weekend between."""
    made = Catalog(tmp_path_factory.mktemp("source"))
    opens = T0 + np.arange(10) * NS_PER_DAY
    ones = np.ones(10)
    made.write_bars(
        SPY, "1d",
        {"ts_open": opens, "ts_close": opens + NS_PER_DAY, "ts_known": opens + 2 * NS_PER_DAY,
         "session_close": opens + NS_PER_DAY, "quality": np.zeros(10, dtype=np.int64),
         "open": ones, "high": ones, "low": ones, "close": ones, "volume": ones},
        source="s", adjustment="none", ts_ingest=1, definition=make_equity(SPY),
    )  # fmt: skip
    ts_event = np.array([T0 + HOUR, T0 + 2 * HOUR, T0 + 3 * NS_PER_DAY + HOUR])
    made.records.write(
        RecordKind.QUOTES, SPY,
        {"ts_event": ts_event, "ts_known": ts_event + 10, "bid": np.array([1.0, 2.0, 3.0]),
         "ask": np.array([1.5, 2.5, 3.5]), "bid_size": np.ones(3), "ask_size": np.ones(3)},
        source="s", ts_ingest=1,
    )  # fmt: skip
    return made


@pytest.fixture
def source(catalog: Catalog) -> DataSource:
    return CatalogSource(catalog)


def test_bars_of_a_time_are_those_that_were_known(source: DataSource) -> None:
    start, end = T0 + NS_PER_DAY, T0 + 8 * NS_PER_DAY
    assert len(source.get_bars(SPY, "1d", start, end)["close"]) == 7
    known = source.get_bars(SPY, "1d", start, end, ts_known=T0 + 5 * NS_PER_DAY)
    assert known["ts_open"].tolist() == [T0 + day * NS_PER_DAY for day in (1, 2, 3)]
    assert len(source.get_bars(SPY, "1d", end, start)["close"]) == 0
    with pytest.raises(DataError, match=r"there are no 1h bars of SPY\.ARCX"):
        source.get_bars(SPY, "1h", start, end)


@pytest.mark.parametrize(
    ("ts_known", "bid"),
    [
        (T0, None), (T0 + HOUR + 9, None), (T0 + HOUR + 10, 1.0), (T0 + 2 * HOUR + 9, 1.0),
        (T0 + 2 * HOUR + 10, 2.0), (T0 + 3 * NS_PER_DAY + HOUR, 2.0), (T0 + 9 * NS_PER_DAY, 3.0),
        (2**63 - 1, 3.0), (0, None),
    ],
)  # fmt: skip
def test_latest_quote_is_the_newest_that_was_known(
    source: DataSource, ts_known: int, bid: float | None
) -> None:
    quote = source.get_latest_quote(SPY, ts_known=ts_known)
    assert (quote.bid if quote else None) == bid
    assert quote is None or quote.ts_known <= ts_known


def test_ticks_come_a_day_at_a_time(source: DataSource) -> None:
    kind = RecordKind.QUOTES
    days = list(source.get_historical_ticks(SPY, kind, T0, T0 + 9 * NS_PER_DAY))
    assert [day["bid"].tolist() for day in days] == [[1.0, 2.0], [3.0]]
    days = list(
        source.get_historical_ticks(SPY, kind, T0, T0 + NS_PER_DAY, ts_known=T0 + HOUR + 10)
    )
    assert [day["bid"].tolist() for day in days] == [[1.0]]
    with pytest.raises(DataError, match="funding are no ticks"):
        list(source.get_historical_ticks(SPY, RecordKind.FUNDING, 0, 1))
    with pytest.raises(DataError, match=r"there are no quotes of QQQ\.XNAS"):
        source.get_latest_quote("QQQ.XNAS")
