"""Every shipped strategy comes to the same in both hosts, on all sample data, to the last bit.

The data are the daily bars of `make demo`, imported as `scripts/demo.sh` does it; one of the two
sets of terms is that of `examples/sma_cross.yaml`.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from onetape.domain.events import OrderFilled
from onetape.domain.instrument import Instrument, InstrumentId, InstrumentKind
from onetape.marketdata.importer import ImportOptions, import_bars
from onetape.marketdata.timeline import Timeline, build_timeline
from onetape.risk.limits import RiskLimits
from onetape.runtime.config import load_config
from onetape.runtime.sessions.backtest import build_terms
from onetape.strategy.registry import list_strategies, load_strategy
from scripts.write_demo_csv import main as write_demo_csv
from tests.support.parity_worlds import (
    Plan,
    World,
    compare_events,
    compare_figures,
    compare_state,
    run_compiled,
    run_python,
)
from tests.support.session_runs import make_terms

REPO = Path(__file__).resolve().parents[2]
VENUES = {"AAPL": "XNAS", "IBM": "XNYS", "MSFT": "XNAS", "GOOG": "XNAS"}
MARKETS = [*((symbol,) for symbol in VENUES), tuple(VENUES)]
NOW = 1_700_000_000_000_000_000

PARAMS: dict[str, list[dict[str, Any]]] = {
    "buy_and_hold": [{}, {"weight": 0.37}],
    "sma_cross": [
        {"quantity": 40.0}, {"fast": 20, "slow": 100, "quantity": 1_500.0},
        {"fast": 2, "slow": 3, "quantity": 7.0},
    ],
    "mean_reversion": [
        {"quantity": 30.0}, {"window": 5, "entry": 0.8, "exit": 0.1, "short": True},
    ],
    "rsi": [{"quantity": 25.0}, {"window": 3, "oversold": 45.0, "exit": 50.0}],
    "momentum_rebalance": [{}, {"bars": 20, "top": 1}, {"bars": 1, "top": 2, "weight": 1.0}],
}  # fmt: skip
"""Sets for each strategy that is installed."""


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Instrument, dict[str, Any]]]:
    """Instrument and columns of each symbol."""
    folder = tmp_path_factory.mktemp("demo")
    write_demo_csv(folder, list(VENUES))
    options = ImportOptions(timezone="America/New_York", adjust_by="Adj Close")
    imported: dict[str, tuple[Instrument, dict[str, Any]]] = {}
    for symbol, venue in VENUES.items():
        instrument = Instrument(
            id=InstrumentId(f"{symbol}.{venue}"), kind=InstrumentKind.EQUITY, quote_currency="USD",
            tick_size=Decimal("0.0001"), lot_size=Decimal(1),
            calendar="hours:America/New_York:09:30-16:00",
        )  # fmt: skip
        result = import_bars(folder / f"{symbol}.csv", instrument, "1d", options, ts_now=NOW)
        imported[symbol] = (instrument, result.columns)
    return imported


def make_worlds(timeline: Timeline) -> list[World]:
    """Without terms and limits, and with those of the example."""
    config = load_config(REPO / "examples/sma_cross.yaml", [], {})
    free = Plan(capital=100_000.0, limits=RiskLimits(max_leverage=3))
    costly = Plan(capital=100_000.0, limits=config.risk.limits())
    return [
        World(free, timeline, make_terms(timeline), ()),
        World(
            costly, timeline, build_terms(config.execution, config.seed, timeline.instruments), ()
        ),
    ]


def test_every_shipped_strategy_has_its_cases() -> None:
    shipped = [each.name for each in list_strategies() if "onetape.strategy.library" in each.source]
    assert sorted(PARAMS) == sorted(shipped)


@pytest.mark.parametrize("symbols", MARKETS, ids="_".join)
@pytest.mark.parametrize("name", PARAMS)
def test_hosts_agree_on_shipped_strategy(
    name: str, symbols: tuple[str, ...], bars: dict[str, tuple[Instrument, dict[str, Any]]]
) -> None:
    strategy = load_strategy(name)
    timeline = build_timeline([bars[each] for each in symbols], source="catalog", timeframe="1d")
    fills = 0
    for world in make_worlds(timeline):
        sets = PARAMS[name]
        for params, other in zip(sets, run_compiled(world, strategy, sets), strict=True):
            mine = run_python(world, strategy(**params))
            assert compare_events(mine.events, other.events) == ""
            assert compare_figures(mine.outcome, other.outcome) == ""
            assert compare_state(mine.state, other.state) == ""
            assert other.is_carried
            fills += sum(isinstance(event, OrderFilled) for _, event in mine.events)
    assert fills >= 2
