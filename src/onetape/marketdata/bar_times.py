"""From the time that a file gives to the times of a bar: open, close, and its session's close."""

from __future__ import annotations

from enum import Enum

import msgspec
import numpy as np

from onetape.domain.errors import DataError
from onetape.domain.timestamps import NS_PER_DAY, timeframe_ns
from onetape.marketdata.bars import IntArray
from onetape.marketdata.calendars import AroundTheClock, SessionBounds, SessionCalendar
from onetape.marketdata.quality import RowFaults
from onetape.marketdata.time_column import TIME_FORMS, TimeColumn
from onetape.marketdata.timezones import utc_to_local, utc_to_local_days


class TimeLabel(Enum):
    """Which end of a bar its time in the file names. A date of a session names the session."""

    START = "start"
    END = "end"


class BarTimes(msgspec.Struct, frozen=True, eq=False):
    """Times of each row, ns UTC, and `days`, the local date of its session (days since 1970).

    Where the row is bad the values mean nothing.
    """

    ts_open: IntArray
    ts_close: IntArray
    session_close: IntArray
    days: IntArray

    def take(self, rows: IntArray) -> BarTimes:
        """The times of these rows."""
        return BarTimes(
            self.ts_open[rows], self.ts_close[rows], self.session_close[rows], self.days[rows]
        )


def compute_bar_times(
    times: TimeColumn,
    timeframe: str,
    calendar: SessionCalendar,
    timezone: str,
    label: TimeLabel,
    faults: RowFaults,
) -> BarTimes:
    """The times of each bar; rows that can have none are added to `faults`.

    | timeframe       | calendar | open and close                                               |
    | --------------- | -------- | ------------------------------------------------------------ |
    | below a day     | any      | the time of the file, and one timeframe from it              |
    | days and weeks  | 24/7     | midnight to midnight; a time of day is taken as it is        |
    | `1d`            | sessions | open and close of the session of that date                   |

    The session's close of a bar below a day is that of the session it touches, outside sessions
    the end of the local day, and never before the bar's own close.

    Raises:
        DataError: The file has dates but the timeframe needs times, or the calendar has sessions
            and the timeframe is days but not one.
    """
    faults.add("time is unreadable or not like the others", times.unreadable, remedy=TIME_FORMS)
    faults.add(f"time is skipped or repeated by a clock change in {timezone}", times.unreal)
    faults.refuse_when_all_bad()
    usable = np.where(faults.bad, times.values[np.argmin(faults.bad)], times.values)
    length = timeframe_ns(timeframe, error=DataError)
    if length < NS_PER_DAY:
        if times.is_date:
            raise DataError(
                f"the file has dates without a time, and the timeframe is {timeframe}",
                remedy="give timeframe 1d, or a file with times",
            )
        return _intraday(usable, length, calendar, label, faults)
    local = usable * NS_PER_DAY if times.is_date else utc_to_local(usable, timezone)
    days, time_of_day = local // NS_PER_DAY, local % NS_PER_DAY
    if isinstance(calendar, AroundTheClock):
        if time_of_day.any():
            return _intraday(usable, length, calendar, label, faults)
        return _whole_days(days, length // NS_PER_DAY, calendar, label, faults)
    if timeframe != "1d" or label is TimeLabel.END:
        raise DataError(
            f"bars of {timeframe} labelled by their {label.value} can't follow the sessions of "
            f"{calendar.name}", remedy="give 1d bars labelled by the date of their session",
        )  # fmt: skip
    faults.add(f"time is not midnight in {timezone}, so no date", time_of_day != 0)
    session = _bounds(calendar, days, faults)
    return BarTimes(session.opens, session.closes, session.closes, days)


def _intraday(
    at: IntArray, length: int, calendar: SessionCalendar, label: TimeLabel, faults: RowFaults
) -> BarTimes:
    ts_open = at if label is TimeLabel.START else at - length
    ts_close = ts_open + length
    days = utc_to_local_days(ts_open, calendar.timezone)
    session_close = _bounds(AroundTheClock(calendar.timezone), days, faults).closes
    if not isinstance(calendar, AroundTheClock):
        session = calendar.bounds(days)
        inside = session.known & (ts_open < session.closes) & (ts_close > session.opens)
        session_close = np.where(inside, session.closes, session_close)
    return BarTimes(ts_open, ts_close, np.maximum(session_close, ts_close), days)


def _whole_days(
    days: IntArray, length: int, calendar: AroundTheClock, label: TimeLabel, faults: RowFaults
) -> BarTimes:
    first = days if label is TimeLabel.START else days - length
    ts_open = _bounds(calendar, first, faults).opens
    ts_close = _bounds(calendar, first + length - 1, faults).closes
    return BarTimes(ts_open, ts_close, ts_close, first)


def _bounds(calendar: SessionCalendar, days: IntArray, faults: RowFaults) -> SessionBounds:
    """Sessions of `days`; a date without one is a fault."""
    session = calendar.bounds(days)
    faults.add(f"date has no session of {calendar.name} ({calendar.timezone})", ~session.known)
    return session
