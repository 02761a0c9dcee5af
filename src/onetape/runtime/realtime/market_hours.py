"""Since when a market of a session is open: silence of a feed counts only then."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onetape.domain.instrument import Instrument
from onetape.marketdata.calendars import build_calendar
from onetape.marketdata.timezones import utc_to_local_days


class MarketHours:
    """The trading sessions of some instruments, by their calendars."""

    def __init__(self, instruments: Sequence[Instrument]) -> None:
        names = sorted({each.calendar for each in instruments})
        self._calendars = [build_calendar(each) for each in names]

    def find_open(self, ts: int) -> int | None:
        """When the session began that has been open for longest at `ts` (ns UTC); None: all closed.

        A session that goes round the clock begins anew with each local day.
        """
        found: list[int] = []
        for calendar in self._calendars:
            days = utc_to_local_days(np.array([ts]), calendar.timezone)
            bounds = calendar.bounds(np.concatenate([days - 1, days, days + 1]))
            is_open = bounds.known & (bounds.opens <= ts) & (ts < bounds.closes)
            found += bounds.opens[is_open].tolist()
        return min(found, default=None)
