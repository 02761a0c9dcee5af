"""Bars in pieces, merged and laid aside as ticks are: memory is that of a few pieces."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from onetape.domain.instrument import Instrument
from onetape.domain.market import BAR_INT_COLUMNS
from onetape.marketdata.bars import BAR_COLUMNS, BarColumns, check_columns, slice_rows
from onetape.marketdata.column_file import Releasing
from onetape.marketdata.tick_pieces import MergedRows, Pieces, piece_rows
from onetape.marketdata.timeline import Timeline, check_instruments

_TYPES = {name: np.int64 if name in BAR_INT_COLUMNS else np.float64 for name in BAR_COLUMNS}


class BarSeries(msgspec.Struct, frozen=True, eq=False):
    """The bars of one instrument in time order, `BAR_COLUMNS`, and what they are read from."""

    instrument: Instrument
    columns: BarColumns
    source: Releasing

    def __len__(self) -> int:
        return len(self.columns["ts_open"])

    def read(self, rows: int) -> Pieces:
        """So many bars at a time.

        Raises:
            DataError: They are no bars in time order.
        """
        for first in range(0, len(self), rows):
            before = max(first - 1, 0)  # a bar is checked beside the one before it
            piece = slice_rows(self.columns, before, first + rows)
            check_columns(piece, self.instrument.id)
            yield slice_rows(piece, first - before, rows + 1)
            self.source.release()


def merge_bars(series: Sequence[BarSeries], *, source: str, timeframe: str) -> Timeline:
    """The timeline that `build_timeline` makes of bars in memory.

    Raises:
        DataError: There is no instrument, one comes twice, or they are no bars in time order.
        TryAgain: There is no room on the disk to lay rows aside.
    """
    instruments = check_instruments([each.instrument for each in series])
    step = piece_rows(len(series))
    merged = MergedRows([each.read(step) for each in series], _TYPES, [*map(len, series)])
    return Timeline(
        instruments,
        merged.instrument_index,
        merged.columns,
        dict(zip((each.id for each in instruments), merged.rows, strict=True)),
        datasets=(),
        source=source,
        timeframe=timeframe,
        files=(merged.file,),
    )
