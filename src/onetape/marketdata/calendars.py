"""When an instrument's trading sessions open and close; used at import, never in a session.

| `Instrument.calendar`                     | sessions                                             |
| ----------------------------------------- | ---------------------------------------------------- |
| `24/7`                                    | every local day of the import's time zone            |
| `hours:America/New_York:09:30-16:00`      | these local hours of every day that the data has;    |
|                                           | no holidays are known and early closes are ignored   |
| `XNYS`, `XLON`, ...                       | the exchange's, with holidays and early closes; from |
|                                           | exchange-calendars (the `calendars` extra)           |
"""

from __future__ import annotations

import re
import warnings
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import numpy as np

from onetape.domain.errors import DataError
from onetape.domain.nearest import nearest
from onetape.domain.timestamps import NS_PER_DAY, NS_PER_SECOND
from onetape.marketdata.bars import BoolArray, IntArray
from onetape.marketdata.timezones import check_timezone, local_to_utc

if TYPE_CHECKING:
    from exchange_calendars import ExchangeCalendar

NS_PER_MINUTE = 60 * NS_PER_SECOND


class SessionBounds(msgspec.Struct, frozen=True, eq=False):
    """Open and close (ns UTC) of the session of each asked date; `known` False: there is none."""

    opens: IntArray
    closes: IntArray
    known: BoolArray


class SessionCalendar(Protocol):
    """Trading sessions by local date (days since 1970-01-01)."""

    @property
    def name(self) -> str:
        """As written in the instrument."""
        ...

    @property
    def timezone(self) -> str:
        """IANA zone of the local dates."""
        ...

    def bounds(self, days: IntArray) -> SessionBounds:
        """The session of each of `days`."""
        ...

    def breaks(self, days: IntArray) -> SessionBounds:
        """The pause inside the session of each of `days`, from `opens` to `closes`."""
        ...

    def session_days(self, first: int, last: int) -> IntArray | None:
        """Every date from `first` to `last` that has a session; None when that is not known."""
        ...


def _no_breaks(days: IntArray) -> SessionBounds:
    zero = np.zeros(len(days), dtype=np.int64)
    return SessionBounds(zero, zero, zero != 0)


class AroundTheClock(msgspec.Struct, frozen=True):
    """Trades always; a session is a local day, midnight to midnight."""

    timezone: str
    name: str = "24/7"

    def bounds(self, days: IntArray) -> SessionBounds:
        """Midnight to the next midnight."""
        opens, opens_exist = local_to_utc(days * NS_PER_DAY, self.timezone)
        closes, closes_exist = local_to_utc((days + 1) * NS_PER_DAY, self.timezone)
        return SessionBounds(opens, closes, opens_exist & closes_exist)

    def breaks(self, days: IntArray) -> SessionBounds:
        """None."""
        return _no_breaks(days)

    def session_days(self, first: int, last: int) -> IntArray | None:
        """Every day."""
        return np.arange(first, last + 1)


class FixedHours(msgspec.Struct, frozen=True):
    """The same local hours on every day that the data has. Ignores holidays and early closes."""

    name: str
    timezone: str
    open_minute: int
    close_minute: int

    def bounds(self, days: IntArray) -> SessionBounds:
        """The fixed hours, on any date."""
        midnight = days * NS_PER_DAY
        opening = midnight + self.open_minute * NS_PER_MINUTE
        closing = midnight + self.close_minute * NS_PER_MINUTE
        opens, opens_exist = local_to_utc(opening, self.timezone)
        closes, closes_exist = local_to_utc(closing, self.timezone)
        return SessionBounds(opens, closes, opens_exist & closes_exist)

    def breaks(self, days: IntArray) -> SessionBounds:
        """None."""
        return _no_breaks(days)

    def session_days(self, first: int, last: int) -> IntArray | None:
        """Not known: there is no list of holidays."""
        return None


