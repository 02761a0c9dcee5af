"""From a file to checked prints or quotes. Nothing is written here, and nothing is guessed.

| role                   | of     | is                                                     |
| ---------------------- | ------ | ------------------------------------------------------ |
| `ts`                   | both   | when it was true                                       |
| `ts_known`             | both   | when it could be known; else `ts` and the delay        |
| `id`                   | both   | the provider's number of the row, of which each is one |
| `price`, `size`        | prints | of the print                                           |
| `aggressor`            | prints | who crossed the spread: `buy`, `sell`, or nothing      |
| `is_buyer_maker`       | prints | the same the other way: `true` where a seller did      |
| `bid`, `ask`           | quotes | best prices; empty where the size is 0                 |
| `bid_size`, `ask_size` | quotes | what stands there; 0: the side is empty                |

Two prints may be alike in all that a file tells. Without `id` both are kept, and told; with it the
second of one number is refused, or dropped where that repair is allowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from onetape.domain.errors import DataError
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.market import AggressorSide, Quality
from onetape.domain.timestamps import NS_PER_DAY
from onetape.marketdata.bar_spans import list_sessions
from onetape.marketdata.bars import BoolArray, FloatArray, IntArray
from onetape.marketdata.calendars import SessionCalendar, build_calendar
from onetape.marketdata.column_roles import assign_columns
from onetape.marketdata.gaps import find_rows_after
from onetape.marketdata.importer import (
    ImportOptions,
    read_numbers,
    select_records,
    select_symbols,
)
from onetape.marketdata.quality import Repair, RowFaults, find_grid_faults, warn_off_grid
from onetape.marketdata.record_kinds import RecordColumns, RecordKind, complete_records
from onetape.marketdata.source_file import SourceTable, read_source
from onetape.marketdata.time_column import TIME_FORMS, parse_times
from onetape.marketdata.timezones import check_timezone

if TYPE_CHECKING:
    import polars as pl

_TIMES = {
    "ts": ("ts", "time", "timestamp", "datetime", "date", "tsevent", "tradetime", "eventtime"),
    "ts_known": ("tsknown", "tsreceived", "tsrecv", "localtimestamp"),
    "id": ("id", "tradeid", "aggtradeid"),
}
_ALIASES: dict[RecordKind, dict[str, tuple[str, ...]]] = {
    RecordKind.TRADES: {
        **_TIMES,
        "price": ("price", "p"),
        "size": ("size", "qty", "quantity", "volume", "amount", "q"),
        "aggressor": ("aggressor", "side", "takerside"),
        "is_buyer_maker": ("isbuyermaker",),
    },
    RecordKind.QUOTES: {
        **_TIMES,
        "bid": ("bid", "bidprice", "bestbid", "bestbidprice"),
        "ask": ("ask", "askprice", "bestask", "bestaskprice", "offer"),
        "bid_size": ("bidsize", "bidqty", "bidvolume", "bestbidqty", "bidamount"),
        "ask_size": ("asksize", "askqty", "askvolume", "bestaskqty", "askamount"),
    },
}
_OPTIONAL = ("ts_known", "id", "aggressor", "is_buyer_maker")
_BUYER, _SELLER, _UNKNOWN = (
    int(AggressorSide.BUYER), int(AggressorSide.SELLER), int(AggressorSide.UNKNOWN)
)  # fmt: skip
_AGGRESSORS = {
    "buy": _BUYER, "buyer": _BUYER, "b": _BUYER, "1": _BUYER, "sell": _SELLER, "seller": _SELLER,
    "s": _SELLER, "-1": _SELLER, "": _UNKNOWN, "0": _UNKNOWN, "unknown": _UNKNOWN,
}  # fmt: skip
_MAKERS = {"true": _SELLER, "false": _BUYER, "1": _SELLER, "0": _BUYER}

TICK_KINDS = {kind.value: kind for kind in _ALIASES}
"""What can be imported beside bars, by the name that stands for the timeframe."""


class TickImport(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Checked rows of one instrument, in time order, and what was done to get them.

    `repaired` counts rows by repair; `warnings` says what is worth knowing but refused nothing.
    `records` is how many rows of the file were considered.
    """

    instrument: InstrumentId
    kind: RecordKind
    columns: RecordColumns
    source: str
    records: int
    repaired: dict[Repair, int]
    warnings: tuple[str, ...]


def import_ticks(
    path: Path,
    instrument: Instrument,
    kind: RecordKind,
    options: ImportOptions | None = None,
    *,
    ts_now: int,
) -> TickImport:
    """Reads and checks the prints or quotes of one instrument.

    `path` is a file that `read_source` takes; the rest is that of `check_ticks`.
    """
    dataset = options.dataset if options else ""
    return check_ticks(read_source(path, dataset), instrument, kind, options, ts_now=ts_now)


