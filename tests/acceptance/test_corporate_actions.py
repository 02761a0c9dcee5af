"""A run with corporate actions by the commands that a user has, from the file to the report."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner, Result

from onetape.control.cli import app
from onetape.domain.events import PositionAdjusted
from onetape.domain.market import CorporateAction
from onetape.domain.numbers import E8
from onetape.domain.timestamps import from_iso
from onetape.research.artifacts import load_run
from onetape.research.report_charts import price_chart
from onetape.runtime.config import load_config
from onetape.runtime.sessions.backtest_run import run_backtest
from onetape.runtime.sessions.resume import resume_backtest
from onetape.tape.reader import SqliteTapeReader
from tests.support.cli_data import import_wave
from tests.support.shared_data import SHARED, needs_shared

ACTIONS = """\
instrument,kind,ex_date,value,divisor
WAVE.SIM,cash_dividend,2024-01-20,0.25,
WAVE.SIM,split,2024-02-10,3,2
WAVE.SIM,cash_dividend,2024-03-01,0.1,
"""

STRATEGY = """\
from onetape.domain.market import Bar
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, param


class Holds(Strategy):
    \"\"\"Buys an odd number, and sells all of it 80 bars later.\"\"\"

    lots: int = param(11)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        held = ctx.position(bar.instrument)
        if held == 0:
            ctx.buy(bar.instrument, self.lots)
        elif bar.ts_close > 1_711_000_000_000_000_000:
            ctx.sell(bar.instrument, held)
"""

WITH_ACTIONS = ("data.corporate_actions=actions.csv",
                "strategies.0={name: holds, path: holds.py, capital: 10000}")  # fmt: skip


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    import_wave()
    Path("actions.csv").write_text(ACTIONS)
    Path("holds.py").write_text(STRATEGY)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments], catch_exceptions=False)


def backtest() -> Path:
    settings = [part for each in WITH_ACTIONS for part in ("--set", each)]
    result = run("backtest", "run.yaml", "--quiet", *settings)
    assert result.exit_code == 0, result.stderr
    return Path(result.stdout.strip())


def test_books_report_and_tables_tell_the_same() -> None:
    """11 shares at 3 for 2: 16 and a half, which is paid at the last close by the ratio."""
    run_dir = backtest()
    with closing(SqliteTapeReader(run_dir / "tape.db")) as reader:
        events = list(reader.events())
    adjusted = [each.payload for each in events if isinstance(each.payload, PositionAdjusted)]
    assert [each.lots for each in adjusted[:3]] == [11, 16, 16]
    assert [each.income for each in adjusted[:3]] == [275_000_000, 0, 160_000_000]
    summary = load_run(run_dir)
    metrics = json.loads((run_dir / "metrics.json").read_bytes())
    assert metrics["corporate_actions"]["account"] == {
        "dividends": 4.35, "settled": adjusted[1].amount / 1e8,
    }  # fmt: skip
    assert float(summary.account.net_profit) == pytest.approx(
        sum(each.pnl_net for each in summary.round_trips) / 1e8, abs=1e-8
    )
    frame = pl.read_parquet(run_dir / "adjustments.parquet")
    assert frame["income_minor"].to_list() == [each.income for each in adjusted]
    assert frame["kind"].to_list()[:3] == ["cash_dividend", "split", "cash_dividend"]
    for name in ("report.html", "report.md"):
        text = (run_dir / name).read_text()
        assert "Dividends" in text
        assert "4.35" in text
    sold = [each["name"] for each in price_chart(summary, adjusted[0].instrument)["data"]]
    assert "Short entry" not in sold
    assert "Long exit" in sold


def test_a_run_without_actions_says_nothing_of_them() -> None:
    result = run("backtest", "run.yaml", "--quiet")
    run_dir = Path(result.stdout.strip())
    assert "corporate_actions" not in json.loads((run_dir / "metrics.json").read_bytes())
    assert not (run_dir / "adjustments.parquet").exists()
    assert "Dividends" not in (run_dir / "report.md").read_text()
    assert "Dividends" not in (run_dir / "report.html").read_text()


def test_an_interrupted_run_goes_on_over_its_actions() -> None:
    """Stopped right before the split, with snapshots every few events."""
    whole = backtest()
    config = load_config(Path("run.yaml"), (*WITH_ACTIONS, "output.snapshot_events=5"), {})
    broken = Path("runs/broken")
    broken.mkdir()
    asked = iter([False, False, True])
    with pytest.raises(KeyboardInterrupt):
        run_backtest(config, broken, is_stop_asked=lambda: next(asked))
    resume_backtest(broken)
    with (
        closing(SqliteTapeReader(whole / "tape.db")) as one,
        closing(SqliteTapeReader(broken / "tape.db")) as other,
    ):
        assert next(one.snapshots(), None) is None
        assert sum(1 for _ in other.snapshots()) >= 1
        mine, theirs = (list(each.events())[1:] for each in (one, other))
    assert [each.payload for each in mine] == [each.payload for each in theirs]
    assert sum(isinstance(each.payload, CorporateAction) for each in theirs) == 3


def test_replay_and_why_know_of_them() -> None:
    run_dir = backtest()
    with closing(SqliteTapeReader(run_dir / "tape.db")) as reader:
        split = next(each for each in reader.events() if isinstance(each.payload, PositionAdjusted)
                     and each.payload.lots == 16)  # fmt: skip
    told = run("why", str(run_dir), str(split.seq)).stdout
    assert "WAVE.SIM splits, 3.0 new for 2.0 old" in told
    assert "and holds 16 WAVE.SIM" in told
    shown = json.loads(run("replay", str(run_dir), "--until", str(split.seq), "--json").stdout)
    (books,) = shown["books"]
    assert float(books["income"]) == 2.75
    (position,) = shown["positions"]
    close = load_run(run_dir).timeline.columns["close"][39]
    assert float(position["mark"]) == pytest.approx(close * 2 / 3, abs=0.005)
    compared = run("replay", str(run_dir), "--set", "strategies.0.params.lots=13")
    assert compared.exit_code == 0, compared.stderr


def test_a_sweep_runs_in_the_python_host() -> None:
    settings = [part for each in WITH_ACTIONS for part in ("--set", each)]
    result = run("sweep", "run.yaml", *settings, "--param", "lots=10,11", "--workers", "1")
    assert result.exit_code == 0, result.stderr
    assert "corporate actions, which the compiled host does not carry" in result.stderr
    (sweep,) = (each for each in Path("runs").iterdir() if "sweep" in each.name)
    described = json.loads((sweep / "sweep.json").read_bytes())
    assert [each["timeframe"] for each in described["datasets"]] == ["1d", "actions"]
    sets = pl.read_parquet(sweep / "sets.parquet")
    profit = load_run(backtest()).account.net_profit
    assert float(profit) in sets["net_profit"].to_list()
    refused = run("sweep", "run.yaml", *settings, "--param", "lots=10,11", "--host", "compiled")
    assert refused.exit_code == 2


def test_proof_of_no_lookahead_holds() -> None:
    settings = [part for each in WITH_ACTIONS for part in ("--set", each)]
    assert run("lookahead", "run.yaml", *settings).exit_code == 0


HOLDER = """\
from onetape.domain.market import Bar
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy


