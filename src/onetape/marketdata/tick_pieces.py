"""Rows of ticks in pieces: cut from longer columns, merged, and laid aside in a `ColumnFile`.

Memory is that of a few pieces, however many rows there are. A piece may end anywhere, between rows
of one time too; nothing that comes out depends on where.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from onetape.domain.instrument import Instrument
from onetape.marketdata.column_file import BLOCK_ROWS, ColumnFile, Releasing
from onetape.marketdata.ticks import TickColumns, complete_deltas, complete_quotes, spread
from onetape.marketdata.trades import complete_trades

Columns = Mapping[str, npt.NDArray[Any]]
Pieces = Iterator[TickColumns]
Complete = Callable[..., TickColumns]
Ints32 = npt.NDArray[np.int32]

_ROWS_MIN = 1024
_INDEX = "instrument"
QUALITY = "quality"
COMPLETE: Mapping[str, Complete] = {
    "trades": complete_trades, "quotes": complete_quotes, "book": complete_deltas,
}  # fmt: skip


class TickSeries:
    """The records of one kind and instrument, wherever they are.

    Args:
        instrument: Whose.
        kind: `trades`, `quotes` or `book`.
        columns: As its function of `COMPLETE` takes them, and `quality` where a row has a flag.
        source: What they are read from; None: they are in memory.

    Raises:
        DataError: A column is missing, unknown, or of another type or length.
    """

    def __init__(
        self,
        instrument: Instrument,
        kind: str,
        columns: Columns,
        source: Releasing | None = None,
    ) -> None:
        self.instrument = instrument
        self._complete = COMPLETE[kind]
        self._columns = {name: each for name, each in columns.items() if name != QUALITY}
        self._quality = columns.get(QUALITY)
        self._source = source
        self._complete({name: each[:1] for name, each in self._columns.items()}, instrument.id)
        if any(each.shape != columns["ts_event"].shape for each in columns.values()):
            self._complete(self._columns, instrument.id)  # which tells of which

    def __len__(self) -> int:
        return len(self._columns["ts_event"])

    @property
    def is_flagged(self) -> bool:
        """Whether it has quality flags."""
        return self._quality is not None

    def read(self, rows: int, *, flagged: bool, bare: bool) -> Pieces:
        """Complete rows, so many at a time.

        `flagged`: with `quality`. `bare`: as the function completes them, else as `spread` does.

        Raises:
            DataError: They are no such records in time order.
        """
        total = len(self)
        for first in range(0, total, rows):
            stop = min(first + rows, total)
            before, behind = max(first - 1, 0), min(stop + 1, total)  # a row tells of its neighbors
            part = {name: each[before:behind] for name, each in self._columns.items()}
            piece = self._complete(part, self.instrument.id, first_row=before)
            if not bare:
                piece = spread(piece)
            taken = slice(first - before, stop - before)
            piece = {name: each[taken] for name, each in piece.items()}
            if flagged:
                none = np.zeros(stop - first, dtype=np.int64)
                piece[QUALITY] = none if self._quality is None else self._quality[first:stop]
            yield piece
            if self._source is not None:
                self._source.release()


def merge_pieces(streams: Sequence[Pieces]) -> Iterator[tuple[TickColumns, Ints32]]:
    """Rows of several streams by (`ts_known`, position of the stream), and that position of each.

    Rows of one stream are in the order of `ts_known` and keep theirs.
    """
    waiting: list[TickColumns] = [{} for _ in streams]
    is_over = [False] * len(streams)

    def pull(at: int) -> None:
        more = next(streams[at], None)
        if more is None:
            is_over[at] = True
        elif waiting[at]:
            own = waiting[at]
            waiting[at] = {name: np.concatenate((own[name], more[name])) for name in own}
        else:
            waiting[at] = more

    for at in range(len(streams)):
        pull(at)
    while not all(is_over):
        # Each may go on with its last time: what is before the earliest of those is complete.
        going = [at for at, over in enumerate(is_over) if not over]
        first = min(going, key=lambda at: int(waiting[at]["ts_known"][-1]))
        until = int(waiting[first]["ts_known"][-1])
        ready: list[tuple[int, TickColumns]] = []
        for at, own in enumerate(waiting):
            count = int(np.searchsorted(own["ts_known"], until)) if own else 0
            if count:
                ready.append((at, {name: each[:count] for name, each in own.items()}))
                rest = {name: each[count:] for name, each in own.items()}
                waiting[at] = rest if len(rest["ts_known"]) else {}
        if ready:
            yield _merge(ready)
        pull(first)
    if rest_of := [(at, own) for at, own in enumerate(waiting) if own]:
        yield _merge(rest_of)


def _merge(parts: Sequence[tuple[int, TickColumns]]) -> tuple[TickColumns, Ints32]:
    owners = [np.full(len(own["ts_known"]), at, dtype=np.int32) for at, own in parts]
    if len(parts) == 1:
        return parts[0][1], owners[0]
    merged = {name: np.concatenate([own[name] for _, own in parts]) for name in parts[0][1]}
    order = np.argsort(merged["ts_known"], kind="stable")  # at one time as the streams stand
    return {name: each[order] for name, each in merged.items()}, np.concatenate(owners)[order]


class MergedRows:
    """Rows of several instruments in one order, laid aside.

    Args:
        streams: Pieces of each instrument; they are read to their ends.
        types: Columns to keep, with their types.
        lengths: How many rows each stream has.

    Attributes:
        columns: Each of shape (rows,).
        instrument_index: Position of the instrument of each row, int32.
        rows: Rows of each instrument, rising.
        file: Where all this is.
    """

    def __init__(
        self,
        streams: Sequence[Pieces],
        types: Mapping[str, npt.DTypeLike],
        lengths: Sequence[int],
    ) -> None:
        total = sum(lengths)
        own = [f"rows of {at}" for at in range(len(lengths))]
        self.file = file = ColumnFile(
            {**types, _INDEX: np.int32, **dict.fromkeys(own, np.int64)},
            {**dict.fromkeys((*types, _INDEX), total), **dict(zip(own, lengths, strict=True))},
        )
        done = 0
        for piece, owners in merge_pieces(streams):
            file.append({name: piece[name] for name in types})
            file.append({_INDEX: owners})
            for at in np.unique(owners).tolist():
                file.append({own[at]: np.flatnonzero(owners == at) + done})
            done += len(owners)
        found = file.read()
        self.columns: TickColumns = {name: found[name] for name in types}
        self.instrument_index: Ints32 = found[_INDEX]
        self.rows = [found[each] for each in own]

    def series_of(self, at: int, names: Sequence[str]) -> TickColumns:
        """Those columns of one instrument, laid aside too where it is one of several."""
        columns = {name: self.columns[name] for name in names}
        if len(self.rows) == 1:
            return columns
        rows = self.rows[at]
        file = ColumnFile({name: each.dtype for name, each in columns.items()}, len(rows))
        for first in range(0, len(rows), BLOCK_ROWS):
            own = rows[first : first + BLOCK_ROWS]
            file.append({name: each[own] for name, each in columns.items()})
            self.file.release()
        return file.read()


def piece_rows(streams: int) -> int:
    """Rows of a piece, so that those of all streams are a few blocks together."""
    return max(BLOCK_ROWS // max(streams, 1), _ROWS_MIN)
