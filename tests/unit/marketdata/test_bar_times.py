from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from onetape.domain.errors import DataError
from onetape.domain.timestamps import from_iso, to_iso
from onetape.marketdata.bar_times import BarTimes, TimeLabel, compute_bar_times
from onetape.marketdata.calendars import build_calendar
from onetape.marketdata.quality import RowFaults
from onetape.marketdata.time_column import parse_times
from tests.unit.marketdata.csv_files import NEW_YORK_HOURS as HOURS

NY = "America/New_York"
UTC = "UTC"


def compute(
    texts: list[str],
    timeframe: str,
    calendar: str,
    timezone: str,
    label: TimeLabel = TimeLabel.START,
) -> tuple[BarTimes, RowFaults]:
    faults = RowFaults(np.arange(2, len(texts) + 2), "line", "f.csv")
    times = parse_times(pl.Series("t", texts), timezone, "f.csv")
    clock = build_calendar(calendar, timezone)
    return compute_bar_times(times, timeframe, clock, timezone, label, faults), faults


@pytest.mark.parametrize(
    ("text", "timeframe", "calendar", "zone", "expected"),
    [
        ("2024-01-05",        "1d", "24/7", UTC, "01-05T00:00 01-06T00:00 01-06T00:00"),
        ("2024-01-05",        "1d", "24/7", NY,  "01-05T05:00 01-06T05:00 01-06T05:00"),
        ("2024-03-10",        "1d", "24/7", NY,  "03-10T05:00 03-11T04:00 03-11T04:00"),
        ("2024-01-05",        "1w", "24/7", UTC, "01-05T00:00 01-12T00:00 01-12T00:00"),
        ("2024-01-05T00:00",  "1d", "24/7", UTC, "01-05T00:00 01-06T00:00 01-06T00:00"),
        ("2024-01-05T08:00",  "1d", "24/7", UTC, "01-05T08:00 01-06T08:00 01-06T08:00"),
        ("2024-01-05",        "1d", HOURS,  NY,  "01-05T14:30 01-05T21:00 01-05T21:00"),
        ("2024-07-05",        "1d", HOURS,  NY,  "07-05T13:30 07-05T20:00 07-05T20:00"),
        ("2024-01-05 00:00:00-05:00", "1d", HOURS,  NY,  "01-05T14:30 01-05T21:00 01-05T21:00"),
        ("1704412800",        "1d", HOURS,  UTC, "01-05T14:30 01-05T21:00 01-05T21:00"),
        ("2023-11-24",        "1d", "XNYS", NY,  "11-24T14:30 11-24T18:00 11-24T18:00"),
        ("2024-01-05T23:59",  "1m", "24/7", UTC, "01-05T23:59 01-06T00:00 01-06T00:00"),
        ("2024-01-05T22:00",  "4h", "24/7", UTC, "01-05T22:00 01-06T02:00 01-06T02:00"),
        ("2024-01-05T09:30",  "1m", HOURS,  NY,  "01-05T14:30 01-05T14:31 01-05T21:00"),
        ("2024-01-05T15:59",  "1m", HOURS,  NY,  "01-05T20:59 01-05T21:00 01-05T21:00"),
        ("2024-01-05T09:29",  "1m", HOURS,  NY,  "01-05T14:29 01-05T14:30 01-06T05:00"),
        ("2024-01-05T16:00",  "1m", HOURS,  NY,  "01-05T21:00 01-05T21:01 01-06T05:00"),
        ("2024-01-05T09:00",  "1h", HOURS,  NY,  "01-05T14:00 01-05T15:00 01-05T21:00"),
        ("2024-01-05T15:30",  "1h", HOURS,  NY,  "01-05T20:30 01-05T21:30 01-05T21:30"),
        ("2024-01-06T10:00",  "1m", "XNYS", NY,  "01-06T15:00 01-06T15:01 01-07T05:00"),
        ("2023-11-24T12:59",  "1m", "XNYS", NY,  "11-24T17:59 11-24T18:00 11-24T18:00"),
    ],
)  # fmt: skip
def test_compute_bar_times_by_timeframe_and_calendar(
    text: str, timeframe: str, calendar: str, zone: str, expected: str
) -> None:
    times, faults = compute([text], timeframe, calendar, zone)

    computed = [times.ts_open, times.ts_close, times.session_close]
    moments = [to_iso(int(each[0])) for each in computed]
    assert " ".join(moment[5:16] for moment in moments) == expected
    assert faults.found == []


def test_compute_bar_times_end_label_names_the_close() -> None:
    minute, _ = compute(["2024-01-05T16:00"], "1m", HOURS, NY, TimeLabel.END)
    day, _ = compute(["2024-01-05"], "1d", "24/7", UTC, TimeLabel.END)

    assert minute.ts_open.tolist() == [from_iso("2024-01-05T20:59")]
    assert minute.session_close.tolist() == [from_iso("2024-01-05T21:00")]
    assert day.ts_open.tolist() == [from_iso("2024-01-04")]
    assert day.ts_close.tolist() == [from_iso("2024-01-05")]


@pytest.mark.parametrize(
    ("texts", "timeframe", "calendar", "timezone", "fault"),
    [
        (["2024-01-05", "x"], "1d", "24/7", UTC, "time is unreadable or not like the others"),
        (["2024-01-05T01:00", "2024-03-10T02:30"], "1m", "24/7", NY, "skipped or repeated"),
        (["2024-01-05", "2024-01-06"], "1d", "XNYS", NY, "date has no session of XNYS"),
        (["2024-01-05", "2024-01-15"], "1d", "XNYS", NY, "date has no session of XNYS"),
        (["1704431400"], "1d", HOURS, NY, "time is not midnight in America/New_York"),
        (["2018-11-05", "2018-11-04"], "1d", "24/7", "America/Sao_Paulo", "date has no session"),
    ],
)
def test_compute_bar_times_row_without_times_is_a_fault(
    texts: list[str], timeframe: str, calendar: str, timezone: str, fault: str
) -> None:
    _, faults = compute(texts, timeframe, calendar, timezone)

    assert [each.what for each in faults.found if fault in each.what]
    assert faults.bad.tolist() == [False] * (len(texts) - 1) + [True]


@pytest.mark.parametrize(
    ("texts", "timeframe", "calendar", "label", "message"),
    [
        (["2024-01-05"], "1m", "24/7", TimeLabel.START, "dates without a time, .* 1m"),
        (["2024-01-05"], "1w", HOURS, TimeLabel.START, "bars of 1w .* can't follow"),
        (["2024-01-05"], "1d", HOURS, TimeLabel.END, "labelled by their end can't"),
        (["2024-01-05"], "1x", "24/7", TimeLabel.START, "timeframe '1x' is unknown"),
        (["x", ""], "1d", "24/7", TimeLabel.START, r"unreadable .*\(lines 2, 3\)"),
    ],
)
def test_compute_bar_times_wrong_timeframe_is_refused(
    texts: list[str], timeframe: str, calendar: str, label: TimeLabel, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        compute(texts, timeframe, calendar, UTC, label)
