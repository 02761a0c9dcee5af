"""Sessions moment by moment, against the times that an import gives its bars."""

from __future__ import annotations

import numpy as np
import polars as pl

from onetape.domain.timestamps import NS_PER_SECOND, from_iso
from onetape.marketdata.bar_times import TimeLabel, compute_bar_times
from onetape.marketdata.calendars import build_calendar
from onetape.marketdata.feeds.backoff import Backoff
from onetape.marketdata.quality import RowFaults
from onetape.marketdata.session_times import SessionTimes
from onetape.marketdata.time_column import parse_times

HOURS = "hours:America/New_York:09:30-16:00"
MINUTE = 60 * NS_PER_SECOND


def test_close_of_a_bar_is_that_of_an_imported_one() -> None:
    for name in (HOURS, "24/7"):
        calendar = build_calendar(name)
        # Around a change of clocks (2024-03-10) and both ends of sessions.
        opens = from_iso("2024-03-08T12:00:00Z") + np.arange(0, 5 * 1440, 7) * MINUTE
        series = pl.Series(opens).cast(pl.Datetime("ns", "UTC"))
        faults = RowFaults(opens, np.zeros(len(opens), dtype=np.bool_), "test")
        written = parse_times(series, calendar.timezone, "test")
        times = compute_bar_times(
            written, "1m", calendar, calendar.timezone, TimeLabel.START, faults
        )
        ours = SessionTimes(name)
        told = [ours.close_of(int(each), int(each) + MINUTE) for each in opens]
        assert told == times.session_close.tolist()


def test_open_and_next_times() -> None:
    times = SessionTimes(HOURS)
    opens, closes = from_iso("2024-03-11T13:30:00Z"), from_iso("2024-03-11T20:00:00Z")
    assert not times.is_open(opens - 1)
    assert times.is_open(opens)
    assert times.is_open(closes - 1)
    assert not times.is_open(closes)
    assert times.next_session(opens - 1) == (opens, closes)
    assert times.next_session(opens)[1] == closes
    assert times.sessions(opens, closes) == [(opens, closes)]


def test_waits_double_stay_between_half_and_whole_and_begin_again() -> None:
    waits = Backoff(1.0, 30.0, seed=7)
    first = [waits.next_wait() for _ in range(8)]
    for wait, whole in zip(first, (1, 2, 4, 8, 16, 30, 30, 30), strict=True):
        assert whole / 2 <= wait <= whole
    waits.reset()
    assert waits.next_wait() <= 1
    again = Backoff(1.0, 30.0, seed=7)
    assert [again.next_wait() for _ in range(8)] == first
