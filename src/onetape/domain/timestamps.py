"""Time is int nanoseconds UTC. This file turns it into text and back, and nothing else does."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime

from onetape.domain.errors import FixInput
from onetape.domain.rules import rule

NS_PER_SECOND = 1_000_000_000
NS_PER_MS = 1_000_000
NS_PER_DAY = 86_400 * NS_PER_SECOND

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FRACTION = re.compile(r"^(.*?:\d\d)\.(\d{1,9})(.*)$")


def to_iso(ts: int) -> str:
    """ISO 8601 UTC text of `ts` (ns), with only as many fraction digits as it needs."""
    seconds, ns = divmod(ts, NS_PER_SECOND)
    text = datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{ns:09d}".rstrip("0") if ns else ""
    return f"{text}{fraction}Z"


def has_time(ts: int) -> bool:
    """Whether `ts` is a time: a session on its feed's clock counts from 1 on until it hears one."""
    return ts >= NS_PER_SECOND


def from_iso(text: str | date, what: str = "time", *, error: type[FixInput] = FixInput) -> int:
    """Nanoseconds UTC of an ISO date or time; without an offset it is taken as UTC.

    Raises:
        error: The text is no ISO 8601 date or time; `what` names it.
    """
    raw = text.isoformat() if isinstance(text, date) else text.strip()
    ns = 0
    match = _FRACTION.match(raw)
    if match:
        raw = match[1] + match[3]
        ns = int(match[2].ljust(9, "0"))
    try:
        moment = datetime.fromisoformat(raw)
    except ValueError:
        raise error(
            f"{what} {text!r} is not an ISO 8601 date or time",
            remedy="write it like 2024-01-31 or 2024-01-31T09:30:00Z",
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    delta = moment - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * NS_PER_SECOND + delta.microseconds * 1000 + ns


_TIMEFRAME = re.compile(r"^([1-9]\d*)(s|m|h|d|w)$")
_UNIT_NS = {
    "s": NS_PER_SECOND,
    "m": 60 * NS_PER_SECOND,
    "h": 3600 * NS_PER_SECOND,
    "d": NS_PER_DAY,
    "w": 7 * NS_PER_DAY,
}


def timeframe_ns(timeframe: str, *, error: type[FixInput] = FixInput) -> int:
    """Nominal length in ns of a timeframe such as `1m`, `4h`, `1d` (a day is 24 hours here).

    Raises:
        error: The text is no timeframe.
    """
    match = _TIMEFRAME.match(timeframe)
    if not match:
        raise error(
            f"timeframe {timeframe!r} is unknown",
            remedy="write a count and one of s, m, h, d, w, like 1m or 1d",
        )
    return int(match[1]) * _UNIT_NS[match[2]]


def has_length(timeframe: str) -> bool:
    """Whether a timeframe is a length of time, not a count such as `100tick` nor ticks."""
    return _TIMEFRAME.match(timeframe) is not None


@rule
def compute_month(ts: int) -> int:
    """Calendar month (UTC) that holds `ts` (ns), counted from 0 in January 1970.

    Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days: eras of 400 years,
    years that begin in March.
    """
    days = ts // 86_400_000_000_000 + 719_468
    era = days // 146_097
    day = days - era * 146_097
    year = (day - day // 1_460 + day // 36_524 - day // 146_096) // 365
    month = (5 * (day - (365 * year + year // 4 - year // 100)) + 2) // 153
    return (era * 400 + year - 1970) * 12 + month + 2