def check_ticks(
    records: SourceTable,
    instrument: Instrument,
    kind: RecordKind,
    options: ImportOptions | None = None,
    *,
    ts_now: int,
) -> TickImport:
    """Checks the prints or quotes of one instrument.

    Each row counts toward the session of the instrument's calendar that is open then, else toward
    the next one.

    Args:
        records: As a file gave them.
        instrument: Whose they are.
        kind: `TRADES` or `QUOTES`.
        options: How to read the file; what is of bars is not used.
        ts_now: The caller's clock, ns UTC: a row from later is a fault.

    Raises:
        DataError: The file can't be read, a column is missing, an option is wrong, or rows are bad
            (all listed with their lines) and their repair was not allowed.
    """
    options = options or ImportOptions()
    if options.publication_delay_ns < 0:
        raise DataError(f"publication_delay_ns {options.publication_delay_ns} is negative",
                        remedy="nothing is known before it happens")  # fmt: skip
    calendar = build_calendar(instrument.calendar, options.timezone)
    timezone = options.timezone or calendar.timezone
    check_timezone(timezone)
    table = select_records(records, options.where)
    roles = assign_columns(
        table.frame.columns, options.column_map, _ALIASES[kind], _OPTIONAL, table.path
    )
    table = select_symbols(table, roles["ts"], options, timezone)
    faults = RowFaults(table.lines, table.place, table.path, table.frame)
    faults.add("number of fields is not that of the header", table.misshapen)
    ts_event = _read_times(table, roles["ts"], timezone, faults)
    timeless = faults.bad
    faults.add("time is in the future", ts_event > ts_now)
    ts_known = ts_event + options.publication_delay_ns
    if "ts_known" in roles:
        ts_known = _read_times(table, roles["ts_known"], timezone, faults)
        faults.add("is known before it happened", ts_known < ts_event)
    read = _read_trades if kind is RecordKind.TRADES else _read_quotes
    values = read(table, roles, faults)
    prices = {
        name: values[name].astype(np.float64) for name in ("price", "bid", "ask") if name in values
    }
    for name, price in prices.items():
        find_grid_faults(faults, name, price, instrument.tick_float)
    _find_order_faults(faults, ts_event, table.frame[roles["id"]] if "id" in roles else None)
    faults.refuse_unless(options.repairs)
    faults.refuse_when_all_bad()

    dropped, repeated = faults.rows(Repair.DROP_BAD), faults.rows(Repair.DROP_DUPLICATES)
    kept = np.delete(np.arange(len(ts_event)), np.concatenate([dropped, repeated]))
    rows = kept[np.argsort(ts_event[kept], kind="stable")]
    gap = np.zeros(len(rows), dtype=np.int64)
    gap[find_rows_after(dropped, timeless, ts_event, rows)] = int(Quality.GAP_BEFORE)
    columns = complete_records(
        kind,
        {
            "ts_event": ts_event[rows],
            "ts_known": ts_known[rows],
            "session_close": _find_session_closes(calendar, ts_event[rows]),
            "quality": gap,
            **{name: column[rows] for name, column in values.items()},
        },
        table.path,
    )
    return TickImport(
        instrument=instrument.id,
        kind=kind,
        columns=columns,
        source=options.source or Path(table.path).name,
        records=len(table.lines),
        repaired={each: len(faults.rows(each)) for each in Repair if len(faults.rows(each))},
        warnings=(
            *_warn_of_twins(kind, columns, has_id="id" in roles),
            *warn_off_grid((price[rows] for price in prices.values()), instrument.tick_float),
        ),
    )


def _read_times(table: SourceTable, name: str, timezone: str, faults: RowFaults) -> IntArray:
    written = parse_times(table.frame[name], timezone, table.path)
    if written.is_date and not written.unreadable.all():
        raise DataError(f"column {name!r} has dates, and ticks need times", where=table.path,
                        remedy="name a column with times: --map COLUMN=ts")  # fmt: skip
    faults.add(f"{name} can't be read as a time", written.unreadable, remedy=TIME_FORMS)
    faults.add(f"{name} is a local time that a clock change skips or repeats", written.unreal)
    return written.values


