"""When the bars of generated data open and close: whole bars inside the sessions of a calendar."""

from __future__ import annotations

import msgspec
import numpy as np

from onetape.domain.errors import DataError
from onetape.domain.timestamps import NS_PER_DAY, timeframe_ns, to_iso
from onetape.marketdata.bars import FloatArray, IntArray
from onetape.marketdata.calendars import AroundTheClock, SessionCalendar
from onetape.marketdata.timezones import utc_to_local_days

_SESSIONS_PER_YEAR = 252
_DAYS_PER_YEAR = 365
_THURSDAY = 3
"""1970-01-01, counted from Monday."""


class SampleTimes(msgspec.Struct, frozen=True, eq=False):
    """Bars in time order, shape (bars,).

    Times are ns UTC, `days` the local dates of their sessions (days since 1970-01-01), `session`
    counts sessions from 0, and `years` is how much of a year's trading time each bar is.
    """

    ts_open: IntArray
    ts_close: IntArray
    days: IntArray
    session: IntArray
    years: FloatArray


def plan_times(
    calendar: SessionCalendar, timeframe: str, ts_start: int, ts_end: int
) -> SampleTimes:
    """The bars that open at `ts_start` or later and before `ts_end`.

    Bars lie one after the other from the open of each session on; a rest at its end that is
    shorter than a bar has none, nor has a break. A year has 365 sessions of a 24/7 calendar and
    252 of others; the bars of a session share it evenly. Fixed hours have sessions from Monday to
    Friday.

    Raises:
        DataError: The timeframe is longer than a day, or no bar fits.
    """
    length = timeframe_ns(timeframe, error=DataError)
    if length > NS_PER_DAY:
        raise DataError(
            f"bars of {timeframe} are not generated", where="timeframe",
            remedy="generate 1d or shorter ones, and make longer ones: onetape data aggregate",
        )  # fmt: skip
    days = _session_days(calendar, ts_start, ts_end)
    bounds = calendar.bounds(days) if len(days) else None
    if bounds is None or not bounds.known.any():
        raise DataError(
            f"{calendar.name} has no session from {to_iso(ts_start)} to {to_iso(ts_end)}",
            remedy="give a later end",
        )
    known = bounds.known
    days, opens, closes = days[known], bounds.opens[known], bounds.closes[known]
    daily = length == NS_PER_DAY
    counts = np.ones(len(days), np.int64) if daily else (closes - opens) // length
    session = np.repeat(np.arange(len(days)), counts)
    number = np.arange(len(session)) - np.repeat(np.cumsum(counts) - counts, counts)
    ts_open = opens[session] + number * length
    ts_close = closes[session] if daily else ts_open + length
    pause = calendar.breaks(days)
    resting = pause.known[session] & (ts_open < pause.closes[session])
    resting &= (ts_close > pause.opens[session]) & (not daily)
    counts = np.bincount(session[~resting], minlength=len(days))
    kept = ~resting & (ts_open >= ts_start) & (ts_open < ts_end)
    if not kept.any():
        raise DataError(
            f"no {timeframe} bar of {calendar.name} opens from {to_iso(ts_start)} to "
            f"{to_iso(ts_end)}", remedy="give a later end, or a timeframe that a session holds",
        )  # fmt: skip
    session = session[kept]
    a_year = _DAYS_PER_YEAR if isinstance(calendar, AroundTheClock) else _SESSIONS_PER_YEAR
    return SampleTimes(
        ts_open=ts_open[kept],
        ts_close=ts_close[kept],
        days=days[session],
        session=session - session[0],
        years=1.0 / (a_year * counts[session]),
    )


def _session_days(calendar: SessionCalendar, ts_start: int, ts_end: int) -> IntArray:
    """Local dates whose sessions may have bars; of fixed hours those from Monday to Friday."""
    first, last = utc_to_local_days(np.array([ts_start, ts_end]), calendar.timezone).tolist()
    days = calendar.session_days(first, last)
    if days is None:
        days = np.arange(first, last + 1)
        days = days[(days + _THURSDAY) % 7 < 5]
    return days
