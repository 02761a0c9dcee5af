"""A provider's symbols that have changed: each is asked for on its own days."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from onetape.domain.instrument import Instrument
from onetape.domain.market import CorporateActionKind
from onetape.domain.timestamps import NS_PER_DAY, from_iso
from onetape.marketdata.catalog import Catalog
from onetape.marketdata.corporate_actions import ActionRow
from onetape.marketdata.pulling import PullOptions, pull_bars
from onetape.marketdata.record_kinds import RecordKind
from onetape.marketdata.sources.port import EventAnswer, SourceAccess, SourcePage
from onetape.marketdata.sources.renamed import RenamedSource
from onetape.marketdata.symbol_map import SymbolSpan, read_symbol_map
from tests.support.instruments import make_instrument
from tests.support.pulls import MemorySource, make_access
from tests.support.shared_data import SHARED, needs_shared

GOOGL = make_instrument("GOOGL.XNAS", calendar="hours:America/New_York:09:30-16:00")
PRICE = {"GOOG": 1.0, "GOOGL": 2.0}
EVER = 2**31
CLOCK = from_iso("2014-05-01")


class Tickers(MemorySource):
    """Every symbol has a bar a day, or an hour, for all time: prices tell which symbol it was."""

    event_kinds = (RecordKind.CORPORATE_ACTIONS,)

    def __init__(self, access: SourceAccess, *, by_date: bool = True) -> None:
        super().__init__(name="tickers", factor=PRICE[access.symbol])
        self.symbol = access.symbol
        self.by_date = by_date
        self.ts_server = CLOCK + len(access.symbol)

    def pages(
        self, instrument: Instrument, timeframe: str, start: int, end: int
    ) -> Iterator[SourcePage]:
        for page in super().pages(instrument, timeframe, start, end):
            if not self.by_date:
                yield page
                continue
            days = page.times // NS_PER_DAY
            weekday = (days + 3) % 7 < 5
            values = {name: column[weekday] for name, column in page.values.items()}
            yield SourcePage(times=days[weekday], values=values, by_date=True)

    def events(self, instrument: Instrument, kind: RecordKind, start: int, now: int) -> EventAnswer:
        rows = [
            ActionRow(where="", instrument=instrument.id, kind=CorporateActionKind.CASH_DIVIDEND,
                      day=day, ts=None, value=PRICE[self.symbol], divisor=1.0)
            for day in range(16_160, 16_166)
        ]  # fmt: skip
        return EventAnswer(rows=tuple(rows), warnings=("told",))


LAST = from_iso("2014-04-02") // NS_PER_DAY
SPANS = (SymbolSpan(symbol="GOOG", first=-EVER, last=LAST),
         SymbolSpan(symbol="GOOGL", first=LAST + 1, last=EVER))  # fmt: skip


def open_hours(access: SourceAccess) -> Tickers:
    return Tickers(access, by_date=False)


def test_one_instrument_is_pulled_across_its_rename(tmp_path: Path) -> None:
    source = RenamedSource(Tickers, make_access(), SPANS)
    catalog = Catalog(tmp_path)
    for end in ("2014-04-02", "2014-04-10"):  # goes on from what is stored
        span = (from_iso("2014-03-24"), from_iso(end))
        pull_bars(source, catalog, GOOGL, "1d", span, PullOptions(window_bars=4),
                  clock_ns=lambda: from_iso("2014-05-01"))  # fmt: skip
    bars = catalog.read_bars("GOOGL.XNAS", "1d")
    days = bars["ts_open"] // NS_PER_DAY
    assert days.tolist() == [d for d in range(LAST - 9, LAST + 8) if (d + 3) % 7 < 5]
    is_new = days > LAST
    assert 0 < is_new.sum() < len(days)
    factor = np.where(is_new, 2.0, 1.0)
    assert np.array_equal(bars["close"], (100.5 + days % 37) * factor)


def test_hours_belong_to_the_symbol_of_their_local_day() -> None:
    """2014-04-02 in New York ends at 04:00 UTC of the third."""
    source = RenamedSource(open_hours, make_access(), SPANS)
    span = (from_iso("2014-04-02T00:00:00Z"), from_iso("2014-04-04T00:00:00Z"))
    pages = list(source.pages(GOOGL, "1h", *span))
    times = np.concatenate([page.times for page in pages])
    factor = np.concatenate([page.values["open"] for page in pages]) / (
        100.0 + times // 3_600_000_000_000 % 37
    )
    assert times.tolist() == sorted(times.tolist())
    assert len(times) == 48
    assert np.array_equal(factor, np.where(times < from_iso("2014-04-03T04:00:00Z"), 1.0, 2.0))
    assert source.ts_server == CLOCK + len("GOOGL")


def test_days_of_no_symbol_have_no_bars_and_a_symbol_is_not_asked_for_others_days() -> None:
    spans = (SymbolSpan(symbol="GOOG", first=LAST - 20, last=LAST - 15), SPANS[1])
    source = RenamedSource(Tickers, make_access(), spans)
    pages = list(source.pages(GOOGL, "1d", from_iso("2014-03-27"), from_iso("2014-04-05")))
    days = np.concatenate([page.times for page in pages]).tolist()
    assert days == [LAST + 1, LAST + 2]


def test_actions_are_of_the_symbol_of_their_day() -> None:
    source = RenamedSource(Tickers, make_access(), SPANS)
    answer = source.events(GOOGL, RecordKind.CORPORATE_ACTIONS, 0, from_iso("2014-05-01"))
    assert [(row.day, row.value) for row in answer.rows if isinstance(row, ActionRow)] == [
        (day, 1.0 if day <= LAST else 2.0) for day in range(16_160, 16_166)
    ]
    assert answer.warnings == ("told",)
    assert source.event_kinds == (RecordKind.CORPORATE_ACTIONS,)


@needs_shared
@pytest.mark.parametrize(("name", "symbols"), [("googl", ["GOOG", "GOOGL"]), ("spy", ["SPY"])])
def test_map_files_of_lean_name_symbols_as_providers_write_them(
    name: str, symbols: list[str]
) -> None:
    spans = read_symbol_map(SHARED / f"equity_us/map_files/{name}.csv", f"{name.upper()}.XNAS")
    assert [each.symbol for each in spans] == symbols
