"""Market data of the past for research, by time and by what was known then; no session needed.

`onetape.data` gives frames to people; this is the port for programs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from onetape.domain.errors import DataError
from onetape.domain.instrument import InstrumentId
from onetape.domain.market import QuoteTick
from onetape.domain.numbers import INT64_MAX
from onetape.domain.timestamps import NS_PER_DAY
from onetape.marketdata.bars import BarColumns
from onetape.marketdata.catalog import Catalog
from onetape.marketdata.record_kinds import RecordColumns, RecordKind


class DataSource(Protocol):
    """Bars, quotes and ticks; times are ns UTC, and nothing known after `ts_known` is given."""

    def get_bars(
        self, instrument: str, timeframe: str, start: int, end: int, *, ts_known: int = INT64_MAX
    ) -> BarColumns:
        """The bars that open from `start` up to but not including `end`; there may be none.

        Raises:
            DataError: There is no such dataset.
        """
        ...

    def get_latest_quote(self, instrument: str, *, ts_known: int = INT64_MAX) -> QuoteTick | None:
        """The newest quote that was known; None before the first.

        Raises:
            DataError: There are no quotes of the instrument.
        """
        ...

    def get_historical_ticks(
        self, instrument: str, kind: RecordKind, start: int, end: int, *, ts_known: int = INT64_MAX
    ) -> Iterator[RecordColumns]:
        """Prints, quotes or changes of the depth from `start` up to but not including `end`.

        They come a day at a time, so memory is that of one day.

        Raises:
            DataError: There is no such dataset, or `kind` is none of ticks.
        """
        ...


class CatalogSource:
    """A `DataSource` of one catalog, each time at its newest version."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def get_bars(
        self, instrument: str, timeframe: str, start: int, end: int, *, ts_known: int = INT64_MAX
    ) -> BarColumns:
        """See `DataSource`."""
        columns = self._catalog.read_bars(instrument, timeframe)
        opens = columns["ts_open"]
        taken = (opens >= start) & (opens < end) & (columns["ts_known"] <= ts_known)
        return {name: column[taken] for name, column in columns.items()}

    def get_latest_quote(self, instrument: str, *, ts_known: int = INT64_MAX) -> QuoteTick | None:
        """See `DataSource`; reads back day by day from the last one on."""
        kind = RecordKind.QUOTES
        facts = {
            each.dataset: each
            for each in self._catalog.records.datasets()
            if each.kind == kind.value
        }
        if instrument not in facts:
            self._catalog.records.read(kind, instrument)  # which says what there is
        stored = facts[instrument]
        first = stored.ts_first // NS_PER_DAY
        for day in range(min(ts_known, stored.ts_last) // NS_PER_DAY, first - 1, -1):
            rows = self._catalog.records.read(
                kind, instrument, ts_start=day * NS_PER_DAY, ts_end=(day + 1) * NS_PER_DAY
            ).columns
            known = np.flatnonzero(rows["ts_known"] <= ts_known)
            if len(known):
                at = int(known[-1])
                bid, ask, bid_size, ask_size = (float(rows[name][at]) for name in _QUOTE)
                return QuoteTick(
                    instrument=InstrumentId(instrument), ts_event=int(rows["ts_event"][at]),
                    ts_known=int(rows["ts_known"][at]), source="catalog",
                    quality=int(rows["quality"][at]), bid=bid, ask=ask,
                    bid_size=bid_size, ask_size=ask_size,
                )  # fmt: skip
        return None

    def get_historical_ticks(
        self, instrument: str, kind: RecordKind, start: int, end: int, *, ts_known: int = INT64_MAX
    ) -> Iterator[RecordColumns]:
        """See `DataSource`."""
        if not kind.by_day:
            raise DataError(f"{kind.value} are no ticks", remedy="trades, quotes and book are")
        days = self._catalog.records.stream(kind, instrument, ts_start=start, ts_end=end)
        for columns in days:
            taken = columns["ts_known"] <= ts_known
            if taken.any():
                yield {name: column[taken] for name, column in columns.items()}


_QUOTE = ("bid", "ask", "bid_size", "ask_size")
