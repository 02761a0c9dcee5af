"""Slices of bars of several instruments: how long one waits for the bars that are not there yet.

A slice holds the bars of one close time. It is complete when every instrument's bar is known, or
`grace` after the close, whichever comes first; a bar that is missing is waited for in vain. A bar
known later is `LATE` and stands alone. No slice comes before an earlier one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onetape.domain.errors import DataError
from onetape.domain.instrument import InstrumentId
from onetape.domain.market import Bar, Quality, TimeSlice, make_bar
from onetape.marketdata.bars import BarColumns


def align_slices(series: Sequence[BarColumns], grace_ns: int) -> list[BarColumns]:
    """The same bars, each known when its slice is complete.

    Args:
        series: `BAR_COLUMNS` of each instrument, in time order.
        grace_ns: How long after its close a slice waits.

    Raises:
        DataError: The grace is negative.
    """
    _check(grace_ns)
    closes = np.concatenate([each["ts_close"] for each in series])
    known = np.concatenate([each["ts_known"] for each in series])
    late = known > closes + grace_ns
    ends, at = np.unique(closes[~late], return_inverse=True)
    ready = np.zeros(len(ends), dtype=np.int64)
    np.maximum.at(ready, at, known[~late])
    ready = np.where(np.bincount(at) == len(series), ready, ends + grace_ns)
    number = np.arange(len(ends))  # each slice at least a nanosecond after the one before it
    ready = np.maximum.accumulate(ready - number) + number
    aligned = known.copy()
    aligned[~late] = ready[at]
    parts = np.cumsum([len(each["ts_close"]) for each in series])[:-1]
    return [
        {**each, "ts_known": new, "quality": each["quality"] | flags * int(Quality.LATE)}
        for each, new, flags in zip(
            series, np.split(aligned, parts), np.split(late, parts), strict=True
        )
    ]


class SliceCollector:
    """Collects bars as they become known; gives the slices that `align_slices` describes.

    Args:
        instruments: All that a complete slice has, in its order.
        grace_ns: How long after its close a slice waits.
    """

    def __init__(self, instruments: Sequence[InstrumentId], grace_ns: int) -> None:
        _check(grace_ns)
        self._order = {name: at for at, name in enumerate(instruments)}
        self._grace = grace_ns
        self._open: dict[int, list[Bar]] = {}
        self._last = -1

    def push(self, bar: Bar) -> list[TimeSlice]:
        """Takes one bar, in the order of `ts_known`; the slices that were complete before it."""
        ready = self.advance(bar.ts_known - 1)
        if bar.ts_known > bar.ts_close + self._grace:
            return [*ready, TimeSlice(bar.ts_known, (_know(bar, bar.ts_known, Quality.LATE),))]
        self._open.setdefault(bar.ts_close, []).append(bar)
        return ready

    def advance(self, ts_now: int) -> list[TimeSlice]:
        """The slices that are complete once every bar known up to `ts_now` (ns UTC) was pushed."""
        ready: list[TimeSlice] = []
        for close in sorted(self._open):
            bars = self._open[close]
            complete = len(bars) == len(self._order)
            at = max(bar.ts_known for bar in bars) if complete else close + self._grace
            at = max(at, self._last + 1)
            if at > ts_now:
                break
            self._last = at
            bars = sorted(self._open.pop(close), key=lambda each: self._order[each.instrument])
            ready.append(TimeSlice(at, tuple(_know(bar, at) for bar in bars)))
        return ready


def _check(grace_ns: int) -> None:
    if grace_ns < 0:
        raise DataError(f"grace of {grace_ns} ns is negative")


def _know(bar: Bar, ts_known: int, flag: Quality = Quality.GOOD) -> Bar:
    """The same bar, known then."""
    return make_bar(
        bar.instrument, ts_open=bar.ts_open, ts_close=bar.ts_close, ts_known=ts_known,
        open=bar.open, high=bar.high, low=bar.low, close=bar.close, volume=bar.volume,
        session_close=bar.session_close, quality=bar.quality | flag, source=bar.source,
        timeframe=bar.timeframe,
    )  # fmt: skip
