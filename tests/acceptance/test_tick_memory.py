"""Memory of a session on ticks does not grow with its length (DESIGN 13): counted, not timed."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from onetape.domain.market import TradeTick
from onetape.domain.timestamps import NS_PER_DAY
from onetape.features.average import Ema
from onetape.features.estimator import FeatureMap
from onetape.marketdata.catalog import Catalog
from onetape.marketdata.loading import load_ticks
from onetape.marketdata.record_kinds import RecordKind
from onetape.risk.limits import RiskLimits
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, state
from tests.support.session_runs import run_session
from tests.support.timelines import AAPL, EQUITY
from tests.support.whole_ticks import pieces_of

PER_DAY = 1_000
DAYS = 24
T0 = 19_700 * NS_PER_DAY
BLOCK = 250


class Holds(Strategy):
    """Buys once; looks at features and a little history at every tick."""

    heard: int = state(0)

    def features(self) -> FeatureMap:
        return {"mean": Ema(50)}

    def on_trade(self, trade: TradeTick, ctx: Context) -> None:
        self.heard += 1
        if self.heard == 10:
            ctx.buy(trade.instrument, 1)
        if self.heard % 500 == 0:
            ctx.history(trade.instrument, 20)


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """Days of prints, and of quotes."""
    random = np.random.default_rng(3)
    made = Catalog(tmp_path_factory.mktemp("ticks") / "catalog")
    made.write_instrument(EQUITY)
    rows = DAYS * PER_DAY
    ts = np.sort(random.integers(0, DAYS * NS_PER_DAY, rows)) + T0
    price = np.round(100 + np.cumsum(random.normal(0, 0.01, rows)), 2)
    size = np.ones(rows)
    prints = {"ts_event": ts, "price": price, "size": size}
    quotes = {
        "ts_event": ts, "bid": price, "ask": price + 0.01, "bid_size": size, "ask_size": size,
    }  # fmt: skip
    for kind, columns in ((RecordKind.TRADES, prints), (RecordKind.QUOTES, quotes)):
        made.records.write(kind, AAPL, columns, source="made", ts_ingest=0)
    return made


def measure_peak(catalog: Catalog, what: str, days: int) -> int:
    """Bytes that Python and numpy have asked for at most, while a session is loaded and run."""
    tracemalloc.start()
    try:
        with pieces_of(BLOCK):
            timeline = load_ticks(catalog, [AAPL], what, T0, T0 + days * NS_PER_DAY, {})
            limits = RiskLimits(max_drawdown_pct=90, max_leverage=4)
            run = run_session(timeline, Holds(), limits=limits)
        assert len(run.fills) == 1
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("what", ["trades", "quotes+trades"])
def test_a_session_six_times_as_long_takes_the_same_memory(catalog: Catalog, what: str) -> None:
    measure_peak(catalog, what, 1)  # what is imported at first use
    short, long = measure_peak(catalog, what, 4), measure_peak(catalog, what, DAYS)
    grown = (DAYS - 4) * PER_DAY
    assert long - short < grown  # not even a byte a row; a column is eight
