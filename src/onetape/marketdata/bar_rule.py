"""What ends a bar: a time, a count of prints, a volume, a turnover or a range of prices."""

from __future__ import annotations

import math
import re
from enum import Enum

import msgspec

from onetape.domain.errors import DataError
from onetape.domain.timestamps import NS_PER_DAY, timeframe_ns

_MONDAY_NS = 4 * NS_PER_DAY
"""1970-01-05 was a Monday."""

_ACTIVITY = re.compile(r"^([1-9]\d{0,15}|\d{1,9}\.\d{1,9})(tick|volume|dollar|range)$")


class BarKind(Enum):
    """What is counted.

    | kind     | a bar ends                                                                    |
    | -------- | ----------------------------------------------------------------------------- |
    | `time`   | at the end of its interval                                                    |
    | `tick`   | with the print (or shorter bar) that makes the count                          |
    | `volume` | with the one that brings the sum of sizes to the threshold or over it         |
    | `dollar` | the same with price x size, in the instrument's currency; a bar counts at its |
    |          | close                                                                         |
    | `range`  | with the one that brings high - low to the threshold or over it               |

    A print is never divided, and what goes over the threshold does not count for the next bar.
    """

    TIME = "time"
    TICK = "tick"
    VOLUME = "volume"
    DOLLAR = "dollar"
    RANGE = "range"


class BarRule(msgspec.Struct, frozen=True, kw_only=True):
    """One way to make bars. `name` is the timeframe they are stored under.

    Of time bars `length_ns`, and `by_session`: whether intervals begin at the open of a session
    and end with it, or lie on the clock (multiples since 1970 UTC; weeks begin on Monday). Of other
    kinds `threshold`.
    """

    name: str
    kind: BarKind
    length_ns: int = 0
    by_session: bool = False
    threshold: float = math.inf

    @property
    def origin_ns(self) -> int:
        """From when on intervals of the clock are counted, ns UTC."""
        return _MONDAY_NS if self.name.endswith("w") else 0


def parse_bar_rule(name: str, *, by_session: bool | None = None) -> BarRule:
    """The rule that a timeframe names: `5m`, `1d`, `100tick`, `5000volume`, `1000000dollar`.

    Args:
        name: A count and one of s, m, h, d, w, tick, volume, dollar, range.
        by_session: See `BarRule`; None: days and weeks by session, others by the clock.

    Raises:
        DataError: The text names no bars, or no bars of a session.
    """
    activity = _ACTIVITY.match(name)
    if activity:
        threshold, kind = float(activity[1]), BarKind(activity[2])
        if by_session:
            raise DataError(f"{name} bars end by what was traded, not with a session",
                            remedy="leave the session out")  # fmt: skip
        if threshold <= 0 or (kind is BarKind.TICK and threshold != int(threshold)):
            raise DataError(f"{name} bars would never end, or at no whole print",
                            remedy="write a count like 100tick")  # fmt: skip
        return BarRule(name=name, kind=kind, threshold=threshold)
    try:
        length = timeframe_ns(name, error=DataError)
    except DataError as error:
        raise DataError(
            error.what,
            remedy="a count and one of s, m, h, d, w, tick, volume, dollar, range, like 5m",
        ) from None
    if by_session is None:
        by_session = name in ("1d", "1w")
    if by_session and length >= NS_PER_DAY and name not in ("1d", "1w"):
        raise DataError(
            f"{name} bars can't follow sessions",
            remedy="1d, 1w and all below a day can; others lie on the clock",
        )
    return BarRule(name=name, kind=BarKind.TIME, length_ns=length, by_session=by_session)
