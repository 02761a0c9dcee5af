"""`onetape data`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from onetape.control.cli import app
from onetape.control.commands.data import Label
from onetape.control.commands.data_aggregate import Late
from onetape.control.instrument_options import ImportKind
from onetape.domain.instrument import InstrumentKind
from onetape.marketdata.aggregation import LatePolicy
from onetape.marketdata.bar_times import TimeLabel
from tests.support.cli_data import import_wave, make_rows, write_csv

WAVE = ("--instrument", "WAVE.SIM", "--timeframe", "1d", "--calendar", "24/7", "--tz", "UTC")


@pytest.fixture(autouse=True)
def _in_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["data", *arguments])


def test_data_import_twice_writes_once() -> None:
    import_wave()
    first = run("list", "--json").stdout
    again = run("import", "wave.csv", *WAVE)
    assert again.exit_code == 0
    assert again.stdout.startswith("WAVE.SIM 1d: nothing new, 120 in all, adjustment none")
    assert run("list", "--json").stdout == first


def test_data_import_uses_the_stored_definition_when_none_is_given() -> None:
    import_wave()
    result = run("import", "wave.csv", *WAVE[:4], "--tz", "UTC")
    assert result.exit_code == 0, result.stderr


def test_data_import_with_another_definition_is_refused_unless_replace() -> None:
    import_wave()
    refused = run("import", "wave.csv", *WAVE, "--tick", "0.05")
    assert refused.exit_code == 2
    assert "tick_size 0.01 would become 0.05" in refused.stderr
    assert run("import", "wave.csv", *WAVE, "--tick", "0.05", "--replace").exit_code == 0
    assert json.loads(run("show", "WAVE.SIM", "--json").stdout)["instrument"]["tick_size"] == "0.05"


def test_data_import_maps_columns_and_picks_rows() -> None:
    rows = make_rows(3)
    both = ["Name," + rows[0].replace("Date", "When")]
    both += [f"{name},{row}" for name in ("WAVE", "OTHER") for row in rows[1:]]
    write_csv(Path("both.csv"), both)
    result = run("import", "both.csv", *WAVE, "--map", "When=ts", "--where", "Name=OTHER")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("WAVE.SIM 1d: 3 bars written")


ROWS = make_rows()

BAD_ROWS = [
    ([ROWS[0], *reversed(ROWS[1:])], "sort", 3),
    ([*ROWS, ROWS[-1]], "drop-duplicates", 122),
    ([*ROWS[:5], ROWS[5].replace(",", ",-", 1), *ROWS[6:]], "drop-bad", 6),
    ([*ROWS[:5], ROWS[5].rsplit(",", 1)[0] + ",nan", *ROWS[6:]], "drop-bad", 6),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "repair", "line"), BAD_ROWS, ids=["order", "twice", "minus", "nan"]
)
def test_data_import_of_bad_rows_names_their_lines_and_writes_nothing(
    rows: list[str], repair: str, line: int
) -> None:
    write_csv(Path("bad.csv"), rows)
    result = run("import", "bad.csv", *WAVE)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert f"{line}" in result.stderr
    assert repair in result.stderr
    assert not Path("data").exists()
    repaired = run("import", "bad.csv", *WAVE, "--repair", repair)
    assert repaired.exit_code == 0, repaired.stderr
    assert "repaired: " in repaired.stderr


BAD_OPTIONS = [
    (["--map", "Date"], "error: --map 'Date' is not COLUMN=VALUE (write it like \"Date=ts,"),
    (["--kind", "spot"], "error: WAVE.SIM of kind spot needs a base currency (add --base, for"),
    (["--kind", "index"], "error: WAVE.SIM of kind index needs its smallest steps (add --tick"),
    (["--tick", "cent"], "error: --tick 'cent' is not a number"),
    (["--repair", "mend"], "error: repair 'mend' is unknown"),
    (["--calendar", "XNYZ"], "error: "),
    (["--instrument", "WAVE"], "error: instrument id 'WAVE' is not SYMBOL.VENUE"),
    (["--timeframe", "1 day"], "error: timeframe '1 day' is unknown"),
]


@pytest.mark.parametrize(("options", "start"), BAD_OPTIONS)
def test_data_import_with_a_bad_option_is_one_line(options: list[str], start: str) -> None:
    write_csv(Path("wave.csv"), make_rows())
    result = run("import", "wave.csv", *WAVE, *options)
    assert result.exit_code == 2
    assert result.stderr.startswith(start)
    assert len(result.stderr.splitlines()) == 1
    assert not Path("data").exists()


def test_data_import_of_a_missing_file_names_it() -> None:
    result = run("import", "none.csv", *WAVE)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: none.csv: ")


def test_data_list_of_nothing_says_how_to_begin() -> None:
    assert run("list").stdout.startswith("data/catalog holds no data; import some: onetape data")
    assert json.loads(run("list", "--json").stdout) == []


def test_data_list_and_show_tell_what_is_there() -> None:
    import_wave()
    assert "WAVE.SIM" in run("list").stdout
    shown = run("show", "WAVE.SIM", "--rows", "2")
    assert "2024-01-01" in shown.stdout
    assert "tick 0.01, lot 1" in shown.stdout
    view = json.loads(run("show", "WAVE.SIM", "--rows", "2", "--json").stdout)
    assert view["dataset"]["rows"] == 120
    assert [len(view["head"]), len(view["tail"])] == [2, 2]
    assert view["head"][0]["close"] == 100.0


def test_data_show_prints_no_bar_twice() -> None:
    import_wave()
    lines = run("show", "WAVE.SIM", "--rows", "100").stdout.splitlines()
    assert sum(each.lstrip().startswith("2024-") for each in lines) == 120


def test_data_show_of_an_unknown_instrument_names_the_nearest() -> None:
    import_wave()
    result = run("show", "WAVES.SIM")
    assert result.exit_code == 2
    assert "'WAVE.SIM'" in result.stderr


def test_data_show_needs_a_timeframe_where_there_are_several() -> None:
    import_wave()
    Path("hour.csv").write_text("ts,open,high,low,close,volume\n2024-01-01T00:00,1,1,1,1,1\n")
    arguments = ("--instrument", "WAVE.SIM", "--timeframe", "1h", "--tz", "UTC")
    assert run("import", "hour.csv", *arguments).exit_code == 0
    result = run("show", "WAVE.SIM")
    assert result.exit_code == 2
    assert result.stderr == ("error: WAVE.SIM has 1d, 1h (choose one: --timeframe 1d)\n")


def test_choices_of_the_command_line_are_those_of_the_domain() -> None:
    assert {each.value for each in Label} == {each.value for each in TimeLabel}
    assert {each.value for each in ImportKind} <= {each.value for each in InstrumentKind}


def test_data_aggregate_makes_weeks_and_says_what_is_left_out() -> None:
    import_wave()
    made = run("aggregate", "WAVE.SIM", "--from", "1d", "--to", "1w,10tick")
    assert made.exit_code == 0, made.stderr
    assert made.stdout.splitlines() == [
        "WAVE.SIM 1w from 1d: 17 bars written, 17 in all, version 1, "
        "left out: 1 rows of bars that are not over",
        "WAVE.SIM 10tick from 1d: 12 bars written, 12 in all, version 2",
    ]
    assert run("aggregate", "WAVE.SIM", "--from", "1d", "--to", "1w").stdout.startswith(
        "WAVE.SIM 1w from 1d: nothing new"
    )
    shown = json.loads(run("show", "WAVE.SIM", "--timeframe", "1w", "--json").stdout)
    assert shown["dataset"]["source"] == "1d version 0, by session"


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("1h", "goes over 2024-01-01T01:00:00Z"),
        ("1d", "1d bars can't be made of 1d bars"),
        ("5x", "timeframe '5x' is unknown"),
        ("0.5tick", "would never end"),
        ("1000tick", "make no finished 1000tick bar"),
    ],
)
def test_data_aggregate_what_can_not_be_is_refused(target: str, message: str) -> None:
    import_wave()
    refused = run("aggregate", "WAVE.SIM", "--from", "1d", "--to", target)
    assert refused.exit_code == 2
    assert message in refused.stderr


def test_data_aggregate_alignments_are_those_of_the_rule() -> None:
    import_wave()
    assert {each.value for each in Late} == {each.value for each in LatePolicy}
    made = run("aggregate", "WAVE.SIM", "--from", "1d", "--to", "1w", "--by", "clock",
               "--grace", "0", "--late", "drop")  # fmt: skip
    assert made.stdout.startswith("WAVE.SIM 1w from 1d: 17 bars written")


CONTRACTS = [
    (["--kind", "perpetual", "--base", "BTC", "--inverse", "--multiplier", "100"],
     {"kind": "perpetual", "multiplier": "100", "terms.inverse": True}),
    (["--kind", "future", "--underlying", "ES", "--expiry", "2024-03-15T14:30:00Z",
      "--multiplier", "50", "--initial-margin", "10", "--maintenance-margin", "7.5"],
     {"kind": "future", "terms.ts_expiry": 1_710_513_000_000_000_000,
      "margin.maintenance_ratio_e8": 7_500_000}),
    (["--kind", "option", "--underlying", "AAPL.XNAS", "--expiry", "2024-03-15", "--strike", "100",
      "--right", "put", "--settlement", "cash", "--exercise", "european"],
     {"kind": "option", "terms.right": "put", "terms.cash_settled": True,
      "terms.exercise": "european", "terms.strike": "100"}),
]  # fmt: skip


@pytest.mark.parametrize(("options", "fields"), CONTRACTS)
def test_data_import_defines_contracts(options: list[str], fields: dict[str, object]) -> None:
    write_csv(Path("wave.csv"), make_rows(3))
    steps = ("--tick", "0.25", "--lot", "1")
    result = run("import", "wave.csv", *WAVE, *steps, *options)
    assert result.exit_code == 0, result.stderr
    shown = json.loads(run("show", "WAVE.SIM", "--json").stdout)["instrument"]
    for path, value in fields.items():
        found = shown
        for name in path.split("."):
            found = found[name]
        assert found == value, path


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (["--kind", "option"], "WAVE.SIM of kind option needs --underlying"),
        (["--kind", "future", "--underlying", "ES"], "WAVE.SIM of kind future needs --expiry"),
        (["--kind", "spot", "--base", "BTC", "--inverse"],
         "WAVE.SIM of kind spot has no --inverse (it is for --kind perpetual)"),
        (["--kind", "perpetual", "--inverse"], "is inverse, and has no base currency"),
        (["--kind", "perpetual", "--initial-margin", "10"], "WAVE.SIM has one of two margins"),
        (["--kind", "perpetual", "--initial-margin", "5", "--maintenance-margin", "10"],
         "a maintenance margin of 10 % does not lie between 0 and the initial margin of 5 %"),
        (["--kind", "future", "--underlying", "ES", "--expiry", "soon"], "--expiry 'soon'"),
    ],
)  # fmt: skip
def test_data_import_of_a_contract_that_lacks_something_says_what(
    options: list[str], what: str
) -> None:
    write_csv(Path("wave.csv"), make_rows(3))
    result = run("import", "wave.csv", *WAVE, "--tick", "0.25", "--lot", "1", *options)
    assert result.exit_code == 2
    assert what in result.stderr


def test_data_check_tells_findings_carries_out_policies_and_writes_a_page() -> None:
    rows = make_rows(120)
    parts = rows[41].split(",")
    rows[41] = ",".join((*parts[:2], f"{float(parts[2]) * 2}", parts[3], f"{float(parts[4]) * 1.9}",
                         parts[5]))  # fmt: skip
    write_csv(Path("wave.csv"), rows)
    assert run("import", "wave.csv", *WAVE).exit_code == 0

    told = run("check", "WAVE.SIM", "--policy", "outlier=flag", "--robust-z", "9",
               "--html", "page.html")  # fmt: skip

    assert told.exit_code == 0, told.stderr
    assert "WAVE.SIM 1d, version 0: 120 bars from 2024-01-01" in told.stdout
    assert "Version 1 holds 120 bars." in told.stdout
    page = Path("page.html").read_text(encoding="utf-8")
    assert "<h2>outlier</h2>" in page
    assert "2024-02-10T00:00:00Z" in page
    found = json.loads(run("check", "WAVE.SIM", "--robust-z", "9", "--json").stdout)["findings"]
    assert {each["rule"]: each["rows"] for each in found if each["rows"]} == {"outlier": 2}
    shown = json.loads(run("show", "WAVE.SIM", "--json").stdout)
    assert shown["quality"]["SUSPECT"] == 2
    assert run("check", "WAVE.SIM", "--robust-z", "9", "--policy", "outlier=reject").exit_code == 2
    assert "is not RULE=POLICY" in run("check", "WAVE.SIM", "--policy", "outlier").stderr
