"""The depth around generated quotes, as changes of price levels."""

from __future__ import annotations

import numpy as np

from onetape.domain.errors import DataError
from onetape.domain.instrument import Instrument
from onetape.marketdata.bars import BarColumns, IntArray
from onetape.marketdata.record_kinds import RecordColumns
from onetape.marketdata.sample_data import (
    SampleModel,
    SampleSeries,
    make_stream,
    mean_lots,
    to_prices,
    to_sizes,
)

MAX_LEVELS = 10_000_000
"""Quotes x levels of one instrument."""


def make_depth(
    series: SampleSeries, model: SampleModel, instrument: Instrument, bars: BarColumns, seed: int
) -> RecordColumns:
    """Changes of the best `levels` prices of each side, one update at the time of each quote.

    The best level is the quote; the others lie a tick apart, with lots drawn anew each time. Bids
    below one tick are left out. The first update builds the book.

    Raises:
        DataError: There are too many levels.
    """
    quotes, levels = series.bid.size, model.levels
    if quotes * levels > MAX_LEVELS:
        raise DataError(
            f"{quotes:,} quotes of {levels} levels are more than {MAX_LEVELS:,} levels",
            where=f"generated depth of {instrument.id}", remedy="take fewer levels or prints",
        )  # fmt: skip
    draws = make_stream(seed, instrument.id, "depth")
    lots = draws.geometric(1 / mean_lots(model, instrument), (2, quotes, levels))
    prices: list[IntArray] = []
    sizes: list[IntArray] = []
    for side, (best, shown) in enumerate(
        ((series.bid, series.bid_lots), (series.ask, series.ask_lots))
    ):
        step = -1 if side == 0 else 1
        lots[side, :, 0] = shown.ravel()
        now = best.reshape(-1, 1) + step * np.arange(levels)
        before = np.roll(now, 1, axis=0)
        away = step * (before - now[:, :1])  # where the old levels lie in the new ones
        gone = (away < 0) | (away >= levels)
        gone[0] = False
        prices += [np.where(gone, before, 0), now]
        sizes += [np.zeros_like(now), lots[side]]
    table = np.concatenate(prices, axis=1)  # 0 or less: no level
    row, column = np.nonzero(table > 0)
    return {
        "ts_event": series.ts_quote.ravel()[row],
        "session_close": np.repeat(bars["session_close"], series.bid.shape[1])[row],
        "is_bid": (column < 2 * levels).astype(np.int64),
        "update_id": row + 1,
        "price": to_prices(table[row, column], instrument),
        "size": to_sizes(np.concatenate(sizes, axis=1)[row, column], instrument),
    }
