"""The rows of a long session on ticks that its figures are measured at.

A curve with a point for each tick would be longer than the ticks. So a long session is measured at
the last slice of each minute, and at the slices around everything that happened to the account or
to an order: what stands there is exact, what was between is not looked at. Ours.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.legs import market_of
from onetape.domain.market import BOOK, QUOTES, TRADES, ContractStep, CorporateAction
from onetape.domain.timestamps import NS_PER_SECOND
from onetape.marketdata.column_file import BLOCK_ROWS
from onetape.marketdata.timeline import Timeline
from onetape.telemetry.run_projection import RunProjection

ROWS_MAX = 1 << 18
"""A session of no more rows is measured at each slice."""

_MINUTE = 60 * NS_PER_SECOND
_TICKS = (TRADES, QUOTES, BOOK)
_KEPT = ("ts_open", "ts_close", "open", "high", "low", "close")

Ints = npt.NDArray[np.int64]


def is_long(timeline: object) -> TypeGuard[Timeline]:
    """Whether it is one of ticks that is not measured at each slice."""
    return (
        isinstance(timeline, Timeline) and timeline.timeframe in _TICKS and len(timeline) > ROWS_MAX
    )


def list_moments(projection: RunProjection) -> list[int]:
    """When something happened to the account or to an order, ns UTC, ascending."""
    found = {ts for ts, _ in projection.account_events} | {projection.ts_last}
    found.update(fill.ts_fill for _, _, fill in projection.fills)
    for order in projection.orders.values():
        found |= {order.ts_submitted, order.ts_last}
        if order.ts_accepted is not None:
            found.add(order.ts_accepted)
    return sorted(found)


class ThinTimeline:
    """Some slices of a timeline: for each the newest row of every instrument that has a new one.

    What the analytics read of a timeline; `ts_known` of a row is that of its slice. `volume` and
    `turnover` (price x volume) of a row are those since the row before it.

    Args:
        timeline: Of ticks.
        moments: Times (ns UTC) around which slices are kept, besides the last of each minute.
    """

    def __init__(self, timeline: Timeline, moments: Iterable[int]) -> None:
        self.instruments: Sequence[Instrument] = timeline.instruments
        self.tradable: Sequence[Instrument] = timeline.tradable
        self.marks_closing_side = timeline.marks_closing_side
        self.timeframe = timeline.timeframe
        self.actions: tuple[CorporateAction, ...] = timeline.actions
        self.steps: tuple[ContractStep, ...] = timeline.steps
        steps = [each.ts_known for each in (*self.actions, *self.steps)]
        times = np.unique(np.array([*moments, *steps], dtype=np.int64))
        met = [_find_met(timeline, each.id, times) for each in timeline.instruments]
        rows_met = [
            timeline.rows_of(each.id)[own]
            for each, own in zip(timeline.instruments, met, strict=True)
        ]
        slices = _find_slices(timeline, times, np.concatenate(rows_met))
        parts: list[tuple[Ints, Ints, Ints]] = []
        sums: list[npt.NDArray[np.float64]] = []
        for at, each in enumerate(timeline.instruments):
            own = timeline.rows_of(each.id)
            newest = np.searchsorted(own, slices, side="right") - 1
            places = np.unique(np.concatenate((newest[newest >= 0], met[at])))
            rows = own[places]
            known = timeline.columns["ts_known"][slices[np.searchsorted(slices, rows)]]
            parts.append((known, np.full(len(rows), at), rows))
            sums.append(_sum_between(timeline, own, places))
            timeline.release()
        known, owners, rows = (np.concatenate(each) for each in zip(*parts, strict=True))
        order = np.lexsort((rows, owners, known))
        volume, turnover = np.concatenate(sums, axis=1)[:, order]
        rows, owners = rows[order], owners[order]
        kept = (*_KEPT, "bid", "ask") if timeline.marks_closing_side else _KEPT
        self.columns: dict[str, npt.NDArray[Any]] = {
            "ts_known": known[order],
            **{name: timeline.columns[name][rows] for name in kept},
            "volume": volume,
            "turnover": turnover,
        }
        timeline.release()
        ts_known = self.columns["ts_known"]
        self.slice_end = np.append(ts_known[1:] != ts_known[:-1], True)
        self.action_rows: Sequence[int] = _rows_before(ts_known, self.actions)
        self.step_rows: Sequence[int] = _rows_before(ts_known, self.steps)
        self._rows = {
            str(each.id): np.flatnonzero(owners == at)
            for at, each in enumerate(timeline.instruments)
        }

    def rows_of(self, instrument_id: str, /) -> Ints:
        """Rows of one instrument, ascending."""
        return self._rows[market_of(InstrumentId(instrument_id))]


def _rows_before(
    ts_known: Ints, happenings: Sequence[CorporateAction | ContractStep]
) -> Sequence[int]:
    return np.searchsorted(ts_known, [each.ts_known for each in happenings]).tolist()


def _find_met(timeline: Timeline, instrument: str, times: Ints) -> Ints:
    """Places among an instrument's rows that a time asks for, each with the one before.

    That is where it stood then, and where an order that arrives then meets it.
    """
    own = timeline.rows_of(instrument).data
    known, closes = (timeline.columns[name] for name in ("ts_known", "ts_close"))
    found: set[int] = set()
    for ts in times.tolist():
        newest = bisect_right(own, ts, key=known.item) - 1
        first = bisect_right(own, ts, key=closes.item)
        found |= {newest - 1, newest, first - 1, first}
    return np.array(sorted(at for at in found if 0 <= at < len(own)), dtype=np.int64)


def _find_slices(timeline: Timeline, times: Ints, rows: Ints) -> Ints:
    """The last row of each slice that is kept: of minutes, around `times`, and of `rows`."""
    ts_known = timeline.columns["ts_known"]
    total = len(ts_known)
    found = [np.array([0, total - 1]), rows]
    for first, stop in timeline.spans():
        minutes = ts_known[first : stop + 1] // _MINUTE
        found.append(np.flatnonzero(minutes[1:] != minutes[:-1]) + first)
    for side in ("left", "right"):
        after = np.searchsorted(ts_known, times, side=side)
        found += [after - 1, after]
    every = np.unique(np.concatenate(found))
    every = every[(every >= 0) & (every < total)]
    return np.unique(np.searchsorted(ts_known, ts_known[every], side="right") - 1)


def _sum_between(timeline: Timeline, own: Ints, places: Ints) -> npt.NDArray[np.float64]:
    """Volume and turnover from behind the place before up to each of `places`, shape (2, places).

    The last of them is the last of the rows `own`.
    """
    sums = np.zeros((2, len(places)))
    for first in range(0, len(own), BLOCK_ROWS):
        rows = own[first : first + BLOCK_ROWS]
        volume, price = timeline.columns["volume"][rows], timeline.columns["close"][rows]
        at = np.searchsorted(places, np.arange(first, first + len(rows)))
        begin, width = int(at[0]), int(at[-1]) - int(at[0]) + 1
        for total, values in zip(sums, (volume, volume * price), strict=True):
            total[begin : begin + width] += np.bincount(at - begin, values, width)
        timeline.release()
    return sums
