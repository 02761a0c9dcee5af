"""Buy and hold: what every other strategy has to beat."""

from __future__ import annotations

from onetape.domain.market import Bar
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, param


class BuyAndHold(Strategy):
    """Buys each instrument after its first bar, in equal parts of the equity, and never sells.

    The quantity is found at the fill, so a gap in the price can't overspend. An instrument that is
    found flat again (a refused order, a position closed by hand) is bought again.
    """

    weight: float = param(1.0, gt=0, le=1, doc="fraction of the equity to invest")

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        """Order once, then only look."""
        if ctx.position(bar.instrument) == 0 and not ctx.open_orders(bar.instrument):
            ctx.spend_ratio(bar.instrument, self.weight / len(ctx.instruments))
