"""`onetape data reconcile`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from onetape.control.cli import app
from onetape.control.commands.data_reconcile import Policy
from onetape.marketdata.reconciliation import Unresolved
from tests.support.cli_data import make_rows, write_csv

DAILY = ("--timeframe", "1d")
BOTH = ("--from", "one=one", "--from", "two=two:WAVE.TWO")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["data", *arguments])


def bring(catalog: str, name: str, rows: list[str], *more: str) -> None:
    write_csv(Path(f"{catalog}.csv"), rows)
    done = run("import", f"{catalog}.csv", "--instrument", name, *DAILY, "--calendar", "24/7",
               "--catalog", catalog, *more)  # fmt: skip
    assert done.exit_code == 0, done.stderr


@pytest.fixture(autouse=True)
def _two_catalogs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = make_rows(40)
    bring("one", "WAVE.SIM", [*rows[:20], *rows[21:]])
    cells = rows[10].split(",")
    wrong = ",".join([*cells[:4], f"{float(cells[4]) - 0.5:.2f}", *cells[5:]])
    bring("two", "WAVE.TWO", [*rows[:10], wrong, *rows[11:]])


def test_reconcile_writes_bars_with_their_provenance() -> None:
    done = run("reconcile", "WAVE.SIM", *DAILY, *BOTH, "--into", "all", "--html", "page.html")
    assert done.exit_code == 0, done.stderr
    assert "40 bars from 2 providers, 1 values disagree (0 without a quorum)" in done.stdout
    assert "40 bars written to all, version 0" in done.stdout
    assert "2024-01-10 00:00:00" in Path("page.html").read_text(encoding="utf-8")
    shown = run("show", "WAVE.SIM", "--catalog", "all").stdout
    assert "source      reconciled: one, two" in shown
    assert "close from  one 39, two 1" in shown
    assert "39 good, 1 suspect" in shown
    again = run("reconcile", "WAVE.SIM", *DAILY, *BOTH, "--into", "all")
    assert "nothing new in all" in again.stdout


def test_reconcile_without_a_catalog_only_compares() -> None:
    done = run("reconcile", "WAVE.SIM", *DAILY, *BOTH, "--json")
    report = json.loads(done.stdout)
    assert report["bars"] == 40
    assert [each["alone"] for each in report["providers"]] == [0, 1]
    (difference,) = report["disagreements"]
    assert difference["time"] == "2024-01-10T00:00:00Z"
    assert sorted(Path().iterdir()) == [Path(n) for n in ("one", "one.csv", "two", "two.csv")]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--from", "one=one"), "there is nothing to compare"),
        (("--from", "one"), "--from 'one' is not NAME=DIR or NAME=DIR:ID"),
        (("--from", "one=one", "--from", "one=two:WAVE.TWO"), "--from names 'one' twice"),
        (("--from", "one=one", "--from", "two=two"), "there are no 1d bars of WAVE.SIM"),
        ((*BOTH, "--field", "volume"), "--field 'volume' is not FIELD=NAME,..."),
        ((*BOTH, "--quorum", "3"), "quorum 3 can't be had"),
        ((*BOTH, "--quorum", "2", "--unresolved", "refuse"), "2 bars have no 2 providers"),
    ],
)
def test_reconcile_refuses_what_it_can_not_use(arguments: tuple[str, ...], said: str) -> None:
    done = run("reconcile", "WAVE.SIM", *DAILY, *arguments)
    assert (done.exit_code, said in done.stderr) == (2, True), done.stderr


def test_reconcile_refuses_prices_of_another_footing() -> None:
    halved = [make_rows(40)[0]]
    for row in make_rows(40)[1:]:
        date, *prices, volume = row.split(",")
        halved.append(",".join([date, *(f"{float(each) / 2:.4f}" for each in prices), volume]))
    bring("half", "WAVE.SIM", halved)
    done = run("reconcile", "WAVE.SIM", *DAILY, "--from", "one=one", "--from", "half=half")
    assert done.exit_code == 2
    assert "prices of half are those of one x 0.5 from 2024-01-01 on" in done.stderr


def test_reconcile_takes_folders_with_a_colon_for_addresses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ONETAPE_STORAGE_AWS_REGION", "no reference")
    done = run("reconcile", "WAVE.SIM", *DAILY, "--from", "one=s3://market/one", *BOTH[2:])
    assert "ONETAPE_STORAGE_AWS_REGION is not a reference" in done.stderr


def test_the_command_knows_every_policy() -> None:
    assert [each.value for each in Policy] == [each.value for each in Unresolved]
