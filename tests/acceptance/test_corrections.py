"""Corrected data: a pinned run never changes, and the two axes of time differ where they must."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from onetape.control.cli import app
from onetape.domain.errors import DataError
from onetape.domain.instrument import InstrumentId
from onetape.domain.market import BOOK, QUOTES, TRADES
from onetape.domain.timestamps import from_iso
from onetape.marketdata.catalog import Catalog
from onetape.marketdata.history import (
    find_version_at,
    list_changes,
    list_differences,
    read_as_known_then,
)
from onetape.marketdata.record_kinds import RecordKind
from tests.support.cli_data import import_wave, make_rows, write_csv

WAVE = InstrumentId("WAVE.SIM")
SECOND = 1_000_000_000


@pytest.fixture(autouse=True)
def _in_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output
    return result.output


def correct(*rows: int) -> None:
    """Two more days, and these days' closes raised by a cent."""
    lines = make_rows(122)
    for row in rows:
        date, *numbers = lines[row + 1].split(",")
        open_, high, low, close, volume = numbers
        higher = f"{float(close) + 0.01:.2f}"
        lines[row + 1] = ",".join((date, open_, high, low, higher, volume))
    write_csv(Path("wave.csv"), lines)
    run("data", "import", "wave.csv", "--instrument", WAVE, "--timeframe", "1d",
        "--tz", "UTC", "--replace")  # fmt: skip


def digests(folder: Path) -> dict[str, str]:
    """Of every file of a run that is the same for the same inputs."""
    return {
        each.name: hashlib.sha256(each.read_bytes()).hexdigest()
        for each in sorted(folder.iterdir())
        if each.name not in ("versions.json", "performance.json", "performance.js")
        and not each.name.startswith("tape.db-")
    }


def backtest(*options: str) -> Path:
    before = set(Path("runs").iterdir()) if Path("runs").exists() else set()
    run("backtest", "run.yaml", *options)
    (made,) = set(Path("runs").iterdir()) - before
    return made


def test_run_pinned_to_a_version_is_the_same_bytes_after_later_ingests() -> None:
    import_wave()
    pin = ("--set", f"data.versions={{{WAVE}: 0}}")
    first = digests(backtest(*pin))
    newest = digests(backtest())["equity.parquet"]

    correct(40, 41, 90)

    assert digests(backtest(*pin)) == first
    assert newest == first["equity.parquet"]
    assert digests(backtest())["equity.parquet"] != newest
    then = backtest("--set", "data.knowledge=then")
    run("verify", str(then))
    run("report", str(then))


def test_as_known_then_and_now_differ_exactly_at_the_corrected_rows() -> None:
    import_wave()
    correct(40, 41, 90)
    catalog = Catalog(Path("data/catalog"))

    now = catalog.read_bars(WAVE, "1d")
    then = read_as_known_then(catalog, WAVE, "1d", 1)

    assert len(now["close"]) == len(then["close"]) == 122
    for name, column in now.items():
        differs = np.flatnonzero(column != then[name]).tolist()
        assert differs == ([40, 41, 90] if name == "close" else []), name
    differences = list_differences(catalog, WAVE, "1d", 0, 1)
    changed = [each for each in differences if each.before is not None]
    assert [each.ts for each in changed] == now["ts_open"][[40, 41, 90]].tolist()
    assert all(list(each.after or {}) == ["close"] for each in changed)
    assert [each.ts for each in differences[-2:]] == now["ts_open"][-2:].tolist()
    assert len(differences) == 5
    assert (
        read_as_known_then(catalog, WAVE, "1d", 0)["close"].tolist() == then["close"][:120].tolist()
    )


