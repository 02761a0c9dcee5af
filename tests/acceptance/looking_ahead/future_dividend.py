"""Buys before a dividend that is not known yet, by a hidden attribute."""

from __future__ import annotations

from operator import attrgetter

from onetape.domain.market import Bar
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy

actions_of = attrgetter("_around._market._timeline.actions")
WEEK = 7 * 86_400 * 1_000_000_000


class FutureDividend(Strategy):
    def on_bar(self, bar: Bar, ctx: Context) -> None:
        soon = any(ctx.now < each.ts_event <= ctx.now + WEEK for each in actions_of(ctx))
        ctx.target(bar.instrument, 10 if soon else 0)
