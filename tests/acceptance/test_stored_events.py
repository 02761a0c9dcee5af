"""Sessions on corporate actions, funding, figures and halts of the catalog.

The same rows from files and from the catalog make the same session; its pins name the version.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from typer.testing import CliRunner, Result

from onetape.control.cli import app
from onetape.domain.events import SessionStarted
from onetape.tape.reader import SqliteTapeReader
from tests.support.cli_data import import_wave

FILES = {
    "corporate_actions": """\
instrument,kind,ex_date,value,divisor,pay_date
WAVE.SIM,cash_dividend,2024-02-01,0.5,,2024-02-20
WAVE.SIM,split,2024-02-10,7,2,
WAVE.SIM,cash_dividend,2034-01-01,9,,
""",
    "funding": """\
instrument,ts,rate,mark
PERP.SIM,2024-02-03T08:00:00Z,0.0001,
PERP.SIM,2024-02-04T00:00:00Z,-0.0002,101.5
""",
    "fundamentals": """\
instrument,item,period_end,ts_known,value
WAVE.SIM,eps,2023-12-31,2024-02-15,1.25
""",
    "halts": """\
instrument,ts,status,reason
WAVE.SIM,2024-03-04,halted,T1
WAVE.SIM,2024-03-07,resumed,
""",
}
TURNS = '''\
"""Holds both and turns around every tenth day."""

from onetape.domain.market import Bar
from onetape.features import FeatureMap, Fundamental
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, param, state


class Turns(Strategy):
    """Buys, sells, buys; more of what earns more."""

    bars: int = state(0)
    size: int = param(3, ge=1)

    def features(self) -> FeatureMap:
        return {"eps": Fundamental()}

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        self.bars += 1
        if self.bars % 10 == 1:
            ctx.buy(bar.instrument, self.size + int(ctx.features.eps > 1.5))
        elif self.bars % 10 == 6:
            ctx.sell(bar.instrument, 2)
'''
PERP = ["--instrument", "PERP.SIM", "--timeframe", "1d", "--calendar", "24/7", "--tz", "UTC",
        "--kind", "perpetual", "--base", "WAVE", "--tick", "0.01", "--lot", "1"]  # fmt: skip


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments], catch_exceptions=False)


def done(*arguments: str) -> str:
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def import_kind(key: str, *options: str) -> Result:
    return call("data", "import-records", f"{key}.csv", "--kind", key, *options)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog with all of it, a run on files, and one on the catalog."""
    folder = tmp_path_factory.mktemp("stored")
    with contextlib.chdir(folder):
        import_wave()
        done("data", "import", "wave.csv", *PERP)
        Path("turns.py").write_text(TURNS, encoding="utf-8")
        settings: dict[str, Any] = {
            "clock": {"type": "historical", "start": "2024-01-01", "end": "2025-01-01"},
            "data": {"instruments": ["WAVE.SIM", "PERP.SIM"], "timeframe": "1d"},
            "strategies": [{"name": "turns", "path": "turns.py", "capital": 10000}],
            "execution": {
                "margin": {"model": "fixed", "initial_pct": 10, "maintenance_pct": 5}
            },
        }  # fmt: skip
        for key, text in FILES.items():
            Path(f"{key}.csv").write_text(text, encoding="utf-8")
            settings["data"][key] = f"{key}.csv"
        Path("files.json").write_text(json.dumps(settings), encoding="utf-8")
        settings["data"] |= dict.fromkeys(FILES, "catalog")
        Path("catalog.json").write_text(json.dumps(settings), encoding="utf-8")
        for name in ("files", "catalog"):
            if name == "catalog":
                for key in FILES:
                    result = import_kind(key)
                    assert result.exit_code == 0, result.output
                    assert not result.stderr
            run_dir = Path(done("backtest", f"{name}.json", "--quiet").strip())
            run_dir.rename(name)
    return folder


@pytest.fixture(autouse=True)
def _copy(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)


def verdict(run_dir: str) -> str:
    return json.loads(call("verify", run_dir, "--json").stdout)["verdict"]


def read_records(run_dir: str) -> Iterator[Any]:
    with closing(SqliteTapeReader(Path(run_dir) / "tape.db")) as reader:
        yield from reader.records()


def read_facts(run_dir: str) -> list[str]:
    """What happened, without the session's own mark in the ids of orders."""
    return [re.sub(r"'[0-9a-f]{8}-turns-", "'", str(each)) for each in read_records(run_dir)][1:]


def header(run_dir: str) -> SessionStarted:
    with closing(SqliteTapeReader(Path(run_dir) / "tape.db")) as reader:
        return reader.header


