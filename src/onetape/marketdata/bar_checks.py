"""What is doubtful about stored bars: one rule a function, each gives the rows that it finds.

Rules look at raw bars of one instrument; what they find is a reason to look, not an error. Columns
are those of bars, rows are positions in them.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

import msgspec
import numpy as np

from onetape.domain.timestamps import NS_PER_DAY, has_length, timeframe_ns
from onetape.marketdata.bar_spans import Sessions, list_sessions
from onetape.marketdata.bars import BarColumns, BoolArray, FloatArray, IntArray
from onetape.marketdata.calendars import AroundTheClock, SessionCalendar
from onetape.marketdata.quality import ROUNDING_RATIO

_HOUR_NS = 3_600_000_000_000
_MAD_TO_SIGMA = 1.4826
"""Of a normal distribution (Rousseeuw and Croux 1993, *Alternatives to the median absolute
deviation*)."""


class CheckRule(Enum):
    """What is looked for.

    | rule          | rows found                                                                 |
    | ------------- | -------------------------------------------------------------------------- |
    | `ohlc`        | high below open, close or low, low above open or close, a price that is    |
    |               | not positive and finite, a negative or infinite volume                     |
    | `future`      | bars that close after now                                                  |
    | `gap`         | the first bar after a session without bars, or after missing bars of a     |
    |               | session                                                                    |
    | `outside`     | bars that lie outside the sessions of the calendar                         |
    | `hour_shift`  | all bars of a session whose first and last stand exactly an hour off, as   |
    |               | after a forgotten clock change or a wrong time zone                        |
    | `outlier`     | returns that are more than `robust_z` robust deviations from the median    |
    | `split_like`  | outliers that open at almost exactly a usual ratio of the last close, as   |
    |               | after a split that nobody told; those of the catalog are taken out before  |
    | `zero_volume` | bars without volume, in a dataset that has any                             |
    | `stale`       | bars of a run of at least `stale_bars` with the same four prices           |
    """

    OHLC = "ohlc"
    FUTURE = "future"
    GAP = "gap"
    OUTSIDE = "outside"
    HOUR_SHIFT = "hour_shift"
    OUTLIER = "outlier"
    SPLIT_LIKE = "split_like"
    ZERO_VOLUME = "zero_volume"
    STALE = "stale"


class CheckSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Thresholds. `robust_z` is in deviations, `split_tolerance` a fraction of the ratio."""

    robust_z: float = 12.0
    split_tolerance: float = 0.03
    stale_bars: int = 5


