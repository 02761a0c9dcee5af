"""Costs by instrument come to the same in both hosts, and on the tape of a run again."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner, Result

from onetape.control.cli import app
from onetape.domain.events import OrderFilled
from onetape.tape.opening import open_tape
from tests.support.cli_data import import_wave

CONFIG = """\
clock: {type: historical, start: 2024-01-01, end: 2025-01-01}
data: {instruments: [WAVE.SIM, COIN.TEST], timeframe: 1d}
execution:
  fees: {model: ibkr_us_fixed}
  overrides: [OVERRIDE]
strategies:
  - {name: momentum_rebalance, capital: 100000, params: {bars: 5, top: 2}}
"""

CARRIED = """
    {venues: [TEST], fees: {model: tiered, tiers: [{from_notional: 0, maker_bps: 8, taker_bps: 8},
                            {from_notional: 20000, maker_bps: 3, taker_bps: 3}]},
     slippage: {model: volume, base_bps: 1, volume_factor: 0.5}, fill: {limit: touch},
     max_volume_ratio: 0.0002}"""


def run(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, [*arguments])
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(autouse=True)
def _imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    import_wave()
    run("data", "import", "wave.csv", "--instrument", "COIN.TEST", "--timeframe", "1d",
        "--calendar", "24/7", "--tz", "UTC")  # fmt: skip


def backtest(override: str, *settings: str) -> Path:
    Path("run.yaml").write_text(CONFIG.replace("OVERRIDE", override))
    given = [part for each in settings for part in ("--set", each)]
    return Path(run("backtest", "run.yaml", "--quiet", *given).stdout.strip())


def read(run_dir: Path) -> tuple[list[bytes], list[OrderFilled]]:
    reader = open_tape(run_dir / "tape.db")
    try:
        events = [each.payload for each in reader.events()]
        fills = [each for each in events if isinstance(each, OrderFilled)]
        return [*reader.encoded_records()], fills
    finally:
        reader.close()


def test_both_hosts_charge_what_the_override_says_and_the_tape_verifies() -> None:
    runs = [backtest(CARRIED, f"host={host}") for host in ("python", "compiled")]
    hosts = [json.loads((each / "performance.json").read_text())["host"] for each in runs]
    assert hosts == ["python", "compiled"]
    (python, fills), (compiled, _) = map(read, runs)
    assert python == compiled
    assert {each.instrument for each in fills} == {"WAVE.SIM", "COIN.TEST"}
    ratios = {round(1e4 * each.fee / each.notional) for each in fills
              if each.instrument == "COIN.TEST"}  # fmt: skip
    assert ratios == {8, 3}
    for each in runs:
        run("verify", str(each))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("{venues: [TEST], fill: {market: mid}}", "COIN.TEST fills with market mid"),
        (
            "{venues: [TEST], fees: {model: ibkr_us_tiered}},"
            "{venues: [SIM], fees: {model: tiered, tiers: "
            "[{from_notional: 0, maker_bps: 8, taker_bps: 8},"
            " {from_notional: 9, maker_bps: 3, taker_bps: 3}]}}",
            "several fee models that count the volume of a month",
        ),
    ],
)
def test_what_compiled_code_does_not_carry_is_named_and_auto_goes_to_python(
    override: str, message: str
) -> None:
    run_dir = backtest(override, "host=auto")
    assert json.loads((run_dir / "performance.json").read_text())["host"] == "python"
    refused = run("backtest", "run.yaml", "--set", "host=compiled", code=2)
    assert message in " ".join(refused.stderr.split())


def test_a_sweep_charges_the_same_in_both_hosts() -> None:
    Path("run.yaml").write_text(CONFIG.replace("OVERRIDE", CARRIED))
    tables = [
        pl.read_parquet(next(Path(f"sweeps-{host}").rglob("sets.parquet")))
        for host in ("python", "compiled")
        if run("sweep", "run.yaml", "--param", "top=1,2", "--host", host, "--workers", "1",
               "--set", f"output.path=sweeps-{host}")
    ]  # fmt: skip
    assert tables[0].equals(tables[1])
    assert tables[0]["fees"].n_unique() == 2
    figures = json.loads((backtest(CARRIED) / "metrics.json").read_text())["account"]
    assert float(figures["fees"]) == float(tables[0].filter(pl.col("top") == 2)["fees"][0])