class ExchangeSessions(msgspec.Struct, frozen=True):
    """An exchange's recorded sessions, holidays and early closes, from exchange-calendars."""

    name: str
    timezone: str

    def bounds(self, days: IntArray) -> SessionBounds:
        """The recorded session of each date."""
        calendar = _load_exchange(self.name, int(days.min()), int(days.max()))
        sessions = _ns(calendar.sessions) // NS_PER_DAY
        at = np.minimum(np.searchsorted(sessions, days), len(sessions) - 1)
        opens, closes = _ns(calendar.opens), _ns(calendar.closes)
        return SessionBounds(opens[at], closes[at], sessions[at] == days)

    def breaks(self, days: IntArray) -> SessionBounds:
        """The recorded break of each session, such as lunch in Tokyo and Hong Kong."""
        calendar = _load_exchange(self.name, int(days.min()), int(days.max()))
        sessions = _ns(calendar.sessions) // NS_PER_DAY
        at = np.minimum(np.searchsorted(sessions, days), len(sessions) - 1)
        begin, end = _ns(calendar.break_starts), _ns(calendar.break_ends)
        has_break = (sessions[at] == days) & (begin[at] != _NO_TIME)
        return SessionBounds(begin[at], end[at], has_break)

    def session_days(self, first: int, last: int) -> IntArray | None:
        """The recorded session dates."""
        sessions = _ns(_load_exchange(self.name, first, last).sessions) // NS_PER_DAY
        return sessions[(sessions >= first) & (sessions <= last)]


_HOURS = re.compile(r"^hours:([^:]+):([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)$")


def build_calendar(name: str, timezone: str = "") -> SessionCalendar:
    """The calendar that `Instrument.calendar` names.

    Args:
        name: See the table above.
        timezone: IANA zone whose midnights bound the days of a `24/7` calendar; empty means UTC.

    Raises:
        DataError: The name, its hours or its time zone is unknown, or it needs the extra.
    """
    if name == "24/7":
        zone = timezone or "UTC"
        check_timezone(zone)
        return AroundTheClock(zone)
    if name.startswith("hours:"):
        return _build_fixed_hours(name)
    return ExchangeSessions(name, str(_load_exchange(name).tz))


def _build_fixed_hours(name: str) -> FixedHours:
    match = _HOURS.match(name)
    if match is None:
        raise DataError(
            f"calendar {name!r} is not hours:ZONE:HH:MM-HH:MM",
            remedy="for example hours:America/New_York:09:30-16:00",
        )
    check_timezone(match[1])
    opens, closes = int(match[2]) * 60 + int(match[3]), int(match[4]) * 60 + int(match[5])
    if closes <= opens:
        raise DataError(f"calendar {name!r} closes before it opens")
    return FixedHours(name, match[1], opens, closes)


_NO_TIME = np.iinfo(np.int64).min
"""What NaT is as a number."""

_MARGIN_DAYS = 15
"""More than the longest holiday: so the span asked for always holds a session."""


@lru_cache(maxsize=64)
def _load_exchange(
    name: str, first: int | None = None, last: int | None = None
) -> ExchangeCalendar:
    """The exchange's sessions from `first` to `last` (local dates) and some around them.

    Remembered: building one takes a third of a second, and every instrument of a live session asks.
    """
    start = None if first is None else str(np.datetime64(first - _MARGIN_DAYS, "D"))
    end = None if last is None else str(np.datetime64(last + _MARGIN_DAYS, "D"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # exchange-calendars lags behind pandas' deprecations
        try:
            import exchange_calendars
            from exchange_calendars.errors import InvalidCalendarName
        except ImportError:
            raise DataError(
                f"calendar {name!r} needs an extra",
                remedy="pip install 'onetape[calendars]', or give fixed hours like "
                "hours:America/New_York:09:30-16:00",
            ) from None
        try:
            return exchange_calendars.get_calendar(name, start=start, end=end)
        except InvalidCalendarName:
            known = exchange_calendars.get_calendar_names()
            raise DataError(f"calendar {name!r} is unknown", remedy=nearest(name, known)) from None
        except ValueError as error:
            raise DataError(f"calendar {name!r}: {error}") from None


def _ns(moments: Any) -> IntArray:
    """Pandas times as int64 ns UTC, whatever unit pandas keeps them in."""
    if getattr(moments, "dt", None) is not None and moments.dt.tz is not None:
        moments = moments.dt.tz_convert(None)
    return np.asarray(moments, dtype="datetime64[ns]").view(np.int64)
