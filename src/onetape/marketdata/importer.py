"""From a file to checked bars. Nothing is written here, and nothing is guessed.

A row that can't be a bar refuses the whole file, unless the caller allows a repair for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from onetape.domain.errors import DataError
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.market import BAR_FLOAT_COLUMNS, Quality
from onetape.domain.nearest import nearest
from onetape.domain.timestamps import timeframe_ns
from onetape.marketdata.bar_times import TimeLabel, compute_bar_times
from onetape.marketdata.bars import BarColumns, BoolArray, FloatArray, IntArray
from onetape.marketdata.calendars import SessionCalendar, build_calendar
from onetape.marketdata.column_roles import (
    PRICE_ROLES,
    ColumnRoles,
    find_column,
    resolve_roles,
)
from onetape.marketdata.gaps import check_timeframe, find_gaps, find_rows_after
from onetape.marketdata.quality import (
    Repair,
    RowFaults,
    find_grid_faults,
    find_order_faults,
    find_price_faults,
    warn_off_grid,
    widen_for_rounding,
)
from onetape.marketdata.source_file import SourceTable, read_source
from onetape.marketdata.symbol_map import SymbolSpan, find_rows
from onetape.marketdata.time_column import parse_times
from onetape.marketdata.timezones import check_timezone, utc_to_local_days

if TYPE_CHECKING:
    import polars as pl


class ImportOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to read a file.

    Args:
        column_map: Column name to role (`ts`, `open`, `high`, `low`, `close`, `volume`, or `-` to
            leave it out); other columns are found by their usual names.
        where: Column name to the text it must have: picks one symbol out of a file of several.
        timezone: IANA zone of times without an offset, and of the midnights that bound `24/7`
            days. Empty: the zone of the instrument's calendar.
        label: Whether the file's time is the bar's start or its end.
        adjust_by: Column with the vendor's adjusted close. Open, high, low and close of each row
            are multiplied by adjusted close / close, so splits and dividends leave no jump.
            Volume stays as it is.
        repairs: What may be changed; see `Repair`.
        publication_delay_ns: How long after its close a bar can be known.
        source: Provenance to record; the file's name when empty.
        dataset: Which table of an HDF5 file; empty: the only one.
        symbols: Which symbol stood for the instrument when; empty: the file is the instrument's.
        symbol: The symbol that the file is of; or
        symbol_column: the column that has it.
    """

    column_map: dict[str, str] = {}
    where: dict[str, str] = {}
    timezone: str = ""
    label: TimeLabel = TimeLabel.START
    adjust_by: str | None = None
    repairs: frozenset[Repair] = frozenset()
    publication_delay_ns: int = 0
    source: str = ""
    dataset: str = ""
    symbols: tuple[SymbolSpan, ...] = ()
    symbol: str = ""
    symbol_column: str = ""


