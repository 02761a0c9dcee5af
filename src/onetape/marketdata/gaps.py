"""Where bars are missing, and whether the steps between bars fit their timeframe."""

from __future__ import annotations

import numpy as np

from onetape.domain.errors import DataError
from onetape.domain.timestamps import NS_PER_DAY, timeframe_ns
from onetape.marketdata.bar_times import BarTimes
from onetape.marketdata.bars import BoolArray, IntArray
from onetape.marketdata.calendars import AroundTheClock, SessionCalendar

GAP_STEPS = 5
"""Where no calendar says what is missing, a step of over this many usual (median) ones is a gap."""

_STEPS_TO_JUDGE = 20


def find_gaps(times: BarTimes, timeframe: str, calendar: SessionCalendar) -> BoolArray:
    """Which rows (in time order) have a gap before them.

    A gap is a session of the calendar without a bar, or a wide step inside a session, its break not
    counted. A calendar
    that does not know its sessions is judged by the steps between dates.
    """
    gap = np.zeros(len(times.days), dtype=np.bool_)
    if len(gap) < 2:
        return gap
    sessions = calendar.session_days(int(times.days[0]), int(times.days[-1]))
    if sessions is None:
        missing = _wide(np.diff(times.days))
    else:
        usual = max(1, timeframe_ns(timeframe) // NS_PER_DAY)
        missing = np.diff(np.searchsorted(sessions, times.days)) > usual
    steps = np.diff(times.ts_open)
    if not isinstance(calendar, AroundTheClock):
        steps = np.where(np.diff(times.session_close) == 0, steps, 0)
        pause = calendar.breaks(times.days[1:])
        over = (
            pause.known & (times.ts_open[:-1] < pause.opens) & (times.ts_open[1:] >= pause.closes)
        )
        steps -= np.where(over, np.minimum(pause.closes - pause.opens, steps), 0)
    gap[1:] = missing | _wide(steps)
    return gap


def _wide(steps: IntArray) -> BoolArray:
    """Which steps are wider than `GAP_STEPS` usual ones; a step of zero is none."""
    real = steps[steps > 0]
    usual = float(np.median(real)) if len(real) else 0.0
    return steps > GAP_STEPS * usual


def find_rows_after(
    dropped: IntArray, timeless: BoolArray, at: IntArray, rows: IntArray
) -> IntArray:
    """Positions in `rows` of the bars that now follow a dropped row.

    Args:
        dropped: Dropped records, as positions in the file.
        timeless: Of each record of the file: it has no usable time.
        at: Time of each record of the file.
        rows: The kept records in time order, as positions in the file.

    A dropped record with a time stood before the next later time, unless a kept one has its time;
    one without stood before the record that follows it in the file.
    """
    kept = np.sort(rows)
    follower = np.searchsorted(kept, dropped)
    placed = ~timeless[dropped] | (follower < len(kept))
    dropped, follower = dropped[placed], follower[placed]
    lost = timeless[dropped]
    moment = at[dropped]
    moment[lost] = at[kept[follower[lost]]]
    position = np.searchsorted(at[rows], moment)
    inside = position < len(rows)
    position, moment, lost = position[inside], moment[inside], lost[inside]
    return position[lost | (at[rows][position] != moment)]


def check_timeframe(times: BarTimes, timeframe: str, where: str) -> None:
    """The steps between bars (in time order) fit the timeframe.

    Raises:
        DataError: Bars overlap, or every step is a multiple of something longer than the
            timeframe: then the bars are longer, and would be known before they have closed.
    """
    overlaps = times.ts_open[1:] < times.ts_close[:-1]
    length = timeframe_ns(timeframe)
    by_day = length % NS_PER_DAY == 0
    unit = length // NS_PER_DAY if by_day else length
    steps = np.diff(times.days if by_day else times.ts_open)
    if overlaps.any():
        raise DataError(
            f"{int(overlaps.sum())} bars start before the last {timeframe} bar is over",
            where=where, remedy="give the true timeframe; for several symbols in a file, pick one",
        )  # fmt: skip
    common = int(np.gcd.reduce(steps)) if len(steps) >= _STEPS_TO_JUDGE else unit
    if common > unit:
        raise DataError(
            f"every bar is a multiple of {common / unit:g} x {timeframe} after the one before it",
            where=where, remedy="give the true timeframe: these bars close later than it says",
        )  # fmt: skip
