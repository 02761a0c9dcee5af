"""A provider's pages as records for the importer, beside what the catalog has already."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np

from onetape.domain.errors import DataError
from onetape.domain.instrument import Instrument
from onetape.domain.timestamps import NS_PER_DAY, to_iso
from onetape.marketdata.bar_times import TimeLabel, compute_bar_times
from onetape.marketdata.bars import BAR_COLUMNS, BarColumns, BoolArray, IntArray
from onetape.marketdata.calendars import build_calendar
from onetape.marketdata.quality import RowFaults
from onetape.marketdata.source_file import SourceTable
from onetape.marketdata.sources.port import PRICES, SourcePage
from onetape.marketdata.time_column import parse_times
from onetape.marketdata.timezones import utc_to_local_days

if TYPE_CHECKING:
    import polars as pl

_FACTOR_TOLERANCE = 1e-4


def gather(pages: Iterable[SourcePage], on_page: Callable[[int, int], None]) -> SourceTable | None:
    """All pages as one table; None when they hold nothing. Each record's place is its time.

    `on_page` is told the bars so far and the time of the last one (ns).
    """
    import polars as pl

    frames: list[pl.DataFrame] = []
    places: list[IntArray] = []
    rows = 0
    for page in pages:
        if not len(page.times):
            continue
        frames.append(_to_frame(page))
        places.append(_digits(page))
        rows += len(page.times)
        on_page(rows, int(page.times[-1]) * (NS_PER_DAY if page.by_date else 1))
    if not rows:
        return None
    misshapen = np.zeros(rows, dtype=np.bool_)
    return SourceTable("", pl.concat(frames), np.concatenate(places), misshapen, "bar")


def _to_frame(page: SourcePage) -> pl.DataFrame:
    import polars as pl

    days = pl.Series(page.times).cast(pl.Int32).cast(pl.Date) if page.by_date else None
    moments = pl.Series(page.times).cast(pl.Datetime("ns", "UTC")) if days is None else days
    return pl.DataFrame({"ts": moments, **page.values})


def _digits(page: SourcePage) -> IntArray:
    """Each time as a number that people can read: 20240131, or 20240131143000."""
    unit = "datetime64[D]" if page.by_date else "datetime64[ns]"
    text = np.datetime_as_string(page.times.astype(unit), unit="D" if page.by_date else "s")
    return np.array(["".join(filter(str.isdigit, each)) for each in text.tolist()], dtype=np.int64)


def leave_out(
    table: SourceTable,
    instrument: Instrument,
    timeframe: str,
    span: tuple[int, int],
    ts_now: int,
    where: str,
) -> SourceTable:
    """Without bars that open outside `span` or are not over by `ts_now`.

    Records that can have no time stay: the importer says what is wrong with them.
    """
    import polars as pl

    faults = RowFaults(table.lines, table.place, where)
    calendar = build_calendar(instrument.calendar)
    written = parse_times(table.frame["ts"], calendar.timezone, where)
    times = compute_bar_times(
        written, timeframe, calendar, calendar.timezone, TimeLabel.START, faults
    )
    inside = (times.ts_open >= span[0]) & (times.ts_open < span[1]) & (times.ts_close <= ts_now)
    kept = inside | faults.bad
    return SourceTable(
        where, table.frame.filter(pl.Series(kept)), table.lines[kept], table.misshapen[kept],
        table.place,
    )  # fmt: skip


def prepend_stored(
    table: SourceTable, stored: BarColumns | None, instrument: Instrument
) -> SourceTable:
    """The records after stored bars, which are given the same form."""
    import polars as pl

    if stored is None:
        return table
    by_date = table.frame["ts"].dtype == pl.Date
    times = stored["ts_open"]
    if by_date:
        times = utc_to_local_days(times, build_calendar(instrument.calendar).timezone)
    values = {name: stored[name] for name in (*PRICES, "volume")}
    if "adjusted_close" in table.frame.columns:
        values["adjusted_close"] = stored["close"]
    page = SourcePage(times=times, values=values, by_date=by_date)
    frame = _to_frame(page).select(table.frame.columns)
    return SourceTable(
        table.path,
        pl.concat([frame, table.frame]),
        np.concatenate([_digits(page), table.lines]),
        np.concatenate([np.zeros(len(times), dtype=np.bool_), table.misshapen]),
        table.place,
    )


def match_stored(
    columns: BarColumns, stored: BarColumns, where: str
) -> tuple[BarColumns, list[str]]:
    """The new bars with stored ones in place of those of the same time; and what to tell.

    Raises:
        DataError: Prices of the same time differ: the provider has changed them since.
    """
    at = np.minimum(np.searchsorted(stored["ts_open"], columns["ts_open"]),
                    len(stored["ts_open"]) - 1)  # fmt: skip
    same = stored["ts_open"][at] == columns["ts_open"]
    moved = np.any([stored[name][at] != columns[name] for name in PRICES], axis=0) & same
    if moved.any():
        first = int(np.flatnonzero(moved)[0])
        raise DataError(
            f"{int(moved.sum())} stored bars have other prices now, the first at "
            f"{to_iso(int(columns['ts_open'][first]))}{_explain(columns, stored, at, moved)}",
            where=where, remedy="nothing was written; replace, from the first bar on",
        )  # fmt: skip
    volume = int((same & (stored["volume"][at] != columns["volume"])).sum())
    told = [f"{volume} stored bars have another volume now; the stored one stays"] if volume else []
    return {
        name: np.where(same, stored[name][at], columns[name]).astype(columns[name].dtype)
        for name in BAR_COLUMNS
    }, told


def _explain(columns: BarColumns, stored: BarColumns, at: IntArray, moved: BoolArray) -> str:
    """What a common factor of all prices tells."""
    factors = np.concatenate(
        [columns[name][moved] / stored[name][at][moved] for name in ("open", "close")]
    )
    if np.ptp(factors) > _FACTOR_TOLERANCE * abs(factors[0]):
        return ""
    return f", all times {factors[0]:.6g}: a split or dividend since?"