class Checked(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What the rules need: the bars, and what time says of them.

    `splits` are new shares for an old one at each row, float64 of shape (rows,): what is known of
    them is no outlier. None: nothing is known.
    """

    columns: BarColumns
    timeframe: str
    calendar: SessionCalendar
    sessions: Sessions
    ts_now: int
    settings: CheckSettings
    splits: FloatArray | None = None

    @property
    def prices(self) -> list[FloatArray]:
        """Open, high, low and close."""
        return [self.columns[name] for name in ("open", "high", "low", "close")]

    @property
    def is_intraday(self) -> bool:
        """Whether several bars make a session."""
        return self.length_ns < NS_PER_DAY

    @property
    def length_ns(self) -> int:
        """Length of a bar; 0 where bars end by activity."""
        return timeframe_ns(self.timeframe) if has_length(self.timeframe) else 0


def look_at(
    columns: BarColumns,
    timeframe: str,
    calendar: SessionCalendar,
    ts_now: int,
    settings: CheckSettings,
    splits: FloatArray | None = None,
) -> Checked:
    """The bars with the sessions around them; there must be one bar at least."""
    ends = int(columns["ts_open"][0]), int(columns["ts_close"][-1])
    return Checked(
        columns=columns, timeframe=timeframe, calendar=calendar,
        sessions=list_sessions(calendar, *ends), ts_now=ts_now, settings=settings, splits=splits,
    )  # fmt: skip


def find_rows(rule: CheckRule, bars: Checked) -> IntArray:
    """The rows that a rule finds, rising."""
    return np.flatnonzero(_RULES[rule](bars))


def _ohlc(bars: Checked) -> BoolArray:
    open_, high, low, close = bars.prices
    slack = ROUNDING_RATIO * np.abs(close)
    volume = bars.columns["volume"]
    usable = np.all([np.isfinite(each) & (each > 0) for each in bars.prices], axis=0)
    return (
        ~usable | (high < np.maximum(open_, close) - slack)
        | (low > np.minimum(open_, close) + slack) | (high < low) | ~((volume >= 0)
        & np.isfinite(volume))
    )  # fmt: skip


def _future(bars: Checked) -> BoolArray:
    return bars.columns["ts_close"] > bars.ts_now


def _gap(bars: Checked) -> BoolArray:
    ts_open, ts_close = bars.columns["ts_open"], bars.columns["ts_close"]
    found = np.zeros(len(ts_open), dtype=np.bool_)
    days = bars.sessions.days
    if not bars.length_ns or not len(days):
        return found
    if bars.calendar.session_days(int(days[0]), int(days[-1])) is None:
        return found  # nothing says what is missing
    session, inside = bars.sessions.find(ts_open)
    both = inside[1:] & inside[:-1]
    usual = max(1, bars.length_ns // NS_PER_DAY)
    found[1:] = both & (np.diff(session) > usual)
    if bars.is_intraday:
        missing = ts_open[1:] - ts_close[:-1]
        pause = bars.calendar.breaks(bars.sessions.days)
        begin, end = pause.opens[session[1:]], pause.closes[session[1:]]
        over = pause.known[session[1:]] & (ts_close[:-1] <= begin) & (ts_open[1:] >= end)
        missing = missing - np.where(over, end - begin, 0)
        found[1:] |= both & (np.diff(session) == 0) & (missing > 0)
        first = np.flatnonzero(np.diff(session, prepend=-1) != 0)
        found[first] |= inside[first] & (ts_open[first] > bars.sessions.opens[session[first]])
    return found


def _outside(bars: Checked) -> BoolArray:
    if not bars.is_intraday or isinstance(bars.calendar, AroundTheClock):
        return np.zeros(len(bars.columns["ts_open"]), dtype=np.bool_)
    return ~bars.sessions.find(bars.columns["ts_open"])[1]


def _hour_shift(bars: Checked) -> BoolArray:
    """Sessions by nearest open, so that bars before the true open belong to it too."""
    ts_open, ts_close = bars.columns["ts_open"], bars.columns["ts_close"]
    found = np.zeros(len(ts_open), dtype=np.bool_)
    opens, closes = bars.sessions.opens, bars.sessions.closes
    if not bars.is_intraday or isinstance(bars.calendar, AroundTheClock) or not len(opens):
        return found
    middle = (opens + closes) // 2
    nearest = np.searchsorted((middle[1:] + middle[:-1]) // 2, ts_open)
    starts = np.flatnonzero(np.diff(nearest, prepend=-1) != 0)
    last = np.append(starts[1:], len(ts_open)) - 1
    at = nearest[starts]
    early, late = ts_open[starts] - opens[at], ts_close[last] - closes[at]
    shifted = (early == late) & (np.abs(early) == _HOUR_NS)
    for start, stop in zip(starts[shifted].tolist(), last[shifted].tolist(), strict=True):
        found[start : stop + 1] = True
    return found


def _returns(bars: Checked) -> FloatArray:
    """Logarithm of each close over the one before it in shares of then; 0 where there is none."""
    close = bars.columns["close"]
    with np.errstate(all="ignore"):
        returns = np.diff(np.log(close), prepend=np.log(close[:1]))
        if bars.splits is not None:
            returns[1:] += np.log(bars.splits[1:])
    return np.where(np.isfinite(returns), returns, 0.0)


def _outlier(bars: Checked) -> BoolArray:
    """Distance from the median in scaled median absolute deviations.

    Iglewicz and Hoaglin 1993, *How to detect and handle outliers*. Bars that repeat the close say
    nothing about the spread and do not count.
    """
    returns = _returns(bars)
    moving = returns[returns != 0]
    if len(moving) < 2:
        return np.zeros(len(returns), dtype=np.bool_)
    center = float(np.median(moving))
    spread = _MAD_TO_SIGMA * float(np.median(np.abs(moving - center)))
    return (returns != 0) & (np.abs(returns - center) > bars.settings.robust_z * spread)


_USUAL = (4 / 3, 3 / 2, 5 / 3, 5 / 2, *range(2, 21))
_RATIOS = np.unique([ratio for each in _USUAL for ratio in (each, 1 / each)])
_SPLIT_MIN = 0.25
"""Smaller jumps of the logarithm, such as 5:4, happen without a split."""


def _split_like(bars: Checked) -> BoolArray:
    """By the open over the last close: between them a split is all that moves most prices."""
    open_, _, _, close = bars.prices
    with np.errstate(all="ignore"):
        jump = np.concatenate([[1.0], open_[1:] / close[:-1]])
        if bars.splits is not None:
            jump[1:] *= bars.splits[1:]
    jump = np.where(np.isfinite(jump) & (jump > 0), jump, 1.0)
    at = np.clip(np.searchsorted(_RATIOS, jump), 1, len(_RATIOS) - 1)
    off = np.minimum(np.abs(jump / _RATIOS[at] - 1), np.abs(jump / _RATIOS[at - 1] - 1))
    large = np.abs(np.log(jump)) > _SPLIT_MIN
    return large & (off <= bars.settings.split_tolerance) & _outlier(bars)


def _zero_volume(bars: Checked) -> BoolArray:
    volume = bars.columns["volume"]
    return (volume == 0) & bool((volume > 0).any())


def _stale(bars: Checked) -> BoolArray:
    same = np.all([np.diff(each) == 0 for each in bars.prices], axis=0)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], same, [False]]).astype(np.int8)))
    found = np.zeros(len(bars.columns["ts_open"]), dtype=np.bool_)
    for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if stop - start + 1 >= bars.settings.stale_bars:
            found[start : stop + 1] = True
    return found


_RULES: dict[CheckRule, Callable[[Checked], BoolArray]] = {
    CheckRule.OHLC: _ohlc,
    CheckRule.FUTURE: _future,
    CheckRule.GAP: _gap,
    CheckRule.OUTSIDE: _outside,
    CheckRule.HOUR_SHIFT: _hour_shift,
    CheckRule.OUTLIER: _outlier,
    CheckRule.SPLIT_LIKE: _split_like,
    CheckRule.ZERO_VOLUME: _zero_volume,
    CheckRule.STALE: _stale,
}
