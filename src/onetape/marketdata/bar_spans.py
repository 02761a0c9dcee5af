"""The interval of time that a moment's bar covers: by the clock, by session or by week."""

from __future__ import annotations

import msgspec
import numpy as np

from onetape.domain.bar_buckets import compute_bucket, compute_bucket_open
from onetape.domain.timestamps import NS_PER_DAY
from onetape.marketdata.bar_rule import BarRule
from onetape.marketdata.bars import BoolArray, IntArray
from onetape.marketdata.calendars import SessionCalendar
from onetape.marketdata.timezones import utc_to_local_days

_DAYS_OF_WEEK = 7
_MONDAY = 4
"""1970-01-05, as days since 1970, was a Monday."""


class Sessions(msgspec.Struct, frozen=True, eq=False):
    """Sessions in time order: local `days` (since 1970), `opens` and `closes` (ns UTC)."""

    days: IntArray
    opens: IntArray
    closes: IntArray

    def find(self, ts: IntArray) -> tuple[IntArray, BoolArray]:
        """Of each moment the session that opened last, and whether it is still open then.

        Before the first session the number is 0 and the answer no.
        """
        if not len(self.opens):
            return np.zeros(len(ts), np.int64), np.zeros(len(ts), np.bool_)
        at = np.searchsorted(self.opens, ts, side="right") - 1
        inside = (at >= 0) & (ts < self.closes[np.maximum(at, 0)])
        return np.maximum(at, 0), inside


def list_sessions(
    calendar: SessionCalendar, ts_first: int, ts_last: int, after_close_ns: int = 0
) -> Sessions:
    """All sessions that can hold a moment of that time, with those of the weeks around it.

    Of a calendar of fixed hours that is every day, as its holidays are not known. Each session
    lasts `after_close_ns` longer, but not into the next one: so prints of a closing auction
    belong to it.
    """
    ends = utc_to_local_days(np.array([ts_first, ts_last], dtype=np.int64), calendar.timezone)
    first, last = int(ends[0]) - _DAYS_OF_WEEK, int(ends[1]) + _DAYS_OF_WEEK
    days = calendar.session_days(first, last)
    if days is None:
        days = np.arange(first, last + 1)
    if not len(days):
        return Sessions(days, days, days)
    bounds = calendar.bounds(days)
    known = bounds.known
    opens, closes = bounds.opens[known], bounds.closes[known] + after_close_ns
    closes[:-1] = np.minimum(closes[:-1], opens[1:])
    return Sessions(days[known], opens, closes)


class Spans(msgspec.Struct, frozen=True, eq=False):
    """The interval `[opens, ends)` of each moment, ns UTC; `inside` False: it has none.

    `session_close` is that of the interval's session, 0 on the clock. `next_open` is when the next
    interval begins where there is none.
    """

    opens: IntArray
    ends: IntArray
    session_close: IntArray
    inside: BoolArray
    next_open: IntArray


def find_spans(ts: IntArray, rule: BarRule, sessions: Sessions | None) -> Spans:
    """The interval of each of `ts` under a rule of time bars.

    | rule                  | interval                                                          |
    | --------------------- | ----------------------------------------------------------------- |
    | by the clock          | `[n, n + 1)` lengths since 1970 UTC, weeks since a Monday         |
    | `1d` by session       | the session                                                       |
    | `1w` by session       | from the open of the first to the close of the last session of a  |
    |                       | week, Monday to Sunday by local date                              |
    | others by session     | lengths since the session's open; the last one ends with it       |

    Args:
        ts: Moments, ns UTC.
        rule: A rule of time bars.
        sessions: Those around all of `ts`; None is enough on the clock.
    """
    if sessions is None or not rule.by_session:
        bucket = compute_bucket(ts, rule.length_ns, rule.origin_ns)
        opens = compute_bucket_open(bucket, rule.length_ns, rule.origin_ns)
        ends = opens + rule.length_ns
        return Spans(opens, ends, np.zeros(len(ts), np.int64), np.ones(len(ts), np.bool_), ends)
    at, inside = sessions.find(ts)
    after = np.searchsorted(sessions.opens, ts, side="right")
    last = np.iinfo(np.int64).max
    next_open = np.append(sessions.opens, last)[after]
    if not len(sessions.opens):
        return Spans(ts, ts, ts, inside, next_open)
    opens, closes = sessions.opens[at], sessions.closes[at]
    if rule.length_ns < NS_PER_DAY:
        start = opens + compute_bucket(ts - opens, rule.length_ns) * rule.length_ns
        return Spans(start, np.minimum(start + rule.length_ns, closes), closes, inside, next_open)
    if rule.length_ns == NS_PER_DAY:
        return Spans(opens, closes, closes, inside, next_open)
    week = (sessions.days - _MONDAY) // _DAYS_OF_WEEK
    first = np.searchsorted(week, week[at])
    final = np.searchsorted(week, week[at], side="right") - 1
    ends = sessions.closes[final]
    return Spans(sessions.opens[first], ends, ends, inside, next_open)