def test_rows_of_files_and_of_the_catalog_make_the_same_session() -> None:
    """Every event but the header is the same; pins differ by the version that was read."""
    files, catalog = (list(read_records(name)) for name in ("files", "catalog"))
    assert files[1:] == catalog[1:]
    kinds = {type(event).__name__ for record in files for event, *_ in record.events}
    assert {"CorporateAction", "FundingRate", "MarkPrice", "TradingStatus"} <= kinds
    pins = [header(name).datasets for name in ("files", "catalog")]
    versions = [{each.timeframe: each.table_version for each in own} for own in pins]
    assert versions[0] == {"1d": 1, "actions": 0, "funding": 0, "fundamentals": 0, "halts": 0}
    assert versions[1] == {"1d": 1, "actions": 3, "funding": 3, "fundamentals": 3, "halts": 3}
    same = [[msgspec.structs.replace(each, table_version=0) for each in own] for own in pins]
    assert same[0] == same[1]
    assert header("files").session == header("catalog").session
    assert verdict("files") == verdict("catalog") == "identical"


def test_report_lookahead_and_sweep_read_the_catalog() -> None:
    figures = [json.loads(Path(name, "metrics.json").read_bytes()) for name in ("files", "catalog")]
    assert figures[0]["corporate_actions"] == figures[1]["corporate_actions"]
    assert figures[0]["corporate_actions"]["account"]["dividends"] != 0
    done("report", "catalog")
    found = [
        json.loads(done("lookahead", f"{name}.json", "--points", "3", "--json"))
        for name in ("files", "catalog")
    ]
    assert not any(each.pop("seconds") < 0 for each in found)
    assert found[0] == found[1]
    sweep = ("--param", "size=3,4", "--host", "python", "--workers", "1", "--json")
    found = [json.loads(done("sweep", f"{name}.json", *sweep)) for name in ("files", "catalog")]
    ranked = [one["best"] for one in found]
    assert [each.pop("again") for each in ranked[0]] != [each.pop("again") for each in ranked[1]]
    assert ranked[0] == ranked[1]


CORRECTIONS = {
    "corporate_actions": ("0.5,,2024", "0.6,,2024"),
    "funding": ("0.0001", "0.0003"),
    "fundamentals": ("1.25", "1.75"),
    "halts": ("03-07", "03-06"),
}


def correct(key: str) -> None:
    old, new = CORRECTIONS[key]
    path = Path(f"{key}.csv")
    path.write_text(FILES[key].replace(old, new), encoding="utf-8")
    refused = import_kind(key)
    assert refused.exit_code == 2
    told = "and was not halted" if key == "halts" else "differ from those in the catalog"
    assert told in refused.stderr
    assert import_kind(key, "--whole" if key == "halts" else "--replace").exit_code == 0
    assert "nothing new, version 4" in import_kind(key, "--whole").stdout


@pytest.mark.parametrize("key", FILES)
def test_correction_is_a_version_and_leaves_runs_as_they_were(key: str) -> None:
    correct(key)
    assert verdict("catalog") == "identical"
    done("report", "catalog")
    again = done("backtest", "catalog.json", "--quiet").strip()
    pinned = f"data.versions={{{key}: 3}}"
    before = done("backtest", "catalog.json", "--quiet", "--set", pinned).strip()
    assert read_facts(again) != read_facts("catalog")
    assert read_facts(before) == read_facts("catalog")
    assert verdict(again) == verdict(before) == "identical"

    name = "PERP.SIM" if key == "funding" else "WAVE.SIM"
    told = done("data", "diff", name, "3", "4", "--timeframe", key)
    assert told.endswith("rows differ between version 3 and version 4\n")
    changed = {"halts": 2}.get(key, 1)  # a halt that moves is one that is gone, and a new one
    assert len(told.splitlines()) == changed + 1
    listed = json.loads(done("data", "versions", name, "--timeframe", key, "--json"))
    assert len(listed) == 2
    told = done("data", "asof", name, "2200-01-01", "--timeframe", key)
    assert f"--set data.versions='{{{key}: 4}}'" in told


def rows_of(kind: str) -> Path:
    (path,) = Path("data/catalog/records").glob(f"kind={kind}/**/*.parquet")
    return path


def change_rows(kind: str) -> None:
    column = "rate" if kind == "funding" else "value"
    frame = pl.read_parquet(rows_of(kind), hive_partitioning=False)
    values = frame[column].to_list()
    values[0] = 0.0 if kind == "halts" else values[0] * 1.01
    frame.with_columns(pl.Series(column, values)).write_parquet(rows_of(kind))


def break_rows(kind: str) -> None:
    rows_of(kind).write_bytes(rows_of(kind).read_bytes()[:-40])


def delete_rows(kind: str) -> None:
    rows_of(kind).unlink()


def delete_all_rows(_kind: str) -> None:
    shutil.rmtree("data/catalog/records")


