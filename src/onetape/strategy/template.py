"""The template of `onetape strategy new`: a strategy that works, with a word on each part."""

from __future__ import annotations

import keyword
import re

from onetape.domain.errors import StrategyError

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")

_TEXT = '''\
"""CLASS_NAME: say here what you trade, and why it should work."""

from __future__ import annotations

from onetape.domain.errors import StrategyError
from onetape.domain.events import OrderDenied, OrderEvent
from onetape.domain.market import Bar
from onetape.features import FeatureMap, Rsi, Sma
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, param, state


class CLASS_NAME(Strategy):
    """Buys a setback in an uptrend, and sells when it has recovered or the trend has ended."""

    version = "1"

    # Params come from the configuration: checked when a session is built, never changed afterwards.
    trend: int = param(100, ge=2, doc="bars in the average that tells the trend")
    window: int = param(5, ge=2, doc="bars in the relative strength index")
    setback: float = param(30.0, gt=0, lt=100, doc="index to buy below")
    recovery: float = param(65.0, gt=0, lt=100, doc="index to sell above")
    quantity: float = param(1.0, gt=0, doc="units to hold")

    # State is all that a strategy remembers. It survives a restart, so nothing else may be set.
    denied: int = state(0)

    def check_params(self) -> None:
        """Refuse combinations of params that make no sense."""
        if self.recovery <= self.setback:
            raise StrategyError(
                f"recovery {self.recovery} is not above setback {self.setback}",
                where="CLASS_NAME",
                remedy="choose recovery > setback",
            )

    def features(self) -> FeatureMap:
        """The numbers that ctx.features holds at each bar, by name."""
        return {"average": Sma(self.trend), "rsi": Rsi(self.window)}

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        """A bar has closed. An order sent now meets the market after it, never in it."""
        f = ctx.features
        if f.average != f.average or f.rsi != f.rsi:  # NaN: not warm yet
            return
        held = ctx.position(bar.instrument)
        if held == 0 and bar.close > f.average and f.rsi < self.setback:
            ctx.buy(bar.instrument, self.quantity)
        elif held > 0 and (f.rsi > self.recovery or bar.close < f.average):
            ctx.sell(bar.instrument, held)

    def on_order_update(self, update: OrderEvent, ctx: Context) -> None:
        """Something happened to an order of this strategy; here, risk refused it."""
        if isinstance(update, OrderDenied):
            self.denied += 1
            ctx.signal("denied", self.denied)
'''


def render(name: str) -> str:
    """Source of a new strategy called `name` (such as `my_strategy`; its class is `MyStrategy`).

    Raises:
        StrategyError: `name` can't be the name of a Python file.
    """
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise StrategyError(
            f"{name!r} can't name a strategy",
            remedy="use lower-case letters, digits and single underscores, like my_strategy",
        )
    return _TEXT.replace("CLASS_NAME", name.title().replace("_", ""))
