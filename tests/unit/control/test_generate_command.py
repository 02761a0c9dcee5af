"""`onetape data generate`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from onetape.control.cli import app
from onetape.marketdata import sample_records
from onetape.marketdata.catalog import Catalog
from onetape.marketdata.record_kinds import RecordKind
from onetape.marketdata.records import compute_records_hash
from tests.support.cli_data import import_wave

DAYS = ("--timeframe", "1d", "--start", "2024-01-01", "--end", "2024-04-01")


@pytest.fixture(autouse=True)
def _in_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["data", "generate", *arguments])


def generate(seed: int, *more: str, name: str = "UP.SIM") -> Result:
    return run("--instrument", name, "--seed", str(seed), *DAYS, *more)


def hashes(catalog: str) -> list[str]:
    """What one catalog holds: its bars, trades and quotes."""
    store = Catalog(Path(catalog))
    return [each.content_hash for each in store.datasets()] + [
        compute_records_hash(store.records.read(kind, "UP.SIM").columns)
        for kind in (RecordKind.TRADES, RecordKind.QUOTES)
    ]


def test_data_generate_same_seed_gives_the_same_bytes() -> None:
    for name in ("one", "two"):
        result = generate(7, "--records", "trades,quotes", "--catalog", name)
        assert result.exit_code == 0, result.stderr
    generate(8, "--records", "trades,quotes", "--catalog", "three")
    assert hashes("one") == hashes("two")
    assert not set(hashes("one")) & set(hashes("three"))


def test_data_generate_records_where_the_data_come_from() -> None:
    result = generate(7, "--volatility", "0.5", "--prints", "10")
    assert result.exit_code == 0, result.stderr
    (dataset,) = Catalog(Path("data/catalog")).datasets()
    assert dataset.rows == 91
    assert dataset.source == (
        "generated seed=7 1d 2024-01-01T00:00:00Z/2024-04-01T00:00:00Z volatility=0.5 prints=10"
    )


def test_data_generate_again_completes_what_is_missing() -> None:
    assert generate(7).exit_code == 0  # as if it had been killed before the trades
    more = generate(7, "--records", "trades")
    assert more.stdout.splitlines()[0].startswith("UP.SIM 1d: nothing new, version 0")
    assert "UP.SIM trades: 1,820 rows, version 0" in more.stdout
    assert "UP.SIM trades: nothing new" in generate(7, "--records", "trades").stdout


def test_data_generate_in_parts_is_the_same_as_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = ("--records", "trades,book", "--levels", "2")
    generate(7, *kinds, "--catalog", "one")
    monkeypatch.setattr(sample_records, "COMMIT_ROWS", 1000)
    parts = generate(7, *kinds, "--catalog", "parts")
    assert "UP.SIM trades: 1,820 rows, version 1" in parts.stdout
    for kind in (RecordKind.TRADES, RecordKind.BOOK):
        whole, pieces = (
            Catalog(Path(name)).records.read(kind, "UP.SIM").columns for name in ("one", "parts")
        )
        assert compute_records_hash(whole) == compute_records_hash(pieces)
    again = generate(7, *kinds, "--catalog", "parts").stdout
    assert again.count("nothing new") == 3


@pytest.mark.parametrize(
    "arguments",
    [("--drift", "0.1"), ("--seed", "8"), ("--end", "2024-05-01"), ("--timeframe", "1h")],
)
def test_data_generate_refuses_to_mix_two_samples(arguments: tuple[str, str]) -> None:
    generate(7)
    before = Catalog(Path("data/catalog")).datasets()
    refused = generate(7, *arguments)
    assert refused.exit_code == 2
    assert "the catalog has other data of UP.SIM: generated seed=7 1d" in refused.stderr
    assert Catalog(Path("data/catalog")).datasets() == before


def test_data_generate_never_adds_to_real_data() -> None:
    import_wave()
    refused = generate(7, "--start", "2025-01-01", "--end", "2025-02-01", name="WAVE.SIM")
    assert refused.exit_code == 2
    assert "the catalog has other data of WAVE.SIM: wave.csv" in refused.stderr


def test_data_generate_defines_the_instrument() -> None:
    generate(7, "--kind", "spot", "--base", "BTC", "--tick", "0.5", "--lot", "0.001")
    shown = json.loads(CliRunner().invoke(app, ["data", "show", "UP.SIM", "--json"]).stdout)
    assert shown["instrument"]["calendar"] == "24/7"
    assert all(bar["close"] * 2 == int(bar["close"] * 2) for bar in shown["head"])


def test_data_generate_tells_gaps() -> None:
    result = generate(7, "--gap-ratio", "0.1")
    assert "warning: UP.SIM: gaps before bars 20240116," in result.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--end", "2023-01-01"), "--start 2024-01-01 is not before --end 2023-01-01"),
        (("--records", "trade"), "did you mean 'trades'"),
        (("--records", "funding"), "funding are not generated (choose of trades, quotes"),
        (("--correlation", "1.5"), "correlation 1.5 is not from 0 to 1"),
        (("--calendar", "hours:Mars/Base:09:00-10:00"), "Mars/Base"),
    ],
)
def test_data_generate_bad_option_is_one_error(arguments: tuple[str, str], told: str) -> None:
    result = generate(7, *arguments)
    assert result.exit_code == 2
    assert told in result.stderr
    assert not Path("data/catalog").exists()


@pytest.mark.parametrize("timeframe", ["1d", "quotes+trades", "book+trades"])
def test_generated_data_can_be_traded_on(timeframe: str) -> None:
    generate(7, "--records", "trades,quotes,book")
    Path("run.yaml").write_text(
        "clock: {type: historical, start: 2024-01-01, end: 2025-01-01}\n"
        f"data: {{instruments: [UP.SIM], timeframe: {timeframe}}}\n"
        "strategies:\n"
        "  - {name: sma_cross, capital: 10000, params: {fast: 3, slow: 8, quantity: 10}}\n",
        encoding="utf-8",
    )
    result = CliRunner().invoke(app, ["backtest", "run.yaml"])
    assert result.exit_code == 0, result.stderr
