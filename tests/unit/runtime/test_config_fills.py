"""The `execution.fill` section: which fills an instrument gets, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from onetape.domain.errors import ConfigError
from onetape.domain.instrument import make_equity
from onetape.execution.simulated.bar_matching import LIMIT_TOUCHED, LIMIT_TRADED_THROUGH
from onetape.execution.simulated.fill_terms import BarPath, FillTerms, MarketPrice
from onetape.runtime.config import load_config
from onetape.runtime.config_fills import FillChoice, FillConfig


def test_no_section_is_the_default() -> None:
    assert FillConfig().terms(make_equity("AAPL.XNAS"), "through") == FillTerms()


def test_last_choice_of_a_key_counts_and_the_rest_is_as_before() -> None:
    fill = FillConfig(market="vwap").chosen(
        [FillChoice(market="mid", limit="touch"), FillChoice(path="optimistic", limit="through")]
    )
    assert fill.terms(make_equity("AAPL.XNAS"), "touch") == FillTerms(
        limit_reach=LIMIT_TRADED_THROUGH, market=MarketPrice.MID, path=BarPath.OPTIMISTIC
    )
    plain = FillConfig(market="vwap").chosen([])
    assert plain.terms(make_equity("AAPL.XNAS"), "touch").limit_reach == LIMIT_TOUCHED


def test_unknown_market_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(
        "clock: {type: historical, start: 2024-01-01, end: 2024-02-01}\n"
        "data: {instruments: [AAPL.XNAS], timeframe: 1d}\n"
        "execution: {fill: {market: close}}\n"
        "strategies: [{name: sma_cross, capital: 1000}]\n"
    )
    with pytest.raises(ConfigError, match=r"fill\.market is 'close', expected one of next_open"):
        load_config(path, [], {})