def test_commands_tell_versions_differences_and_what_stood_when() -> None:
    import_wave()
    correct(7)
    catalog = Catalog(Path("data/catalog"))
    first, second = list_changes(catalog, WAVE, "1d")
    assert (first.rows_written, second.rows_written, second.rows_removed) == (120, 122, 120)
    assert find_version_at(catalog, WAVE, "1d", second.ts_ingest - 1) == first
    assert find_version_at(catalog, WAVE, "1d", second.ts_ingest) == second

    assert [each["version"] for each in json.loads(run("data", "versions", WAVE, "--json"))] == [
        0,
        1,
    ]
    assert "wave.csv" in run("data", "versions", WAVE)
    told = run("data", "diff", WAVE, "0", "1").splitlines()
    assert told[0].startswith("2024-01-08T00:00:00Z  close ")
    assert told[-1] == "3 rows differ between version 0 and version 1"
    assert "version 1" in run("data", "asof", WAVE, "2200-01-01")
    refused = run("data", "asof", WAVE, "2001-01-01", code=2)
    assert "was not in the catalog" in refused
    assert "did you mean 'WAVE.SIM 1d'" in run("data", "versions", "WAVE.SIN", code=2)
    assert "no version 9: the newest is 1" in run("data", "diff", WAVE, "0", "9", code=2)


def test_adjusted_prices_are_not_mixed_from_versions() -> None:
    import_wave()
    catalog = Catalog(Path("data/catalog"))
    columns = catalog.read_bars(WAVE, "1d")
    catalog.write_bars(
        WAVE, "1d", columns, source="v", adjustment="vendor", ts_ingest=1, replace=True
    )
    with pytest.raises(DataError, match="can't be mixed"):
        read_as_known_then(catalog, WAVE, "1d", 1)


TICKS = """\
clock: {{type: historical, start: 2024-01-02, end: 2024-01-03}}
data: {{instruments: [WAVE.SIM], timeframe: {what}}}
strategies:
  - {{name: waits, path: waits.py, capital: 10000}}
"""
WAITS = '''
from onetape.strategy.sdk import Strategy, state


class Waits(Strategy):
    """Buys with the third row and sells with the ninth."""

    rows: int = state(0)

    def on_market_event(self, event, ctx):
        self.rows += 1
        if self.rows == 3:
            ctx.buy(event.instrument, 5)
        if self.rows == 9:
            ctx.sell(event.instrument, 5)
'''


def write_ticks() -> None:
    records = Catalog(Path("data/catalog")).records
    ts = from_iso("2024-01-02T10:00:00Z") + np.arange(40) * SECOND
    size, grid = np.full(40, 50.0), np.round(100 + np.arange(40) % 7 / 100, 2)
    kinds: dict[RecordKind, dict[str, Any]] = {
        RecordKind.TRADES: {"ts_event": ts, "price": grid, "size": size},
        RecordKind.QUOTES: {"ts_event": ts, "bid": grid, "ask": np.round(grid + 0.01, 2),
                            "bid_size": size, "ask_size": size},
        RecordKind.BOOK: {"ts_event": ts // (2 * SECOND) * 2 * SECOND, "is_bid": np.arange(40) % 2,
                          "price": np.where(np.arange(40) % 2 == 1, 99.9, 100.2), "size": size},
    }  # fmt: skip
    for kind, columns in kinds.items():
        records.write(kind, WAVE, columns, source="made", ts_ingest=1)


@pytest.mark.parametrize("what", [TRADES, QUOTES, BOOK, f"{QUOTES}+{TRADES}", f"{BOOK}+{TRADES}"])
def test_session_runs_on_ticks_of_the_catalog_and_verifies(what: str) -> None:
    import_wave()
    write_ticks()
    Path("run.yaml").write_text(TICKS.format(what=what), encoding="utf-8")
    Path("waits.py").write_text(WAITS, encoding="utf-8")

    pin = ("--set", f"data.versions={{{WAVE}: 2}}")
    made = backtest(*pin)

    assert len(pl.read_parquet(made / "fills.parquet")) == 2
    more = {
        "ts_event": np.array([from_iso("2024-01-02T11:00:00Z")]),
        "price": np.array([99.0]),
        "size": np.array([1.0]),
    }
    records = Catalog(Path("data/catalog")).records
    records.write(RecordKind.TRADES, WAVE, more, source="later", ts_ingest=2)
    run("verify", str(made))
    assert digests(backtest(*pin)) == digests(made)
    run("verify", str(backtest()))
