"""One session, three brokers: what each fill costs, worked by hand from published prices.

Sources: Interactive Brokers, Commissions, Stocks (fixed: 0.005 a share, at least 1.00) and Futures
(0.85 a contract up to 1,000 a month; what the exchange and the regulator take, here 1.40, is on
top and told by the configuration); Binance, spot, regular user (10 bps); SEC Fee Rate Advisory of
2023 (8.00 a million) and FINRA's trading activity fee of 2024 (0.000166 a share).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from onetape.domain.instrument import make_spot
from onetape.marketdata.timeline import Timeline
from onetape.runtime.config import load_config
from onetape.runtime.config_execution import ExecutionConfig
from onetape.runtime.sessions.backtest import build_terms
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy
from tests.support.contracts import check_whole, make_contract_timeline, make_future
from tests.support.session_runs import SessionRun, run_session
from tests.support.timelines import AAPL, EQUITY, MSFT, OTHER, at_rows, flat, opens

ES = make_future(opens(100))
BTC = make_spot("BTC-USD.BINANCE", base="BTC", quote="USD", tick_size="0.01", lot_size="0.001")

EXECUTION = """\
clock: {type: historical, start: 2024-01-01, end: 2024-02-01}
data: {instruments: [AAPL.XNAS, ESH4.XCME, BTC-USD.BINANCE], timeframe: 1m}
execution:
  margin: {model: fixed, initial_pct: 10, maintenance_pct: 5}
  fees: {model: ibkr_us_fixed}
  overrides:
    - instruments: ["ES*.XCME"]
      fees: {model: per_contract, rate: 0.85, exchange_rate: 1.40}
      slippage: {model: fixed, ticks: 1}
    - venues: [BINANCE]
      fees: {model: binance_spot}
      slippage: {model: fixed, bps: 2}
strategies: [{name: sma_cross, capital: 1000000}]
"""


def read_execution(tmp_path: Path, text: str = EXECUTION) -> ExecutionConfig:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    return load_config(path, [], {}).execution


def make_market() -> Timeline:
    return make_contract_timeline(
        (EQUITY, flat(185, 185, 186, 186)),
        (ES, flat(4_800, 4_800, 4_810, 4_810)),
        (BTC, flat(42_000, 42_000, 42_500, 42_500)),
    )


def make_trader() -> Strategy:
    """Buys at the first bar and sells the shares at the second; `AAPL` comes first in a slice."""

    def buy(ctx: Context) -> None:
        ctx.buy(AAPL, 100)
        ctx.buy(ES.id, 2)
        ctx.buy(BTC.id, 0.5)

    return at_rows({0: buy, 1: lambda ctx: ctx.sell(AAPL, 100)}, instrument=BTC.id)


def costs(run: SessionRun) -> list[tuple[str, float, float]]:
    """Instrument, price in ticks and fee of each fill."""
    return [(each.instrument, each.ticks, each.fee / 1e8) for each in run.fills]


# AAPL   100 bought at 185: 0.50, at least 1.00; sold at 186: 1.00 + 18,600 x 0.000008 = 0.1488
#        + 100 x 0.000166 = 0.0166.
# ES     2 bought at 4,800 and a tick, 4,800.25 (19,201 quarters): 2 x (0.85 + 1.40).
# BTC    0.5 bought at 42,000 and 2 bps, 42,008.40: 10 bps of 21,004.20.
def test_every_instrument_pays_the_costs_of_its_broker(tmp_path: Path) -> None:
    timeline = make_market()
    terms = build_terms(read_execution(tmp_path), 0, timeline.instruments)
    run = run_session(timeline, make_trader(), capital=1_000_000, terms=terms)
    assert costs(run) == [
        (AAPL, 18_500, 1.00),
        (ES.id, 19_201, 4.50),
        (BTC.id, 4_200_840, 21.0042),
        (AAPL, 18_600, 1.1654),
    ]
    check_whole(run, timeline)


def test_an_override_that_says_what_holds_anyway_changes_no_byte(tmp_path: Path) -> None:
    timeline = make_market()
    same = """\
    - kinds: [equity, future]
      max_volume_ratio: none
      slippage: {model: none}
      fill: {market: next_open, limit: through, queue_power: 3}
    - instruments: ["*.*"]
      fees: {model: ibkr_us_fixed}