def _read_trades(
    table: SourceTable, roles: Mapping[str, str], faults: RowFaults
) -> dict[str, IntArray | FloatArray]:
    price = read_numbers(table.frame[roles["price"]], table.path)
    size = read_numbers(table.frame[roles["size"]], table.path) + 0.0  # no negative zero
    _find_number_faults(faults, "price", price, price <= 0, "not positive")
    _find_number_faults(faults, "size", size, size < 0, "negative")
    if {"aggressor", "is_buyer_maker"} <= roles.keys():
        raise DataError(
            f"columns {roles['aggressor']!r} and {roles['is_buyer_maker']!r} both tell the "
            "aggressor", where=table.path, remedy=f"leave one out: \"{roles['aggressor']}=-\"",
        )  # fmt: skip
    values: dict[str, IntArray | FloatArray] = {"price": price, "size": size}
    for role, words in (("aggressor", _AGGRESSORS), ("is_buyer_maker", _MAKERS)):
        if role in roles:
            values["aggressor"] = _read_words(table.frame[roles[role]], words, faults)
    return values


def _read_words(column: pl.Series, words: Mapping[str, int], faults: RowFaults) -> IntArray:
    """What the words of a column stand for."""
    import polars as pl

    text = column.cast(pl.String).fill_null("").str.strip_chars().str.to_lowercase()
    strange = ~text.is_in(list(words)).to_numpy()
    faults.add(f"{column.name} is none of {', '.join(filter(None, words))}", strange)
    return text.replace_strict(words, default=0, return_dtype=pl.Int64).to_numpy()


def _read_quotes(
    table: SourceTable, roles: Mapping[str, str], faults: RowFaults
) -> dict[str, IntArray | FloatArray]:
    values: dict[str, IntArray | FloatArray] = {}
    for side in ("bid", "ask"):
        price = read_numbers(table.frame[roles[side]], table.path)
        size = read_numbers(table.frame[roles[f"{side}_size"]], table.path) + 0.0
        _find_number_faults(faults, f"{side}_size", size, size < 0, "negative")
        price = np.where(size == 0, 0.0, price)
        _find_number_faults(faults, side, price, (price <= 0) & (size > 0), "not positive")
        values |= {side: price, f"{side}_size": size}
    both = (values["bid_size"] > 0) & (values["ask_size"] > 0)
    faults.add("bid is above ask", both & (values["bid"] > values["ask"]))
    return values


def _find_number_faults(
    faults: RowFaults, name: str, values: FloatArray, refused: BoolArray, why: str
) -> None:
    faults.add(f"{name} is not a number", np.isnan(values))
    faults.add(f"{name} is infinite", np.isinf(values))
    faults.add(f"{name} is {why}", refused)


def _find_order_faults(faults: RowFaults, times: IntArray, ids: pl.Series | None) -> None:
    """Adds rows whose id an earlier row has, and rows that stand below a later time.

    Rows that are bad already are left aside; of one id the first row in the file counts.
    """
    if ids is not None:
        import polars as pl

        text = ids.cast(pl.String).fill_null("").str.strip_chars()
        faults.add(f"{ids.name} is empty", (text == "").to_numpy())
        good = np.flatnonzero(~faults.bad)
        again = np.zeros(len(times), dtype=np.bool_)
        again[good[~text.gather(good).is_first_distinct().to_numpy()]] = True
        faults.add(f"{ids.name} is a repetition", again, Repair.DROP_DUPLICATES)
    good = np.flatnonzero(~faults.bad)
    backwards = np.zeros(len(times), dtype=np.bool_)
    backwards[good[1:][np.diff(times[good]) < 0]] = True
    faults.add("time is before that of the row above", backwards, Repair.SORT)


def _find_session_closes(calendar: SessionCalendar, ts_event: IntArray) -> IntArray:
    """End of the session that is open at each moment, or of the next one, ns UTC.

    Behind the last session that is known, of the UTC day.
    """
    sessions = list_sessions(calendar, int(ts_event[0]), int(ts_event[-1]))
    at = np.searchsorted(sessions.closes, ts_event, side="left")
    days = ((ts_event - 1) // NS_PER_DAY + 1) * NS_PER_DAY
    if not len(sessions.closes):
        return days
    inside = at < len(sessions.closes)
    return np.where(inside, sessions.closes[np.minimum(at, len(sessions.closes) - 1)], days)


def _warn_of_twins(kind: RecordKind, columns: RecordColumns, *, has_id: bool) -> tuple[str, ...]:
    if has_id or kind is not RecordKind.TRADES:
        return ()
    same = [column[1:] == column[:-1] for name, column in columns.items() if name != "quality"]
    twins = int(np.logical_and.reduce(same).sum())
    if not twins:
        return ()
    return (
        f"{twins} prints are like the one before them in time, price and size: all are kept, since "
        "prints may be alike (map a column to id, to tell copies)",
    )
