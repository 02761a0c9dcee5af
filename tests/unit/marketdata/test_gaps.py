from __future__ import annotations

import numpy as np
import pytest

from onetape.domain.errors import DataError
from onetape.domain.timestamps import NS_PER_DAY, NS_PER_SECOND, from_iso, timeframe_ns
from onetape.marketdata.bar_times import BarTimes
from onetape.marketdata.calendars import build_calendar
from onetape.marketdata.gaps import check_timeframe, find_gaps, find_rows_after
from tests.unit.marketdata.csv_files import NEW_YORK_HOURS

MINUTE = 60 * NS_PER_SECOND


def times_of(starts: list[str], timeframe: str, session_hours: int = 24) -> BarTimes:
    """Bars that start at these UTC times; the session is over that long after each midnight."""
    ts_open = np.array([from_iso(start) for start in starts])
    days = ts_open // NS_PER_DAY
    session_close = days * NS_PER_DAY + session_hours * 3600 * NS_PER_SECOND
    return BarTimes(ts_open, ts_open + timeframe_ns(timeframe), session_close, days)


def minutes(*numbers: int) -> list[str]:
    return [f"2024-01-05T{14 + n // 60:02}:{n % 60:02}" for n in numbers]


LUNCH = [f"2024-01-05T{each}" for each in ("02:28", "02:29", "03:30", "03:36", "03:37", "03:38")]


@pytest.mark.parametrize(
    ("starts", "timeframe", "calendar", "gaps"),
    [
        (["2024-01-01"], "1d", "24/7", []),
        (["2024-01-01", "2024-01-02", "2024-01-04"], "1d", "24/7", [2]),
        (["2024-01-01", "2024-01-08", "2024-01-22"], "1w", "24/7", [2]),
        (["2024-01-11", "2024-01-12", "2024-01-16"], "1d", "XNYS", []),  # a long weekend
        (["2024-01-11", "2024-01-12", "2024-01-17"], "1d", "XNYS", [2]),
        (["2024-01-11", "2024-01-12", "2024-01-17"], "1d", NEW_YORK_HOURS, []),
        (["2024-01-10", "2024-01-11", "2024-01-12", "2024-01-18"], "1d", NEW_YORK_HOURS, [3]),
        (minutes(0, 1, 2, 3, 8, 9), "1m", "24/7", []),  # not over five steps
        (minutes(0, 1, 2, 3, 9, 10), "1m", "24/7", [4]),
        (minutes(0, 1, 2, 3, 9, 10), "1m", NEW_YORK_HOURS, [4]),
        ([*minutes(0, 1), "2024-01-08T14:00", "2024-01-08T14:01"], "1m", "XNYS", []),
        ([*minutes(0, 1), "2024-01-09T14:00", "2024-01-09T14:01"], "1m", "XNYS", [2]),
        ([*minutes(0, 1), "2024-01-06T14:00", "2024-01-06T14:01"], "1m", "24/7", [2]),
        (LUNCH, "1m", "XTKS", [3]),  # Tokyo rests from 2:30 to 3:30 UTC
        (LUNCH, "1m", "24/7", [2, 3]),
        ([LUNCH[0], *LUNCH[3:]], "1m", "XTKS", [1]),
    ],
)
def test_find_gaps_by_calendar_and_by_step(
    starts: list[str], timeframe: str, calendar: str, gaps: list[int]
) -> None:
    times = times_of(starts, timeframe)

    found = find_gaps(times, timeframe, build_calendar(calendar))

    assert np.flatnonzero(found).tolist() == gaps


def test_check_timeframe_bars_that_overlap_are_refused() -> None:
    check_timeframe(times_of(minutes(0, 1, 2), "1m"), "1m", "f")

    with pytest.raises(DataError, match="2 bars start before the last 1h bar is over"):
        check_timeframe(times_of(minutes(0, 1, 2), "1h"), "1h", "f")


def test_check_timeframe_shorter_than_the_bars_is_refused_for_it_looks_ahead() -> None:
    hours = times_of([f"2024-01-{1 + h // 24:02}T{h % 24:02}:00" for h in range(30)], "1m")
    weeks = np.arange(30) * 7

    check_timeframe(hours, "1h", "f")
    with pytest.raises(DataError, match="every bar is a multiple of 60 x 1m after the one before"):
        check_timeframe(hours, "1m", "f")
    with pytest.raises(DataError, match="a multiple of 7 x 1d"):
        check_timeframe(
            BarTimes(weeks * NS_PER_DAY, weeks * NS_PER_DAY + 1, weeks, weeks), "1d", "f"
        )


def test_check_timeframe_minutes_without_trades_are_no_reason_to_refuse() -> None:
    sparse = times_of(minutes(*range(0, 60, 3), 61, 64, 67), "1m")

    check_timeframe(sparse, "1m", "f")


@pytest.mark.parametrize(
    ("times", "dropped", "timeless", "flagged"),
    [
        ([1, 2, 3, 4], [1], [], [1]),  # 3 follows the dropped 2
        ([4, 3, 2, 1], [2], [], [1]),  # newest first: 3 follows the dropped 2
        ([1, 2, 2, 3], [2], [], []),  # a kept bar has the time of the dropped one
        ([1, 2, 3], [2], [], []),  # nothing follows
        ([1, 0, 3], [1], [1], [1]),  # no time: the next row of the file
        ([1, 2, 0], [2], [2], []),
        ([1, 2, 3, 4], [0, 1], [], [0]),
    ],
)
def test_find_rows_after_dropped_ones(
    times: list[int], dropped: list[int], timeless: list[int], flagged: list[int]
) -> None:
    at = np.array(times)
    lost = np.isin(np.arange(len(times)), timeless)
    kept = np.delete(np.arange(len(times)), dropped)
    rows = kept[np.argsort(at[kept], kind="stable")]

    found = find_rows_after(np.array(dropped), lost, at, rows)

    assert sorted(set(found.tolist())) == flagged
