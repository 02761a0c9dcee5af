"""The `execution.fill` section: which instrument gets which fills, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from onetape.domain.errors import ConfigError
from onetape.domain.instrument import make_equity
from onetape.execution.simulated.bar_matching import LIMIT_TOUCHED, LIMIT_TRADED_THROUGH
from onetape.execution.simulated.fill_terms import BarPath, FillTerms, MarketPrice
from onetape.runtime.config import load_config, resolved_json
from onetape.runtime.config_fills import FillConfig

CONFIG = """\
clock: {type: historical, start: 2024-01-01, end: 2024-02-01}
data: {instruments: [AAPL.XNAS], timeframe: 1d}
execution:
  fill:
    market: vwap
    overrides:
      - {venues: [XNAS], market: mid, limit: touch}
      - {instruments: [AAPL.XNAS], path: optimistic}
strategies: [{name: sma_cross, capital: 1000}]
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    return path


def test_last_override_that_fits_counts_and_the_rest_is_inherited(tmp_path: Path) -> None:
    fill = load_config(write(tmp_path, CONFIG), [], {}).execution.fill
    assert fill.terms(make_equity("AAPL.XNAS"), "through") == FillTerms(
        limit_reach=LIMIT_TOUCHED, market=MarketPrice.MID, path=BarPath.OPTIMISTIC
    )
    assert fill.terms(make_equity("MSFT.XNAS"), "through").path is BarPath.PESSIMISTIC
    assert fill.terms(make_equity("IBM.XNYS"), "through").market is MarketPrice.VWAP
    assert fill.terms(make_equity("IBM.XNYS"), "through").limit_reach == LIMIT_TRADED_THROUGH


def test_resolved_configuration_means_the_same(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, CONFIG), [], {})
    again = load_config(write(tmp_path, resolved_json(config)), [], {})
    assert again.execution.fill == config.execution.fill


def test_no_section_is_the_default() -> None:
    assert FillConfig().terms(make_equity("AAPL.XNAS"), "through") == FillTerms()


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("[AAPL.XNAS], path", "[APL.XNAS], path",
         r"run.yaml:8: execution.fill.overrides.1.instruments.0 is 'APL.XNAS'"),
        ("{venues: [XNAS], ", "{", r"execution.fill.overrides.0 is for no instrument"),
        ("market: vwap", "market: close", r"fill.market is 'close', expected one of next_open"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(
    tmp_path: Path, before: str, after: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(write(tmp_path, CONFIG.replace(before, after)), [], {})
