"""The time column of a file: which of the usual forms it has, and what moment each row names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from onetape.domain.errors import DataError
from onetape.domain.timestamps import NS_PER_SECOND
from onetape.marketdata.bars import BoolArray, IntArray
from onetape.marketdata.timezones import local_to_utc

if TYPE_CHECKING:
    import polars as pl

_DATE = r"^(?:19|20)[0-9]{2}(?:-[0-9]{2}-[0-9]{2}|[0-9]{4})$"
_MOMENT = (
    r"^((?:19|20)[0-9]{2}-[0-9]{2}-[0-9]{2})[T ]([0-9]{2}:[0-9]{2})"
    r"(?::([0-5][0-9])(?:\.([0-9]{1,9}))?)?"
    r"(?: ?(Z|UTC|[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?))?$"
)
_EPOCH_UNIT_NS = {"s": NS_PER_SECOND, "ms": 1_000_000, "us": 1_000, "ns": 1}
_EPOCH = {
    "s": r"^[0-9]{9,10}(?:\.[0-9]{1,9})?$",
    "ms": r"^[0-9]{12,13}$",
    "us": r"^[0-9]{15,16}$",
    "ns": r"^[0-9]{18,19}$",
}
"""Epoch counts by their number of digits: from 1973 on each unit has its own two lengths.

Seconds may have a fraction, as Kraken and `time.time()` write them.
"""

TIME_FORMS = (
    "write times like 2024-01-31, 2024-01-31T09:30:00 or 1706693400 (s, ms, us or ns since 1970)"
)
"""What `parse_times` takes, for people."""


class TimeColumn(msgspec.Struct, frozen=True, eq=False):
    """When each row is, without what its timeframe and calendar make of it.

    `values` are days since 1970-01-01 when `is_date`, else ns UTC; 0 where `unreadable` (not a
    time, or of another form than most rows) or `unreal` (a local time that a clock change skips
    or repeats).
    """

    is_date: bool
    values: IntArray
    unreadable: BoolArray
    unreal: BoolArray


def parse_times(column: pl.Series, timezone: str, where: str) -> TimeColumn:
    """The times of a column of text, whole numbers, dates or datetimes.

    Text is an ISO 8601 date (`2024-01-31`, `20240131`), an ISO date and time with or without an
    offset, or a count of s, ms, us or ns since 1970 (told apart by their digits; seconds may have a
    fraction). Times without an offset are local in `timezone`. Years 1900 to 2099; counts from
    1973-03-03 on.

    Raises:
        DataError: The column has another type. `where` names the file.
    """
    import polars as pl

    kind = column.dtype
    nothing = np.zeros(len(column), dtype=np.bool_)
    if isinstance(kind, pl.Date | pl.Datetime):
        missing = ~column.dt.year().is_between(1900, 2099).fill_null(False).to_numpy()
        column = column.set(pl.Series(missing), None)
        if isinstance(kind, pl.Date):
            return TimeColumn(True, _ints(column.to_physical()), missing, nothing)
        values = _ints(column.dt.cast_time_unit("ns").to_physical())
        if kind.time_zone is not None:
            return TimeColumn(False, values, missing, nothing)
        utc, exists = local_to_utc(values, timezone)
        return TimeColumn(False, utc, missing, ~exists & ~missing)
    if kind != pl.String and not kind.is_integer():
        raise DataError(f"time column {column.name!r} is {kind}, not a time", where=where)
    return _parse_text(column.cast(pl.String).str.strip_chars(), timezone)


def _parse_text(text: pl.Series, timezone: str) -> TimeColumn:
    """Reads every row in the form that most rows have."""
    import polars as pl

    forms = {"date": _DATE, "moment": _MOMENT, **_EPOCH}
    matches = {form: text.str.contains(pattern).fill_null(False) for form, pattern in forms.items()}
    form = max(matches, key=lambda name: matches[name].sum())
    text = text.set(~matches[form], None)
    nothing = np.zeros(len(text), dtype=np.bool_)
    if form == "moment":
        return _parse_moments(text, timezone)
    if form == "date":
        values = text.str.replace_all("-", "").str.to_date("%Y%m%d", strict=False)
        values = values.to_physical()
    else:
        parts = text.str.split_exact(".", 1).struct
        fraction = parts.field("field_1").fill_null("").str.pad_end(9, "0").cast(pl.Int64)
        values = parts.field("field_0").cast(pl.Int64, strict=False) * _EPOCH_UNIT_NS[form]
        values += fraction
    return TimeColumn(form == "date", _ints(values), values.is_null().to_numpy(), nothing)


def _parse_moments(text: pl.Series, timezone: str) -> TimeColumn:
    import polars as pl

    parts = text.str.extract_groups(_MOMENT).struct
    minute = (parts.field("1") + "T" + parts.field("2")).str.to_datetime(
        "%Y-%m-%dT%H:%M", time_unit="ns", strict=False
    )
    seconds = parts.field("3").fill_null("0").cast(pl.Int64)
    fraction = parts.field("4").fill_null("0").str.pad_end(9, "0").cast(pl.Int64)
    values = _ints(minute.to_physical()) + _ints(seconds) * NS_PER_SECOND + _ints(fraction)
    unreadable = minute.is_null().to_numpy()
    zone = parts.field("5")
    has_zone = zone.is_not_null().to_numpy()
    if has_zone.sum() * 2 < (~unreadable).sum():
        utc, exists = local_to_utc(values, timezone)
        return TimeColumn(False, utc, unreadable | has_zone, ~exists & ~unreadable & ~has_zone)
    digits = zone.str.replace_all(r"[^0-9+-]", "").str.pad_end(5, "0")
    sign = np.where(digits.str.starts_with("-").fill_null(False).to_numpy(), -1, 1)
    hours = _ints(digits.str.slice(1, 2).cast(pl.Int64, strict=False))
    minutes = _ints(digits.str.slice(3, 2).cast(pl.Int64, strict=False))
    offset = sign * (hours * 60 + minutes) * 60 * NS_PER_SECOND
    return TimeColumn(
        False, values - offset, unreadable | ~has_zone, np.zeros(len(text), dtype=np.bool_)
    )


def _ints(column: pl.Series) -> IntArray:
    """Whole numbers of a column; 0 where it has none."""
    return column.fill_null(0).cast(int).to_numpy()