class ImportResult(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Checked bars of one instrument, in time order, and what was done to get them.

    `adjustment` is `vendor` or `none`. `repaired` counts rows by repair; `warnings` says what is
    worth knowing but refused nothing. `records` is how many rows of the file were considered.
    """

    instrument: InstrumentId
    timeframe: str
    columns: BarColumns
    source: str
    adjustment: str
    records: int
    repaired: dict[Repair, int]
    warnings: tuple[str, ...]


def import_bars(
    path: Path,
    instrument: Instrument,
    timeframe: str,
    options: ImportOptions | None = None,
    *,
    ts_now: int,
) -> ImportResult:
    """Reads and checks the bars of one instrument.

    `path` is a file that `read_source` takes; the rest is that of `check_bars`.
    """
    dataset = options.dataset if options else ""
    return check_bars(read_source(path, dataset), instrument, timeframe, options, ts_now=ts_now)


def check_bars(
    records: SourceTable,
    instrument: Instrument,
    timeframe: str,
    options: ImportOptions | None = None,
    *,
    ts_now: int,
) -> ImportResult:
    """Checks the bars of one instrument.

    Args:
        records: As a file or a provider gave them.
        instrument: Whose bars these are; its calendar gives the sessions.
        timeframe: Length of each bar, like `1m` or `1d`.
        options: How to read the file.
        ts_now: The caller's clock, ns UTC: a bar that is not over by then is a fault.

    Raises:
        DataError: The file can't be read, a column is missing, an option is wrong, or rows are bad
            (all listed with their lines) and their repair was not allowed.
    """
    options = options or ImportOptions()
    calendar, timezone = _build_clock(instrument, timeframe, options)
    table = select_records(records, options.where)
    roles = resolve_roles(table.frame.columns, options.column_map, options.adjust_by, table.path)
    table = select_symbols(table, roles.column["ts"], options, timezone)
    faults = RowFaults(table.lines, table.place, table.path, table.frame)
    faults.add("number of fields is not that of the header", table.misshapen)
    written = parse_times(table.frame[roles.column["ts"]], timezone, table.path)
    times = compute_bar_times(written, timeframe, calendar, timezone, options.label, faults)
    timeless = faults.bad
    faults.add("bar is not over yet", times.ts_close > ts_now)
    values, widened = _read_values(table, roles, instrument, faults)
    find_order_faults(faults, times.ts_open)
    faults.refuse_unless(options.repairs)
    faults.refuse_when_all_bad()

    dropped, repeated = faults.rows(Repair.DROP_BAD), faults.rows(Repair.DROP_DUPLICATES)
    kept = np.delete(np.arange(len(times.days)), np.concatenate([dropped, repeated]))
    rows = kept[np.argsort(times.ts_open[kept], kind="stable")]
    ordered = times.take(rows)
    check_timeframe(ordered, timeframe, table.path)
    gap = find_gaps(ordered, timeframe, calendar)
    off_grid = warn_off_grid((values[role][rows] for role in PRICE_ROLES), instrument.tick_float)
    warnings = (*_warn(roles, widened[rows], gap, rows, faults), *off_grid)
    gap[find_rows_after(dropped, timeless, times.ts_open, rows)] = True
    repaired = widened[rows] | _had_other_values(times.ts_open, values, repeated, rows)
    columns: BarColumns = {
        "ts_open": ordered.ts_open,
        "ts_close": ordered.ts_close,
        "ts_known": ordered.ts_close + options.publication_delay_ns,
        "session_close": ordered.session_close,
        "quality": gap * int(Quality.GAP_BEFORE) + repaired * int(Quality.REPAIRED),
        **{name: values[name][rows] for name in BAR_FLOAT_COLUMNS},
    }
    return ImportResult(
        instrument=instrument.id,
        timeframe=timeframe,
        columns=columns,
        source=options.source or Path(table.path).name,
        adjustment="vendor" if options.adjust_by else "none",
        records=len(table.lines),
        repaired={each: len(faults.rows(each)) for each in Repair if len(faults.rows(each))},
        warnings=warnings,
    )


def _build_clock(
    instrument: Instrument, timeframe: str, options: ImportOptions
) -> tuple[SessionCalendar, str]:
    """The calendar, and the zone of times without an offset."""
    timeframe_ns(timeframe, error=DataError)
    if options.publication_delay_ns < 0:
        raise DataError(
            f"publication_delay_ns {options.publication_delay_ns} is negative",
            remedy="a bar can't be known before its close",
        )
    calendar = build_calendar(instrument.calendar, options.timezone)
    timezone = options.timezone or calendar.timezone
    check_timezone(timezone)
    return calendar, timezone


def select_records(table: SourceTable, where: Mapping[str, str]) -> SourceTable:
    """The records that have these texts; misshapen ones stay, for nobody knows whose they are."""
    import polars as pl

    chosen = np.ones(len(table.lines), dtype=np.bool_)
    for name, text in where.items():
        column = table.frame[find_column(name, table.frame.columns, table.path)]
        cells = column.cast(pl.String).str.strip_chars()
        same = (cells == text).fill_null(False).to_numpy()
        if not same.any():
            raise DataError(
                f"no row has {name} {text!r}", where=table.path,
                remedy=nearest(text, sorted(cells.drop_nulls().unique().to_list())),
            )  # fmt: skip
        chosen &= same | table.misshapen
    return _keep(table, chosen)


def _keep(table: SourceTable, chosen: BoolArray) -> SourceTable:
    import polars as pl

    if chosen.all():
        return table
    return SourceTable(
        table.path,
        table.frame.filter(pl.Series(chosen)),
        table.lines[chosen],
        table.misshapen[chosen],
        table.place,
    )


def select_symbols(
    table: SourceTable, ts_column: str, options: ImportOptions, timezone: str
) -> SourceTable:
    """The records whose symbol stood for the instrument on their local day.

    Records without a readable time stay, for nobody knows whose they are.

    Raises:
        DataError: No record is left, or there is no such column.
    """
    import polars as pl

    if not options.symbols:
        return table
    symbols: str | list[str] = options.symbol
    if options.symbol_column:
        name = find_column(options.symbol_column, table.frame.columns, table.path)
        symbols = table.frame[name].cast(pl.String).fill_null("").str.strip_chars().to_list()
    written = parse_times(table.frame[ts_column], timezone, table.path)
    days = written.values
    if not written.is_date:
        days = utc_to_local_days(days, timezone)
    chosen = find_rows(options.symbols, days, symbols)
    if not chosen.any():
        spans = ", ".join(each.symbol for each in options.symbols)
        raise DataError(f"no row is of the symbols {spans} in their time", where=table.path,
                        remedy="look into the file of symbols")  # fmt: skip
    return _keep(table, chosen | written.unreadable | table.misshapen)


def _read_values(
    table: SourceTable, roles: ColumnRoles, instrument: Instrument, faults: RowFaults
) -> tuple[dict[str, FloatArray], BoolArray]:
    """Prices (adjusted if asked) and volume, and the rows whose high or low was widened."""

    def numbers(name: str) -> FloatArray:
        return read_numbers(table.frame[name], table.path)

    prices = {role: numbers(roles.column[role]) for role in PRICE_ROLES}
    volume = np.zeros(len(table.lines))
    if "volume" in roles.column:
        volume = numbers(roles.column["volume"]) + 0.0  # no negative zero: it would hash otherwise
    widened = widen_for_rounding(prices)
    find_price_faults(faults, prices, volume)
    if roles.adjusted_close:
        with np.errstate(all="ignore"):  # bad rows give infinities; they are faults already
            factor = numbers(roles.adjusted_close) / prices["close"]
            prices = {role: price * factor for role, price in prices.items()}
        usable = np.all([np.isfinite(price) & (price > 0) for price in prices.values()], axis=0)
        faults.add(f"{roles.adjusted_close} gives no positive price", ~usable)
    for role, price in prices.items():
        find_grid_faults(faults, role, price, instrument.tick_float)
    return {**prices, "volume": volume}, widened


def read_numbers(column: pl.Series, where: str) -> FloatArray:
    """float64 of a column; NaN where it holds no number."""
    import polars as pl

    if column.dtype == pl.String:
        column = column.str.strip_chars()
    elif not column.dtype.is_numeric():
        raise DataError(f"column {column.name!r} is {column.dtype}, not numbers", where=where)
    return column.cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()


def _had_other_values(
    at: IntArray, values: Mapping[str, FloatArray], repeated: IntArray, rows: IntArray
) -> BoolArray:
    """Which of `rows` had a repetition that says something else."""
    keeper = rows[np.searchsorted(at[rows], at[repeated])]
    differs = np.any([column[repeated] != column[keeper] for column in values.values()], axis=0)
    return np.isin(rows, keeper[differs])


def _warn(
    roles: ColumnRoles, widened: BoolArray, gap: BoolArray, rows: IntArray, faults: RowFaults
) -> tuple[str, ...]:
    warnings: list[str] = []
    if roles.adjustable_by:
        warnings.append(
            f"column {roles.adjustable_by!r} is not used: prices are not adjusted, so a split or "
            "a dividend looks like a jump (import with --adjust-by to adjust them)"
        )
    if "volume" not in roles.column:
        warnings.append("there is no volume column: volume is 0 in every bar")
    if widened.any():
        warnings.append(f"high or low widened for float rounding: {faults.places(rows[widened])}")
    if gap.any():
        warnings.append(f"gaps before {faults.places(rows[gap])}")
    return tuple(warnings)
