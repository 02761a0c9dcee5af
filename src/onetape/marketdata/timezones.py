"""Local wall-clock times of an IANA time zone to UTC and back, for whole columns."""

from __future__ import annotations

import numpy as np

from onetape.domain.errors import DataError
from onetape.domain.nearest import nearest
from onetape.domain.timestamps import NS_PER_DAY
from onetape.marketdata.bars import BoolArray, IntArray


def check_timezone(timezone: str) -> None:
    """Raises `DataError` with the nearest name when `timezone` is no IANA time zone."""
    import polars as pl

    try:
        pl.Series([0]).cast(pl.Datetime("ns", timezone))
    except pl.exceptions.PolarsError:
        from zoneinfo import available_timezones

        raise DataError(
            f"time zone {timezone!r} is unknown",
            remedy=nearest(timezone, sorted(available_timezones())),
        ) from None


def local_to_utc(local: IntArray, timezone: str) -> tuple[IntArray, BoolArray]:
    """UTC ns of local wall-clock ns, and which of them name exactly one moment.

    A time that a clock change skips or repeats names none or two; its UTC value here is 0.
    """
    if timezone == "UTC":
        return local, np.ones(len(local), dtype=np.bool_)
    import polars as pl

    utc = (
        pl.Series(local)
        .cast(pl.Datetime("ns"))
        .dt.replace_time_zone(timezone, ambiguous="null", non_existent="null")
    )
    return utc.to_physical().fill_null(0).to_numpy(), utc.is_not_null().to_numpy()


def utc_to_local(utc: IntArray, timezone: str) -> IntArray:
    """Local wall-clock ns of UTC ns."""
    if timezone == "UTC":
        return utc
    import polars as pl

    return (
        pl.Series(utc)
        .cast(pl.Datetime("ns", "UTC"))
        .dt.convert_time_zone(timezone)
        .dt.replace_time_zone(None)
        .to_physical()
        .to_numpy()
    )


def utc_to_local_days(utc: IntArray, timezone: str) -> IntArray:
    """Local calendar dates of UTC ns, in days since 1970-01-01."""
    return utc_to_local(utc, timezone) // NS_PER_DAY
