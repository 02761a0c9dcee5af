"""Where a trading day of the account begins, for the loss gates.

Where all instruments have one calendar a day is a session: it begins with the first row of a later
one. Where calendars differ their sessions overlap, and a day would begin with each of them. Then,
or where a time is given, it begins at a time of the day, for the account as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from onetape.domain.errors import ConfigError, DataError
from onetape.domain.instrument import Instrument
from onetape.domain.numbers import INT64_MAX
from onetape.domain.timestamps import NS_PER_DAY, NS_PER_SECOND
from onetape.marketdata.bars import IntArray
from onetape.marketdata.timeline import Timeline
from onetape.marketdata.timezones import check_timezone, utc_to_local

_MIDNIGHT = "00:00 UTC"
_FORM = re.compile(r"([01]\d|2[0-3]):([0-5]\d) (\S+)")


def parse_trading_day(text: str) -> tuple[int, str]:
    """Nanoseconds of the day and time zone of a text like `17:00 America/New_York`.

    Raises:
        ConfigError: It has another form, or the time zone is unknown.
    """
    found = _FORM.fullmatch(text)
    if found is None:
        raise ConfigError(f"{text!r} is no beginning of a day", where="risk.trading_day",
                          remedy="write it like 17:00 America/New_York")  # fmt: skip
    hours, minutes, zone = found.groups()
    try:
        check_timezone(zone)
    except DataError as error:
        raise ConfigError(error.what, where="risk.trading_day", remedy=error.remedy) from None
    return (int(hours) * 3600 + int(minutes) * 60) * NS_PER_SECOND, zone


def number_days(
    instruments: Sequence[Instrument],
    session_close: IntArray,
    ts_close: IntArray,
    trading_day: str | None,
) -> IntArray:
    """A number of the day that each row belongs to, int64, larger for a later day.

    Raises:
        ConfigError: `trading_day` can't be read.
    """
    if trading_day is None and len({each.calendar for each in instruments}) > 1:
        trading_day = _MIDNIGHT
    if trading_day is None:
        return session_close
    begins, zone = parse_trading_day(trading_day)
    return (utc_to_local(ts_close - 1, zone) - begins) // NS_PER_DAY


def find_day_starts(timeline: Timeline, trading_day: str | None = None) -> IntArray:
    """Rows that begin a day, int64, rising; the first row of the timeline is one.

    A row belongs to the day in which its bar has closed, its print was; a close right at the
    beginning of a day is still of the day before. Late rows of an earlier day begin none.

    Args:
        timeline: The rows.
        trading_day: When a day of the account begins, see `parse_trading_day`; None: with the
            session, or at midnight of UTC where the calendars of the instruments differ.

    Raises:
        ConfigError: `trading_day` can't be read.
    """
    columns = timeline.columns
    starts: list[IntArray] = []
    newest = -INT64_MAX
    for first, stop in timeline.spans():
        closes, ends = columns["session_close"][first:stop], columns["ts_close"][first:stop]
        days = number_days(timeline.instruments, closes, ends, trading_day)
        changes = np.flatnonzero(days[1:] != days[:-1]) + 1
        if days[0] > newest:
            changes = np.concatenate(([0], changes))
        if days[0] < newest or np.any(days[changes] < days[np.maximum(changes - 1, 0)]):
            reached = np.maximum.accumulate(np.concatenate(([newest], days)))
            changes = np.flatnonzero(reached[1:] != reached[:-1])
        newest = max(newest, int(days.max()))
        starts.append(changes + first)
    return np.concatenate(starts).astype(np.int64) if starts else np.zeros(1, dtype=np.int64)
