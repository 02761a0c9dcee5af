from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest

from onetape.domain.errors import DataError
from onetape.domain.timestamps import NS_PER_DAY, from_iso
from onetape.marketdata.time_column import parse_times

NY = "America/New_York"


@pytest.mark.parametrize(
    ("text", "timezone", "moment"),
    [
        ("2024-01-31T09:30", "UTC", "2024-01-31T09:30:00Z"),
        ("2024-01-31 09:30", NY, "2024-01-31T14:30:00Z"),
        ("2024-07-31 09:30:15", NY, "2024-07-31T13:30:15Z"),
        ("2024-01-31T09:30:15.5", "UTC", "2024-01-31T09:30:15.5Z"),
        ("2024-01-31T09:30:15.123456789", "UTC", "2024-01-31T09:30:15.123456789Z"),
        ("2024-01-31T09:30:00Z", NY, "2024-01-31T09:30:00Z"),
        ("2024-01-31 09:30:00 UTC", NY, "2024-01-31T09:30:00Z"),
        ("2024-01-31T09:30:00-05:00", "UTC", "2024-01-31T14:30:00Z"),
        ("2024-01-31T09:30:00+0530", "UTC", "2024-01-31T04:00:00Z"),
        ("2024-01-31T09:30:00+01", "UTC", "2024-01-31T08:30:00Z"),
        ("1969-12-31T23:59:59.9", "UTC", "1969-12-31T23:59:59.9Z"),
        (" 2024-01-31T09:30 ", "UTC", "2024-01-31T09:30:00Z"),
        ("1706693400", NY, "2024-01-31T09:30:00Z"),
        ("999999999", NY, "2001-09-09T01:46:39Z"),
        ("1706693400.0", NY, "2024-01-31T09:30:00Z"),
        ("1706693400.123456789", NY, "2024-01-31T09:30:00.123456789Z"),
        ("1706693400123", NY, "2024-01-31T09:30:00.123Z"),
        ("1706693400123456", NY, "2024-01-31T09:30:00.123456Z"),
        ("1706693400123456789", NY, "2024-01-31T09:30:00.123456789Z"),
    ],
)
def test_parse_times_moment_in_any_form_is_exact(text: str, timezone: str, moment: str) -> None:
    times = parse_times(pl.Series("t", [text]), timezone, "f")

    assert (times.is_date, times.values.tolist()) == (False, [from_iso(moment)])
    assert not times.unreadable.any()
    assert not times.unreal.any()


@pytest.mark.parametrize("text", ["2024-02-29", "20240229"])
def test_parse_times_date_is_a_day_and_not_an_epoch_count(text: str) -> None:
    times = parse_times(pl.Series("t", [text]), "UTC", "f")

    assert times.is_date
    assert times.values.tolist() == [from_iso("2024-02-29") // NS_PER_DAY]


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "01/31/2024", "31.01.2024", "2024-1-31", "2024-02-30", "2023-02-29", "20240230",
        "2024-01-31T24:00", "2024-01-31T09:60", "2024-01-31T09:30:60", "2024-01-31T09",
        "2024-01-31T09:30:00+25:00", "1850-01-01", "2100-01-01", "1706693400.5", "-1706693400",
        "17066934", "170669340012", "1706693400.", "1706693400.1234567890", "1706693400123.5",
        "nan",
        "2024-01-31T09:30:00.1234567890", "20٢٤-01-31",
        "2024-01-31T09:30:1٢",
    ],
)  # fmt: skip
def test_parse_times_what_is_no_time_is_unreadable(text: str) -> None:
    good = "2024-01-31" if "T" not in text else "2024-01-31T09:30"

    times = parse_times(pl.Series("t", [good, text, good]), "UTC", "f")

    assert times.unreadable.tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("texts", "unreadable"),
    [
        (["2024-01-31T09:30Z", "2024-01-31T09:30", "2024-01-31T09:31Z", None], [1, 3]),
        (["2024-01-31T09:30", "2024-01-31T09:30Z", "2024-01-31T09:31", "2024-01-31"], [1, 3]),
        (["20240131", "17066934000", "20240201", "1706693400"], [1, 3]),
    ],
)
def test_parse_times_form_unlike_most_is_unreadable(
    texts: list[str | None], unreadable: list[int]
) -> None:
    times = parse_times(pl.Series("t", texts), NY, "f")

    assert np.flatnonzero(times.unreadable).tolist() == unreadable


@pytest.mark.parametrize("text", ["2024-03-10T02:30", "2024-11-03T01:30"])
def test_parse_times_local_time_that_is_skipped_or_repeated_is_unreal(text: str) -> None:
    times = parse_times(pl.Series("t", ["2024-01-31T09:30", text]), NY, "f")

    assert times.unreal.tolist() == [False, True]
    assert not times.unreadable.any()


MOMENT = datetime(2024, 1, 31, 9, 30)


@pytest.mark.parametrize(
    ("column", "moment"),
    [
        (pl.Series("t", [MOMENT]), "2024-01-31T14:30:00Z"),
        (pl.Series("t", [MOMENT], dtype=pl.Datetime("ms")), "2024-01-31T14:30:00Z"),
        (pl.Series("t", [MOMENT.replace(tzinfo=UTC)]), "2024-01-31T09:30:00Z"),
        (pl.Series("t", [1706693400000]), "2024-01-31T09:30:00Z"),
    ],
)
def test_parse_times_typed_column_is_exact(column: pl.Series, moment: str) -> None:
    times = parse_times(column, NY, "f")

    assert (times.is_date, times.values.tolist()) == (False, [from_iso(moment)])


def test_parse_times_typed_date_column_is_days_and_nothing_is_unreadable() -> None:
    times = parse_times(pl.Series("t", [date(1970, 1, 3), None, date(1492, 1, 1)]), NY, "f")

    assert times.is_date
    assert times.values.tolist() == [2, 0, 0]
    assert times.unreadable.tolist() == [False, True, True]


@pytest.mark.parametrize("column", [pl.Series("t", [1.5]), pl.Series("t", [True])])
def test_parse_times_column_of_another_type_is_refused(column: pl.Series) -> None:
    with pytest.raises(DataError, match="time column 't' is"):
        parse_times(column, "UTC", "f")
