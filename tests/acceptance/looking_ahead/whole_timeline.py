"""The timeline itself, by a hidden attribute that the validator does not see in the source."""

from __future__ import annotations

from operator import attrgetter

from onetape.domain.market import Bar
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, state

columns_of = attrgetter("_around._market._timeline.columns")


class WholeTimeline(Strategy):
    row: int = state(-1)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        self.row += 1
        later = columns_of(ctx)["close"][self.row + 20 : self.row + 21]
        ctx.target(bar.instrument, 10 if len(later) and later[0] > bar.close else 0)
