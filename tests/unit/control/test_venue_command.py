"""`onetape venue`: what it refuses before it serves, and what it reads."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from onetape.control.cli import app
from onetape.control.commands.venue import _read_cash  # pyright: ignore[reportPrivateUsage]
from onetape.control.venue_progress import describe
from onetape.domain.numbers import E8
from onetape.domain.timestamps import from_iso
from onetape.runtime.local_venues.serving import ServingProgress
from tests.support.cli_data import import_wave

WAVE = ("--data", "data/catalog", "--instruments", "WAVE.SIM", "--timeframe", "1d")
AT_ONCE = ("--speed", "0", "--now", "--once", "--port", "0")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A catalog of WAVE.SIM and the configuration of a backtest on it."""
    monkeypatch.chdir(tmp_path)
    import_wave(30)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "nowhere"), "--data: nowhere does not exist (give a catalog"),
        (("--data", "data/catalog"), "--instruments: which instruments of data/catalog? (for"),
        ((*WAVE[:2], "--instruments", "WAV.SIM"), "did you mean 'WAVE.SIM 1d'?"),
        ((*WAVE, "--set", "seed=1"), "--set: a catalog has nothing to set"),
        ((*WAVE, "--start", "soon"), "--start 'soon'"),
        ((*WAVE, "--cash", ""), "--cash: no balance"),
        ((*WAVE, "--cash", "USD=1e-9"), "off the grid"),
        ((*WAVE, "--cash", "USD=-1"), "--cash: 'USD=-1' is no balance"),
        ((*WAVE, "--cash", "=1"), "--cash: '=1' is no balance"),
        (("--data", "run.yaml", "--end", "2024"), "--data: a configuration says itself"),
        (("--data", "run.yaml", "--set", "data.instruments.0=NO.SIM"), "NO.SIM"),
    ],
)  # fmt: skip
def test_wrong_input_is_one_line_and_exit_code_2(
    folder: Path, arguments: tuple[str, ...], message: str
) -> None:
    result = CliRunner().invoke(app, ["venue", "alpaca", *arguments, *AT_ONCE])
    assert message in result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert result.exit_code == 2


def test_configuration_says_which_data_and_costs(folder: Path) -> None:
    sets = ("--set", "clock.end=2024-01-11", "--set", "execution.latency.mean_ms=5")
    result = CliRunner().invoke(
        app, ["venue", "alpaca", "--data", "run.yaml", *sets, *AT_ONCE, "--cash", "USD=5,X=0.25"]
    )
    assert (result.exit_code, result.stderr) == (0, "")
    first, second, *rest = result.stdout.splitlines()
    assert first.startswith("alpaca at http://127.0.0.1:")
    assert second == "10 rows of WAVE from 2024-01-01T00:00:00Z; Ctrl-C ends it"
    assert rest == [
        "10 of 10 rows, to 2024-01-11T00:00:00Z: 0 orders, 0 fills",
        "  USD 5.00, of that held 0.00",
        "  X 0.25, of that held 0.00",
    ]


def test_instrument_that_the_venue_does_not_have_is_refused(folder: Path) -> None:
    result = CliRunner().invoke(app, ["venue", "binance", *WAVE, *AT_ONCE])
    assert result.exit_code == 2
    assert result.stderr == (
        "error: WAVE.SIM is of kind equity, and Binance trades pairs of currencies "
        "(leave it out, or serve alpaca)\n"
    )


def test_cash_is_of_each_currency_or_as_told() -> None:
    assert _read_cash("12.5", ["EUR", "USD"]) == {"EUR": 1_250_000_000, "USD": 1_250_000_000}
    assert _read_cash("USDT=1, BTC=0.5", ["USDT"]) == {"USDT": E8, "BTC": E8 // 2}


def test_progress_says_time_streams_orders_fills_and_faults() -> None:
    now = ServingProgress(
        ts=from_iso("2024-01-02T14:30:00Z"), rows_played=1_200, rows_total=4_000, clients=2,
        orders=1_234, executions=7, faults=0,
    )  # fmt: skip
    assert describe(now) == "2024-01-02T14:30:00Z, 2 streams, 1,234 orders, 7 fills"
