"""Who runs what, at which size: every row of the table, measured or not, has a plan here."""

from __future__ import annotations

from typing import NamedTuple

WORKLOADS = {
    "W1": "one symbol, 525,600 minute bars, SMA 10/50 long only",
    "W2": "500 symbols x 2,520 days, monthly rebalance into the top 50 by 126-day momentum",
    "W3": "1,000 SMA pairs on W1's bars",
    "W4": "W1's bars, cancel and a new limit order at each",
    "W5": "5,000,000 trades, a market flip at every 1,000th",
}
MARKETS = {"W1": "minutes", "W2": "days", "W3": "minutes", "W4": "minutes", "W5": "trades"}
UNITS = {"W1": "bars", "W2": "bars", "W3": "bars", "W4": "bars", "W5": "trades"}


class Plan(NamedTuple):
    """One row: an engine on a workload. `rows` 0 means all, `calls` 0 as many as asked for.

    `why_not` says why an engine has no number there. `cold` measures a first call with an empty
    compilation cache before, and keeps that cache for the others.
    """

    workload: str
    script: str
    variant: str = ""
    rows: int = 0
    sets: int = 1_000
    workers: int = 1
    calls: int = 0
    cold: bool = False
    why_not: str = ""

    @property
    def key(self) -> str:
        """Names the row among all measured ones."""
        parts = (self.workload, self.script, self.variant, str(self.workers))
        return " ".join(part for part in parts if part)


PLANS = (
    Plan("W1", "onetape", "compiled", cold=True),
    Plan("W1", "onetape", "python"),
    Plan("W1", "vectorbt"),
    Plan("W1", "backtesting"),
    Plan("W1", "backtrader"),
    Plan("W1", "nautilus"),
    Plan("W1", "zipline"),
    Plan("W1", "hftbacktest", why_not="no bars, no indicators: its market is depth and trades"),
    Plan("W2", "onetape", "compiled", cold=True),
    Plan("W2", "onetape", "python"),
    Plan("W2", "vectorbt"),
    Plan("W2", "backtesting", why_not="one instrument a backtest"),
    Plan("W2", "backtrader"),
    Plan("W2", "nautilus"),
    Plan("W2", "zipline"),
    Plan("W2", "hftbacktest", why_not="no bars"),
    Plan("W3", "onetape", "compiled", cold=True),
    Plan("W3", "onetape", "compiled", workers=2, cold=True),
    Plan("W3", "onetape", "python", sets=20, calls=2),
    Plan("W3", "vectorbt", calls=3),
    Plan("W3", "vectorbt", "kernel", calls=3),
    Plan("W3", "backtesting", sets=10, calls=2),
    Plan("W3", "backtrader", sets=2, calls=2),
    Plan("W3", "nautilus", sets=2, calls=2),
    Plan("W3", "zipline", why_not="no sweep of its own: W1 once for each set"),
    Plan("W3", "hftbacktest", why_not="no bars, no indicators"),
    Plan("W4", "onetape", "compiled", cold=True),
    Plan("W4", "onetape", "python", calls=3),
    Plan("W4", "vectorbt", why_not="its orders live for one bar"),
    Plan("W4", "backtesting"),
    Plan("W4", "backtrader", rows=100_000, calls=2),
    Plan("W4", "nautilus", rows=100_000, calls=2),
    Plan("W4", "zipline", why_not="it compares a limit with closes only"),
    Plan("W4", "hftbacktest"),
    Plan("W5", "onetape", "compiled", cold=True),
    Plan("W5", "onetape", "python", calls=3),
    Plan("W5", "vectorbt"),
    Plan("W5", "backtesting", calls=2),
    Plan("W5", "backtrader", rows=500_000, calls=2),
    Plan("W5", "nautilus", rows=1_000_000, calls=2),
    Plan("W5", "zipline", why_not="its shortest bar is a minute"),
    Plan("W5", "hftbacktest"),
)

NAMES = {
    "onetape compiled": "onetape, compiled host",
    "onetape python": "onetape, Python host",
    "vectorbt": "vectorbt",
    "vectorbt kernel": "vectorbt, kernel alone",
    "backtesting": "backtesting.py",
    "backtrader": "backtrader",
    "nautilus": "NautilusTrader",
    "zipline": "zipline-reloaded",
    "hftbacktest": "hftbacktest",
}