"""
    head, _, rest = EXECUTION.partition("    - instruments")
    plain = head.replace("  overrides:\n", "") + rest[rest.index("strategies:") :]
    told = head + same + rest[rest.index("strategies:") :]
    runs = [
        run_session(
            timeline, make_trader(), capital=1_000_000,
            terms=build_terms(read_execution(tmp_path, text), 0, timeline.instruments),
        )
        for text in (plain, told)
    ]  # fmt: skip
    assert runs[0].digest == runs[1].digest
    assert len(runs[0].fills) == 4


@pytest.mark.parametrize(
    ("of_all", "override"),
    [
        ("0.1", "{instruments: [MSFT.XNAS], max_volume_ratio: none}"),
        ("null", "{instruments: [AAPL.XNAS], max_volume_ratio: 0.1}"),
        ("1", "{kinds: [equity], max_volume_ratio: 0.1}, {instruments: [MSFT.XNAS], "
              "max_volume_ratio: 0.5}"),
    ],
)  # fmt: skip
def test_participation_is_that_of_the_instrument(
    of_all: str, override: str, tmp_path: Path
) -> None:
    """A tenth of 300 shares a bar for AAPL; MSFT takes what it wants."""
    text = EXECUTION.replace("ESH4.XCME, BTC-USD.BINANCE", "MSFT.XNAS")
    text = text[: text.index("  overrides")] + (
        f"  max_volume_ratio: {of_all}\n  overrides: [{override}]\n"
        "strategies: [{name: sma_cross, capital: 1000000}]\n"
    )
    rows = [(10.0, 10.0, 10.0, 10.0, 300.0)] * 4
    timeline = make_contract_timeline((EQUITY, rows), (OTHER, rows))
    terms = build_terms(read_execution(tmp_path, text), 0, timeline.instruments)

    def buy(ctx: Context) -> None:
        ctx.buy(AAPL, 50)
        ctx.buy(MSFT, 50)

    run = run_session(timeline, at_rows({0: buy}, instrument=MSFT), terms=terms)
    assert [(each.instrument, each.lots) for each in run.fills] == [
        (AAPL, 30), (MSFT, 50), (AAPL, 20),
    ]  # fmt: skip


def test_each_fee_model_counts_its_own_month(tmp_path: Path) -> None:
    """Tiers of shares count shares of both stocks, and not one of the dollars traded in bitcoin."""
    text = """\
clock: {type: historical, start: 2024-01-01, end: 2024-02-01}
data: {instruments: [AAPL.XNAS, MSFT.XNAS, BTC-USD.BINANCE], timeframe: 1m}
execution:
  fees:
    model: tiered
    tiers:
      - {from_notional: 0, maker_bps: 10, taker_bps: 10}
      - {from_notional: 150, maker_bps: 5, taker_bps: 5}
  overrides:
    - kinds: [equity]
      fees: &shares
        {model: per_share_tiered, tiers: [{from_quantity: 0, rate: 0.01},
                                          {from_quantity: 150, rate: 0.002}]}
    - {instruments: [MSFT.XNAS], fees: *shares}
strategies: [{name: sma_cross, capital: 1000000}]
"""
    timeline = make_contract_timeline(
        (EQUITY, flat(1, 1, 1, 1)), (OTHER, flat(1, 1, 1, 1)), (BTC, flat(1_000, 1_000, 1_000))
    )
    terms = build_terms(read_execution(tmp_path, text), 0, timeline.instruments)

    def buy(ctx: Context) -> None:
        ctx.buy(AAPL, 100)
        ctx.buy(MSFT, 100)
        ctx.buy(BTC.id, 0.5)

    run = run_session(
        timeline, at_rows({0: buy, 1: lambda ctx: ctx.buy(BTC.id, 0.5)}, instrument=BTC.id),
        terms=terms,
    )  # fmt: skip
    # 100 at 0.01; 50 at 0.01 and 50 at 0.002; 10 bps of 500; then 500 are traded: 5 bps.
    assert [fee for _, _, fee in costs(run)] == [1.00, 0.60, 0.50, 0.25]
