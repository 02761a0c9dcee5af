"""Numbers and times as text for people. What is not defined reads as a dash."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from decimal import Decimal

from onetape.domain.timestamps import NS_PER_DAY, NS_PER_SECOND

DASH = "–"
_HOUR = 3600 * NS_PER_SECOND
_MINUTE = 60 * NS_PER_SECOND


def percent(fraction: float, digits: int = 2) -> str:
    """A fraction as percent: 0.1234 is `12.34 %`."""
    if not math.isfinite(fraction):
        return DASH
    return f"{_minus(f'{fraction * 100:,.{digits}f}')} %"


def ratio(value: float, unit: str = "") -> str:
    """A plain number with two digits, and its unit."""
    if not math.isfinite(value):
        return DASH
    return _minus(f"{value:,.2f}") + (f" {unit}" if unit else "")


def number(value: float) -> str:
    """A number of any size with up to six significant digits."""
    if not math.isfinite(value):
        return DASH
    if value == int(value) and abs(value) < 1e15:
        return count(int(value))
    return _minus(f"{value:,.6g}" if abs(value) < 1e6 else f"{value:,.2f}")


def money(amount: Decimal | float | None, currency: str = "") -> str:
    """An amount with cents, or with all eight digits when it is less than a cent."""
    if amount is None or not math.isfinite(amount):
        return DASH
    digits = 8 if 0 < abs(amount) < Decimal("0.01") else 2
    return _minus(f"{amount:,.{digits}f}") + (f" {currency}" if currency else "")


def count(value: int) -> str:
    """A whole number with separated thousands."""
    return _minus(f"{value:,}")


def duration(ns: int | None) -> str:
    """A span in its two largest units: `12 d 4 h`, `3 h 20 min`, `5 min`, `12.5 s`."""
    if ns is None:
        return DASH
    days, rest = divmod(ns, NS_PER_DAY)
    hours, rest = divmod(rest, _HOUR)
    minutes, rest = divmod(rest, _MINUTE)
    if days:
        return f"{days:,} d {hours} h" if hours and days < 100 else f"{days:,} d"
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{minutes} min" if minutes else f"{rest / NS_PER_SECOND:g} s"


def day(ts: int | None) -> str:
    """The UTC date of a time in ns; midnight belongs to the day that it begins."""
    return DASH if ts is None else f"{_moment(ts):%Y-%m-%d}"


def minute(ts: int) -> str:
    """UTC date and time of day of a time in ns."""
    return f"{_moment(ts):%Y-%m-%d %H:%M}"


def _moment(ts: int) -> datetime:
    return datetime.fromtimestamp(ts // NS_PER_SECOND, tz=UTC)


def _minus(text: str) -> str:
    """The minus sign of typography, and no sign on what was rounded to zero."""
    if text.startswith("-"):
        return f"−{text[1:]}" if any(digit in text for digit in "123456789") else text[1:]
    return text
