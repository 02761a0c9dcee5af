"""Trades only what is still there at the end of the data: the universe of today, in the past."""

from __future__ import annotations

from operator import attrgetter

import numpy as np

from onetape.domain.market import Bar
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy

index_of = attrgetter("_around._market._timeline.instrument_index")


class Survivors(Strategy):
    def on_bar(self, bar: Bar, ctx: Context) -> None:
        rows = index_of(ctx)
        here = ctx.instruments.index(bar.instrument)
        is_there = bool(np.any(rows[-20:] == here))
        ctx.target(bar.instrument, 10 if is_there else 0)
