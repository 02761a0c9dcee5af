"""AAPL around its split of 7 for 1 on 2014-06-09: minutes of the sessions before and behind it."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Sequence
from datetime import datetime

import numpy as np

from onetape.domain.instrument import Instrument
from onetape.domain.market import CorporateAction
from onetape.domain.timestamps import NS_PER_SECOND, from_iso
from onetape.marketdata.timeline import Timeline, build_timeline
from tests.support.actions import SPLIT, make_action
from tests.support.alpaca_venue import AAPL
from tests.support.shared_data import SHARED
from tests.support.timelines import make_columns

MINUTE = 60 * NS_PER_SECOND
BEFORE, BEHIND = 40, 30
"""Minutes of the Friday, up to its close, and of the Monday, from its open."""

FRIDAY_CLOSE = from_iso("2014-06-06T20:00:00Z")
MONDAY_OPEN = from_iso("2014-06-09T13:30:00Z")
MONDAY_CLOSE = from_iso("2014-06-09T20:00:00Z")

ACTIONS = """\
instrument,kind,ex_date,value,divisor,pay_date
AAPL.ALPACA,cash_dividend,2014-05-08,3.29,,2014-05-15
AAPL.ALPACA,split,2014-06-09,7,1,
"""

HOLDS = '''\
"""Holds over a split."""

from onetape.domain.market import Bar, CorporateAction
from onetape.domain.orders import TimeInForce
from onetape.features.average import Sma
from onetape.features.estimator import FeatureMap
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, state


class Holds(Strategy):
    """Buys, leaves an order that does not fill, and sells a part behind the split."""

    bars: int = state(0)
    splits: int = state(0)

    def features(self) -> FeatureMap:
        return {"mean": Sma(3)}

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        self.bars += 1
        ctx.signal("mean", ctx.features.mean)
        ctx.signal("mark", ctx.mark(bar.instrument))
        if self.bars == 2:
            ctx.buy(bar.instrument, 11)
        if self.bars == 5:
            ctx.sell(bar.instrument, 5, limit=700, time_in_force=TimeInForce.GTC)
            ctx.buy(bar.instrument, 5, limit=100, time_in_force=TimeInForce.GTC)
        if self.splits and self.bars % 7 == 0:
            ctx.sell(bar.instrument, 9)
        if self.splits and self.bars % 7 == 3:
            ctx.buy(bar.instrument, 2)

    def on_corporate_action(self, action: CorporateAction, ctx: Context) -> None:
        self.splits += 1
        ctx.signal(action.kind.value, ctx.position(action.instrument))
        ctx.signal("mark", ctx.mark(action.instrument))
'''


def make_split() -> CorporateAction:
    """7 for 1, at the open of the Monday."""
    return make_action(SPLIT, MONDAY_OPEN, 7.0, instrument=AAPL.id)


def make_split_days(
    actions: Sequence[CorporateAction] | None = None, instrument: Instrument = AAPL
) -> Timeline:
    """The minutes of both days, with the split unless told otherwise."""
    bars: dict[int, tuple[float, ...]] = {}
    path = SHARED / "equity_us" / "minute_raw" / "aapl_trade_20140605_20140609.csv.gz"
    with gzip.open(path, "rt") as file:
        for row in csv.DictReader(file):
            ts = int(datetime.fromisoformat(row["bar_start_et"]).timestamp()) * NS_PER_SECOND
            bars[ts] = tuple(float(row[n]) for n in ("open", "high", "low", "close", "volume"))
    starts = [FRIDAY_CLOSE - MINUTE * number for number in range(BEFORE, 0, -1)]
    starts += [MONDAY_OPEN + MINUTE * number for number in range(BEHIND)]
    columns = make_columns([bars[each] for each in starts])
    columns["ts_open"] = np.array(starts)
    columns["ts_close"] = columns["ts_known"] = columns["ts_open"] + MINUTE
    columns["session_close"] = np.array([FRIDAY_CLOSE] * BEFORE + [MONDAY_CLOSE] * BEHIND)
    return build_timeline(
        [(instrument, columns)], source="lean", timeframe="1m",
        actions=[make_split()] if actions is None else actions,
    )  # fmt: skip
