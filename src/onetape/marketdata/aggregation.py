"""Longer bars from shorter ones or from trade prints, a whole history at once.

`bar_builder.py` does the same piece by piece, with equal results. A bar is never seen before it is
over; how long it waits for what comes late is the *grace*:

| bars                        | wait                                                               |
| --------------------------- | ------------------------------------------------------------------ |
| of time, from shorter bars  | until the piece that ends with the bar is known; where that one is |
|                             | missing, until `end + grace`                                       |
| of time, from prints        | until `end + grace`                                                |
| by activity                 | prints wait until one that is `grace` younger has come, and count  |
|                             | in the order of `ts_event`, equal ones in that of arrival          |

A piece known after its bar's `end + grace`, or more than `grace` older than the youngest print
before it, is *late*. Without a grace time bars wait as long as the slowest piece of the data needs
(none is late then), and bars by activity not at all.
"""

from __future__ import annotations

from enum import Enum

import msgspec
import numpy as np

from onetape.domain.bar_buckets import reduce_column
from onetape.domain.errors import DataError
from onetape.domain.market import BAR_INT_COLUMNS, Quality
from onetape.domain.timestamps import to_iso
from onetape.marketdata.bar_rule import BarKind, BarRule
from onetape.marketdata.bar_spans import Sessions, Spans, find_spans, list_sessions
from onetape.marketdata.bars import (
    BAR_COLUMNS,
    BarColumns,
    FloatArray,
    IntArray,
    check_columns,
    slice_rows,
)
from onetape.marketdata.calendars import SessionCalendar
from onetape.marketdata.pieces import PRICES, Pieces


class LatePolicy(Enum):
    """What happens to a late piece.

    | policy   |                                                                                 |
    | -------- | ------------------------------------------------------------------------------- |
    | `refuse` | it is an error, which says how much grace would do                              |
    | `drop`   | it is left out and counted; bars that are known never change                    |
    """

    REFUSE = "refuse"
    DROP = "drop"


