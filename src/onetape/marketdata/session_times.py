"""Sessions of an instrument's calendar, asked moment by moment."""

from __future__ import annotations

import numpy as np

from onetape.marketdata.calendars import AroundTheClock, SessionCalendar, build_calendar
from onetape.marketdata.timezones import utc_to_local_days

_DAYS_AHEAD = 15
"""More than the longest holiday."""


class SessionTimes:
    """When a calendar's sessions open and close; days are remembered.

    Args:
        calendar: Its name, as in an instrument.

    Raises:
        DataError: There is no such calendar, or it needs an extra.
    """

    def __init__(self, calendar: str) -> None:
        self._calendar: SessionCalendar = build_calendar(calendar)
        self._whole_days = AroundTheClock(self._calendar.timezone)
        self._days: dict[int, tuple[int, int, int]] = {}

    def close_of(self, ts_open: int, ts_close: int) -> int:
        """End of the session that holds `[ts_open, ts_close)`, as imported bars have it (ns UTC).

        Outside of sessions it is the end of the local day, and never before `ts_close`.
        """
        opens, closes, midnight = self._day(self._day_of(ts_open))
        is_inside = ts_open < closes and ts_close > opens
        return max(closes if is_inside else midnight, ts_close)

    def is_open(self, ts: int) -> bool:
        """Whether a session is on."""
        opens, closes, _ = self._day(self._day_of(ts))
        return opens <= ts < closes

    def next_session(self, ts: int) -> tuple[int, int]:
        """The next opening and the next close behind `ts`; 0 where none comes soon."""
        first = self._day_of(ts)
        days = [self._day(each) for each in range(first, first + _DAYS_AHEAD)]
        opens = (each[0] for each in days if each[1] and each[0] > ts)
        closes = (each[1] for each in days if each[1] > ts)
        return next(opens, 0), next(closes, 0)

    def sessions(self, ts_start: int, ts_end: int) -> list[tuple[int, int]]:
        """(open, close) of the sessions of the local days from one moment to the other."""
        days = range(self._day_of(ts_start), self._day_of(ts_end) + 1)
        return [(opens, closes) for opens, closes, _ in map(self._day, days) if closes]

    def session_of(self, day: int) -> tuple[int, int]:
        """(open, close) of the session of a local date (days since 1970); 0 where it has none."""
        return self._day(day)[:2]

    def _day_of(self, ts: int) -> int:
        days = utc_to_local_days(np.array([ts], dtype=np.int64), self._calendar.timezone)
        return int(days[0])

    def _day(self, day: int) -> tuple[int, int, int]:
        """(open, close, midnight behind it) of a local day; open and close 0 without a session."""
        known = self._days.get(day)
        if known is None:
            asked = np.array([day], dtype=np.int64)
            midnight = int(self._whole_days.bounds(asked).closes[0])
            session = self._calendar.bounds(asked)
            opens, closes = (
                (int(session.opens[0]), int(session.closes[0])) if session.known[0] else (0, 0)
            )
            known = self._days[day] = (opens, closes, midnight)
        return known
