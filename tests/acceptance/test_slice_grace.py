"""A session whose bars of one close time wait for each other."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from onetape.control.cli import app
from onetape.domain.errors import DataError
from onetape.domain.instrument import InstrumentId
from onetape.domain.market import Quality
from onetape.domain.timestamps import from_iso
from onetape.marketdata.catalog import Catalog
from onetape.marketdata.loading import load_market_data
from onetape.marketdata.timeline import Reading
from tests.support.cli_data import import_wave

SLOW = InstrumentId("SLOW.SIM")
SECOND = 1_000_000_000
STRATEGY = """\
from onetape.strategy.sdk import Strategy, state


class Pairs(Strategy):
    \"\"\"Buys one of each with the first slice that holds both.\"\"\"

    bought: int = state(0)

    def on_slice(self, slice_, ctx):
        if len(slice_.bars) == 2 and not self.bought:
            self.bought = 1
            for bar in slice_.bars:
                ctx.buy(bar.instrument, 1)
"""


@pytest.fixture(autouse=True)
def _catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SLOW is WAVE, known 3 s after its close, on the tenth day 9 s."""
    monkeypatch.chdir(tmp_path)
    import_wave(40)
    catalog = Catalog(Path("data/catalog"))
    bars = catalog.read_bars("WAVE.SIM", "1d")
    delay = np.where(np.arange(40) == 9, 9, 3) * SECOND
    slow = msgspec.structs.replace(catalog.instrument("WAVE.SIM"), id=SLOW)
    catalog.write_bars(SLOW, "1d", {**bars, "ts_known": bars["ts_close"] + delay}, source="s",
                       adjustment="none", ts_ingest=1, definition=slow)  # fmt: skip
    Path("pairs.py").write_text(STRATEGY, encoding="utf-8")
    Path("run.yaml").write_text("""\
clock: {type: historical, start: 2024-01-01, end: 2025-01-01}
data: {instruments: [WAVE.SIM, SLOW.SIM], timeframe: 1d}
strategies:
  - {name: pairs, path: pairs.py, capital: 10000}
""", encoding="utf-8")  # fmt: skip


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return result.output


def test_slices_of_a_session_hold_what_came_within_the_grace() -> None:
    span = (from_iso("2024-01-01"), from_iso("2025-01-01"))
    names = ("WAVE.SIM", SLOW)
    catalog = Catalog(Path("data/catalog"))

    alone = load_market_data(catalog, names, "1d", *span)
    waiting = load_market_data(catalog, names, "1d", *span, reading=Reading(slice_grace_ms=5_000))

    assert alone.slice_end.all()
    assert int(waiting.slice_end.sum()) == 41  # the tenth day has two
    late = waiting.columns["quality"] & int(Quality.LATE) != 0
    assert np.flatnonzero(late).tolist() == [19]
    assert waiting.datasets == alone.datasets
    with pytest.raises(DataError, match="nor wait"):
        load_market_data(catalog, names, "trades", *span, reading=Reading(slice_grace_ms=0))


def test_session_that_waits_can_be_verified_and_reported_again() -> None:
    run("backtest", "run.yaml")
    (first,) = Path("runs").iterdir()
    run("backtest", "run.yaml", "--set", "data.slice_grace_ms=5000")
    (waited,) = set(Path("runs").iterdir()) - {first}

    assert (len_of(first), len_of(waited)) == (0, 2)
    run("verify", str(waited))
    before = (waited / "metrics.json").read_bytes()
    run("report", str(waited))
    assert (waited / "metrics.json").read_bytes() == before


def len_of(folder: Path) -> int:
    return len(pl.read_parquet(folder / "fills.parquet"))