class Aggregated(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Finished bars in time order (`BAR_COLUMNS`), and what is not in them.

    `outside` pieces lie outside sessions, `late` ones came too late, and `unfinished` ones belong
    to bars that were not over when the last piece became known.
    """

    columns: BarColumns
    outside: int
    late: int
    unfinished: int


def aggregate(
    pieces: Pieces,
    rule: BarRule,
    calendar: SessionCalendar,
    *,
    grace_ns: int | None = None,
    late: LatePolicy = LatePolicy.REFUSE,
    after_close_ns: int = 0,
    where: str = "aggregation",
) -> Aggregated:
    """The bars that a rule makes of pieces.

    Open of the first piece, highest high, lowest low, close of the last, sum of volumes, all
    quality flags of its pieces; the first bar of all has `GAP_BEFORE` where it begins before the
    first piece, since nobody knows what was before. No bar is made where there is no piece. Pieces
    outside sessions belong to no bar of a session.

    Args:
        pieces: In the order in which they became known.
        rule: What ends a bar.
        calendar: The instrument's; only rules by session ask it.
        grace_ns: How long to wait for late pieces; see above.
        late: What to do with those that come later still.
        after_close_ns: How long after its close a session still takes pieces, for the prints of a
            closing auction.
        where: Names the data in errors.

    Raises:
        DataError: A shorter bar goes over the end of its longer one, or pieces are late and the
            policy refuses them.
    """
    if grace_ns is not None and grace_ns < 0:
        raise DataError(f"grace of {grace_ns} ns is negative", where=where)
    if after_close_ns < 0 or (after_close_ns and not rule.by_session):
        raise DataError(f"{after_close_ns} ns after the close mean nothing for {rule.name} bars",
                        where=where, remedy="it is for bars by session")  # fmt: skip
    if rule.kind is not BarKind.TIME:
        return _by_activity(pieces, rule, grace_ns or 0, late, where)
    if not len(pieces):
        return Aggregated(columns=_no_bars(), outside=0, late=0, unfinished=0)
    sessions = None
    if rule.by_session:
        ts_from = pieces.ints("ts_from")
        ends = int(ts_from.min()), int(ts_from.max())
        sessions = list_sessions(calendar, *ends, after_close_ns)
    return _by_time(pieces, rule, sessions, grace_ns, late, where)


def _by_time(
    pieces: Pieces,
    rule: BarRule,
    sessions: Sessions | None,
    grace_ns: int | None,
    late: LatePolicy,
    where: str,
) -> Aggregated:
    spans = find_spans(pieces.ints("ts_from"), rule, sessions)
    check_crossing(pieces, spans, rule, where)
    inside = spans.inside
    grace = (
        int((pieces.ints("ts_known") - pieces.ints("ts_to")).max(initial=0))
        if grace_ns is None
        else grace_ns
    )
    too_late = inside & (pieces.ints("ts_known") > spans.ends + grace)
    if late is LatePolicy.REFUSE and too_late.any():
        wait = int((pieces.ints("ts_known") - spans.ends)[too_late].max())
        raise refuse_late(int(too_late.sum()), wait, rule, where)
    ts_now = int(pieces.ints("ts_known")[-1])
    good = np.flatnonzero(inside & ~too_late)
    order = good[np.argsort(pieces.ints("ts_from")[good], kind="stable")]
    rows = pieces.take(order)
    opens, ends = spans.opens[order], spans.ends[order]
    starts, last = _ranges(opens)
    if not len(starts):
        nothing = int((~inside).sum())
        return Aggregated(columns=_no_bars(), outside=nothing, late=len(too_late) - nothing,
                          unfinished=0)  # fmt: skip
    known = np.maximum.reduceat(rows.ints("ts_known"), starts)
    end = ends[last]
    done = rows.are_bars & (rows.ints("ts_to")[last] == end)
    published = np.maximum.accumulate(np.where(done, known, end + grace))
    session_close = (
        spans.session_close[order][last]
        if rule.by_session
        else np.maximum(rows.ints("session_close")[last], end)
    )
    columns = _reduce(rows, starts, last)
    if rows.ints("ts_from")[0] > opens[0]:
        columns["quality"][0] |= int(Quality.GAP_BEFORE)
    columns |= {"ts_open": opens[starts], "ts_close": end, "ts_known": published,
                "session_close": session_close}  # fmt: skip
    finished = int(np.searchsorted(published, ts_now, side="right"))
    return Aggregated(
        columns=_finish(columns, finished, where),
        outside=int((~inside).sum()),
        late=int(too_late.sum()),
        unfinished=len(rows) - (int(starts[finished]) if finished < len(starts) else len(rows)),
    )


def check_crossing(pieces: Pieces, spans: Spans, rule: BarRule, where: str) -> None:
    """Shorter bars lie wholly inside their longer one, or wholly outside sessions.

    Raises:
        DataError: One does not.
    """
    limit = np.where(spans.inside, spans.ends, spans.next_open)
    crossing = pieces.ints("ts_to") > limit
    if crossing.any():
        row = int(crossing.argmax())
        begin, end = (int(pieces.ints(name)[row]) for name in ("ts_from", "ts_to"))
        raise DataError(
            f"the bar from {to_iso(begin)} to {to_iso(end)} goes over {to_iso(int(limit[row]))}, "
            f"where a {rule.name} bar {'by session' if rule.by_session else 'of the clock'} begins "
            "or ends", where=where, remedy="aggregate from shorter bars",
        )  # fmt: skip


def refuse_late(count: int, wait_ns: int, rule: BarRule, where: str) -> DataError:
    """The error for late pieces, the latest of which would need `wait_ns` of grace."""
    return DataError(
        f"{count} row{'s' if count > 1 else ''} came after their {rule.name} bar was over",
        where=where,
        remedy=f"a grace of {wait_ns / 1e9:.10g} s waits for all; or drop late rows",
    )


def _by_activity(
    pieces: Pieces, rule: BarRule, grace: int, late: LatePolicy, where: str
) -> Aggregated:
    ts_from = pieces.ints("ts_from")
    if not len(pieces):
        return Aggregated(columns=_no_bars(), outside=0, late=0, unfinished=0)
    newest = np.maximum.accumulate(ts_from)
    too_late = np.zeros(len(ts_from), dtype=np.bool_)
    too_late[1:] = ts_from[1:] < newest[:-1] - grace
    if late is LatePolicy.REFUSE and too_late.any():
        wait = int((newest[:-1] - ts_from[1:]).max())
        raise refuse_late(int(too_late.sum()), wait, rule, where)
    good = np.flatnonzero(~too_late & (ts_from <= newest[-1] - grace))
    order = good[np.argsort(ts_from[good], kind="stable")]
    rows = pieces.take(order)
    released = np.maximum(np.searchsorted(newest - grace, rows.ints("ts_from")), order)
    released_at = np.maximum.accumulate(pieces.ints("ts_known")[released])
    last = find_ends(rows, rule)
    starts = np.concatenate([[0], last[:-1] + 1]) if len(last) else last
    unfinished = int((~too_late).sum()) - (int(last[-1]) + 1 if len(last) else 0)
    if not len(last):
        return Aggregated(columns=_no_bars(), outside=0, late=int(too_late.sum()),
                          unfinished=unfinished)  # fmt: skip
    # Prints of one nanosecond may end one bar and begin the next: each lasts one at least.
    number = np.arange(len(last))
    ts_close = np.maximum.accumulate(rows.ints("ts_to")[last] - number) + number
    ts_open = np.maximum(rows.ints("ts_from")[starts], np.concatenate([[0], ts_close[:-1]]))
    columns = _reduce(rows.take(np.arange(last[-1] + 1)), starts, last)
    columns |= {
        "ts_open": ts_open,
        "ts_close": ts_close,
        "ts_known": np.maximum(released_at[last], ts_close),
        "session_close": np.maximum(rows.ints("session_close")[last], ts_close),
    }
    return Aggregated(
        columns=_finish(columns, len(last), where),
        outside=0,
        late=int(too_late.sum()),
        unfinished=unfinished,
    )


_FIRST_LOOK = 1_024


def find_ends(rows: Pieces, rule: BarRule) -> IntArray:
    """Last row of each bar that is over. Sums begin anew with each bar, added in order."""
    if rule.kind is BarKind.TICK:
        count = int(rule.threshold)
        return np.arange(count - 1, len(rows), count)
    ends: list[int] = []
    start, look = 0, _FIRST_LOOK
    while start < len(rows):
        filled = _measure(rows, rule, start, start + look) >= rule.threshold
        at = int(filled.argmax())
        if filled[at]:
            ends.append(start + at)
            start += at + 1
            look = max(_FIRST_LOOK, 2 * at)
        elif start + look >= len(rows):
            break
        else:
            look *= 2
    return np.array(ends, dtype=np.int64)


def _measure(rows: Pieces, rule: BarRule, start: int, stop: int) -> FloatArray:
    """What counts against the threshold, of a bar from `start` to each row before `stop`."""
    if rule.kind is BarKind.RANGE:
        high = np.maximum.accumulate(rows.floats("high")[start:stop])
        return high - np.minimum.accumulate(rows.floats("low")[start:stop])
    name = "volume" if rule.kind is BarKind.VOLUME else "turnover"
    return np.cumsum(rows.floats(name)[start:stop])


def _ranges(keys: IntArray) -> tuple[IntArray, IntArray]:
    """First and last row of each run of equal keys."""
    if not len(keys):
        return keys, keys
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    return starts, np.concatenate([starts[1:], [len(keys)]]) - 1


def _reduce(rows: Pieces, starts: IntArray, last: IntArray) -> BarColumns:
    """Prices, volume and quality of ranges of rows."""
    columns: BarColumns = {
        name: reduce_column(name, rows.floats(name), starts, last) for name in (*PRICES, "volume")
    }
    columns["quality"] = np.bitwise_or.reduceat(rows.ints("quality"), starts)
    return columns


def _finish(columns: BarColumns, rows: int, where: str) -> BarColumns:
    """The first `rows`, in the order of `BAR_COLUMNS`, checked."""
    finished = slice_rows({name: columns[name] for name in BAR_COLUMNS}, 0, rows)
    check_columns(finished, where)
    return finished


def _no_bars() -> BarColumns:
    return {
        name: np.zeros(0, dtype=np.int64 if name in BAR_INT_COLUMNS else np.float64)
        for name in BAR_COLUMNS
    }