class Holder(Strategy):
    \"\"\"Buys 1,000 of the old shares once.\"\"\"

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        if bar.instrument == "OLD.XNAS" and ctx.now < 1_393_900_000_000_000_000:
            ctx.buy("OLD.XNAS", 1000)
"""

GOOGLE = """\
instrument,kind,ex_date,value,new_instrument,price
OLD.XNAS,spin_off,2014-04-03,1,GOOG.XNAS,567.55
OLD.XNAS,symbol_change,2014-04-03,,GOOGL.XNAS,
GOOG.XNAS,stock_dividend,2015-04-27,0.0027455,,
"""


@needs_shared
def test_class_c_shares_of_google() -> None:
    """What a holder of 1,000 class A shares of Google got, on the real prices.

    To 2014-04-02 they trade as GOOG (here OLD). On 2014-04-03 each gets a class C share, that takes
    the name GOOG, and class A becomes GOOGL (equity_us/map_files). The last close of 1,135.10 is
    split in halves, as equity_us/factor_files/googl.csv does. On 2015-04-27 class C pays 0.0027455
    of itself a share (Google's announcement of April 2015): 2.7455 shares, of which 0.7455 are paid
    at the last close of 565.06 by the ratio: 0.7455 * 565.06 / 1.0027455 = 420.09884861...
    """
    prices = SHARED / "equity_us/daily_raw"
    series = {"OLD": ("goog", "2014-03-01", "2014-04-02"),
              "GOOGL": ("googl", "2014-04-03", "2015-06-01"),
              "GOOG": ("goog", "2014-04-03", "2015-06-01")}  # fmt: skip
    for name, (file, first, last) in series.items():
        frame = pl.read_csv(prices / f"{file}.csv.gz").filter(
            pl.col("date").is_between(pl.lit(first), pl.lit(last))
        )
        frame.write_csv(f"{name}.csv")
        done = run("data", "import", f"{name}.csv", "--instrument", f"{name}.XNAS", "--timeframe",
                   "1d", "--calendar", "XNYS")  # fmt: skip
        assert done.exit_code == 0, done.stderr
    Path("google.csv").write_text(GOOGLE)
    Path("holder.py").write_text(HOLDER)
    Path("google.yaml").write_text("""\
clock: {type: historical, start: 2014-03-01, end: 2015-06-01}
data:
  instruments: [OLD.XNAS, GOOGL.XNAS, GOOG.XNAS]
  timeframe: 1d
  corporate_actions: google.csv
strategies:
  - {name: holder, path: holder.py, capital: 2000000}
""")
    done = run("backtest", "google.yaml", "--quiet")
    assert done.exit_code == 0, done.stderr
    run_dir = Path(done.stdout.strip())
    summary = load_run(run_dir)
    bought = summary.projection.fills[0][2].notional
    spun, renamed, paid = (change for _, _, change in summary.projection.adjustments)
    assert (spun.lots, spun.received, spun.amount) == (1_000, 1_000, 0)
    assert spun.carried == bought // 2
    assert (renamed.lots, renamed.other, renamed.received) == (0, "GOOGL.XNAS", 1_000)
    assert renamed.other_cost == bought - bought // 2
    assert (paid.lots, paid.amount) == (1_002, 42_009_884_861)
    equity = dict(zip(summary.curves.account.ts.tolist(), summary.curves.account.equity.tolist(),
                      strict=True))  # fmt: skip
    cash = 2_000_000 * E8 - bought
    closes = {2: 1_135_10, 3: 571_50 + 569_74, 4: 545_25 + 543_14}
    for day, cents in closes.items():
        assert equity[from_iso(f"2014-04-0{day}T20:00:00Z")] == cash + 1_000 * cents * E8 // 100
    assert run("verify", str(run_dir)).exit_code == 0
    frame = pl.read_parquet(run_dir / "adjustments.parquet")
    assert frame["other"].to_list() == ["GOOG.XNAS", "GOOGL.XNAS", ""]