@pytest.mark.parametrize(
    ("tamper", "kind"),
    [
        *((change_rows, kind) for kind in FILES), (break_rows, "corporate_actions"),
        (delete_rows, "funding"), (delete_all_rows, "halts"),
    ],
)  # fmt: skip
def test_tampered_records_are_told(tamper: Callable[[str], None], kind: str) -> None:
    tamper(kind)
    result = call("verify", "catalog", "--json")
    assert (result.exit_code, json.loads(result.stdout)["verdict"]) == (2, "data")
    assert call("report", "catalog").exit_code == 2


def test_session_that_meets_nothing_pins_that_and_later_rows_change_nothing() -> None:
    setting = ("--set", "clock.end=2024-01-20")
    early = done("backtest", "catalog.json", "--quiet", *setting).strip()
    empty = [each for each in header(early).datasets if not each.rows]
    assert [(each.timeframe, each.table_version) for each in empty] == [
        ("actions", 3), ("funding", 3), ("halts", 3), ("fundamentals", 3),
    ]  # fmt: skip
    Path("early.csv").write_text(
        "instrument,kind,ex_date,value\nWAVE.SIM,cash_dividend,2024-01-10,1\n", encoding="utf-8"
    )
    done("data", "import-records", "early.csv", "--kind", "corporate_actions")
    assert verdict(early) == "identical"
    assert done("report", early)
    later = done("backtest", "catalog.json", "--quiet", *setting).strip()
    assert len(list(read_records(later))) > len(list(read_records(early)))


def test_session_whose_instruments_have_no_such_records_is_refused() -> None:
    only = ("--set", "data.instruments=[PERP.SIM]", "--set", "data.fundamentals=null")
    refused = call("backtest", "catalog.json", "--quiet", *only)
    assert refused.exit_code == 2
    assert "the catalog has no corporate actions of PERP.SIM" in refused.stderr
    assert "--kind corporate_actions" in refused.stderr
    refused = call("backtest", "catalog.json", "--quiet", "--set", "data.versions={funding: 99}")
    assert refused.exit_code == 2
    assert "there is no version 99: the newest is 3" in refused.stderr


def test_list_and_show_tell_records_beside_bars() -> None:
    listed = json.loads(done("data", "list", "--json"))
    records = {each["kind"]: each for each in listed if "kind" in each}
    assert {kind: each["rows"] for kind, each in records.items()} == {
        "corporate_actions": 3, "fundamentals": 1, "funding": 2, "halts": 2,
    }  # fmt: skip
    assert records["halts"]["source"] == "halts.csv"
    assert "corporate_actions" in done("data", "list")

    shown = json.loads(
        done("data", "show", "WAVE.SIM", "--timeframe", "corporate_actions", "--json")
    )
    assert [each["name"] for each in shown["rows"]] == ["cash_dividend", "split", "cash_dividend"]
    assert shown["rows"][0]["pay_date"] == "2024-02-20"
    text = done("data", "show", "PERP.SIM", "--timeframe", "funding", "--rows", "1")
    assert "101.5" in text
    assert "0.0001" in text
    refused = call("data", "show", "WAVE.SIM", "--timeframe", "funding")
    assert refused.exit_code == 2
    assert "the catalog has no funding of WAVE.SIM (did you mean" in refused.stderr
    assert "WAVE.SIM 1d" in done("data", "show", "WAVE.SIM")


def test_notebook_adjusts_by_the_actions_of_the_catalog() -> None:
    import onetape

    asked: dict[str, Any] = {"adjust": "total_return", "as_of": "2024-03-01"}
    of_file = onetape.data("WAVE.SIM", actions="corporate_actions.csv", **asked)
    assert onetape.data("WAVE.SIM", actions="catalog", **asked).equals(of_file)
    assert not onetape.data("WAVE.SIM", as_of="2024-03-01").equals(of_file)
    frame = onetape.data("WAVE.SIM", "corporate_actions")
    assert frame["name"].to_list() == ["cash_dividend", "split", "cash_dividend"]


def test_session_on_adjusted_prices_refuses_the_actions_of_the_catalog() -> None:
    rows = Path("wave.csv").read_text(encoding="utf-8").splitlines()
    adjusted = [f"{row},{'Adj' if not at else row.split(',')[4]}" for at, row in enumerate(rows)]
    Path("wave.csv").write_text("\n".join(adjusted), encoding="utf-8")
    wave = ("--instrument", "WAVE.SIM", "--timeframe", "1d", "--tz", "UTC", "--adjust-by", "Adj")
    done("data", "import", "wave.csv", *wave, "--replace")
    for name, code in (("catalog", 2), ("files", 2)):
        refused = call("backtest", f"{name}.json", "--quiet")
        assert refused.exit_code == code
        assert "its prices are adjusted (vendor)" in refused.stderr
    assert verdict("catalog") == "identical"  # its pins name the raw version
