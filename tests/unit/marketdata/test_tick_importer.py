from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from onetape.control.cli import app
from onetape.domain.errors import DataError
from onetape.domain.instrument import make_equity
from onetape.domain.market import Quality
from onetape.domain.timestamps import from_iso
from onetape.marketdata.catalog import Catalog
from onetape.marketdata.importer import ImportOptions
from onetape.marketdata.quality import Repair
from onetape.marketdata.record_kinds import RecordKind
from onetape.marketdata.tick_importer import TickImport, import_ticks
from tests.unit.marketdata.csv_files import BTC, NOW, SPY, write_csv

PRINTS = "time,price,size,side"
QUOTES = "time,bid,ask,bid_size,ask_size"


def read(path: Path, kind: RecordKind = RecordKind.TRADES, **options: Any) -> TickImport:
    return import_ticks(path, BTC, kind, ImportOptions(**options), ts_now=NOW)


def test_prints_of_an_exchange_are_read_with_who_crossed_the_spread(tmp_path: Path) -> None:
    # A buyer who was the maker sold to nobody: the seller crossed the spread.
    path = write_csv(
        tmp_path, "1,100.5,0.2,1704186000123,true", "2,100.6,0.1,1704186000123,False",
        header="trade_id,price,qty,time,is_buyer_maker",
    )  # fmt: skip
    found = read(path).columns
    assert found["ts_event"].tolist() == [from_iso("2024-01-02T09:00:00.123Z")] * 2
    assert found["ts_known"].tolist() == found["ts_event"].tolist()
    assert found["price"].tolist() == [100.5, 100.6]
    assert found["size"].tolist() == [0.2, 0.1]
    assert found["aggressor"].tolist() == [-1, 1]
    assert found["session_close"].tolist() == [from_iso("2024-01-03")] * 2


def test_columns_by_map_and_typed_files_are_read_alike(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "when": pl.Series([from_iso("2024-01-02T09:00:00Z")]).cast(pl.Datetime("ns", "UTC")),
            "b": [99.5], "a": [100.0], "bs": [3], "as": [0], "got": [1704186000500],
        }
    )  # fmt: skip
    path = tmp_path / "q.parquet"
    frame.write_parquet(path)
    roles = {"when": "ts", "b": "bid", "a": "ask", "bs": "bid_size", "as": "ask_size",
             "got": "ts_known"}  # fmt: skip
    found = read(path, RecordKind.QUOTES, column_map=roles).columns
    assert [found[name][0] for name in ("bid", "ask", "bid_size", "ask_size")] == [99.5, 0, 3, 0]
    assert found["ts_known"][0] - found["ts_event"][0] == 500_000_000
    late = import_ticks(
        path, BTC, RecordKind.QUOTES,
        ImportOptions(column_map={**roles, "got": "-"}, publication_delay_ns=7), ts_now=NOW,
    ).columns  # fmt: skip
    assert late["ts_known"][0] - late["ts_event"][0] == 7


BAD = [
    ("2024-01-02,1,1,buy", "column 'time' has dates, and ticks need times"),
    ("2024-01-02T09:00:00Z,0,1,buy", "price is not positive (line 2)"),
    ("2024-01-02T09:00:00Z,1e17,1,buy", "price is too many ticks of 0.01 (line 2)"),
    ("2024-01-02T09:00:00Z,1,-1,buy", "size is negative (line 2)"),
    ("2024-01-02T09:00:00Z,1,1,bid", "side is none of buy, buyer, b, 1, sell"),
    ("2024-06-02T09:00:00Z,1,1,buy", "time is in the future (line 2)"),
    ("2024-01-02T09:00:00Z,1,1", "number of fields is not that of the header (line 2)"),
]


@pytest.mark.parametrize(("row", "message"), BAD)
def test_bad_print_refuses_the_file_with_its_line(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(DataError) as refused:
        read(write_csv(tmp_path, row, header=PRINTS))
    assert message in str(refused.value)


def test_ticks_between_coarse_steps_of_the_price_are_told(tmp_path: Path) -> None:
    prints = write_csv(tmp_path, "2024-01-02T09:00:00Z,0.125,1,buy", header=PRINTS)
    quotes = write_csv(tmp_path, "2024-01-02T09:00:00Z,0.125,0.13,1,1", header=QUOTES, name="q.csv")
    for found in (read(prints), read(quotes, RecordKind.QUOTES)):
        (word,) = found.warnings
        assert "up to 4 % away from ticks of 0.01" in word


def test_crossed_quote_and_a_missing_price_are_told(tmp_path: Path) -> None:
    path = write_csv(tmp_path, "2024-01-02T09:00:00Z,101,100,1,1", "2024-01-02T09:00:01Z,,100,1,1",
                     "2024-01-02T09:00:02Z,,100,0,1", header=QUOTES)  # fmt: skip
    with pytest.raises(DataError, match=r"bid is not a number \(line 3\); bid is above ask"):
        read(path, RecordKind.QUOTES)
    found = read(path, RecordKind.QUOTES, repairs=frozenset({Repair.DROP_BAD}))
    assert found.columns["bid"].tolist() == [0.0]
    assert found.columns["quality"].tolist() == [int(Quality.GAP_BEFORE)]
    assert found.repaired == {Repair.DROP_BAD: 2}


def test_prints_that_are_alike_are_kept_and_told_unless_an_id_says_they_are_one(
    tmp_path: Path,
) -> None:
    rows = ["2024-01-02T09:00:00Z,1,1,buy,7", "2024-01-02T09:00:00Z,1,1,buy,8",
            "2024-01-02T09:00:01Z,1,1,buy,7"]  # fmt: skip
    alike = read(write_csv(tmp_path, *(each[:-2] for each in rows), header=PRINTS))
    assert len(alike.columns["price"]) == 3
    assert "1 prints are like the one before them" in alike.warnings[0]
    path = write_csv(tmp_path, *rows, header=f"{PRINTS},id")
    with pytest.raises(DataError, match=r"id is a repetition \(line 4\)"):
        read(path)
    found = read(path, repairs=frozenset({Repair.DROP_DUPLICATES}))
    assert (len(found.columns["price"]), found.warnings) == (2, ())
    assert read(path, column_map={"id": "-"}).warnings


def test_rows_out_of_order_are_sorted_where_that_is_allowed(tmp_path: Path) -> None:
    path = write_csv(tmp_path, "2024-01-02T09:00:01Z,1,1,", "2024-01-02T09:00:00Z,2,1,",
                     "2024-01-02T09:00:01Z,3,1,", header=PRINTS)  # fmt: skip
    with pytest.raises(DataError, match=r"time is before that of the row above \(line 3\)"):
        read(path)
    found = read(path, repairs=frozenset({Repair.SORT})).columns
    assert found["price"].tolist() == [2.0, 1.0, 3.0]


@pytest.mark.parametrize(
    ("time", "close"),
    [
        ("2024-03-08T13:00:00Z", "2024-03-08T21:00:00Z"),  # before the open
        ("2024-03-08T15:00:00Z", "2024-03-08T21:00:00Z"),
        ("2024-03-08T21:00:00Z", "2024-03-08T21:00:00Z"),
        ("2024-03-11T20:00:00Z", "2024-03-11T20:00:00Z"),  # the clocks went forward on the 10th
        ("2024-03-11T20:00:01Z", "2024-03-12T20:00:00Z"),
    ],
)
def test_print_counts_toward_the_session_that_is_open_or_the_next(
    tmp_path: Path, time: str, close: str
) -> None:
    path = write_csv(tmp_path, f"{time},1,1,", header=PRINTS)
    found = import_ticks(path, SPY, RecordKind.TRADES, ts_now=NOW).columns
    assert found["session_close"].tolist() == [from_iso(close)]


def test_command_imports_prints_and_quotes_that_a_session_runs_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [f"2024-01-02T15:{at // 60:02}:{at % 60:02}Z" for at in range(600)]
    write_csv(tmp_path, *(f"{each},{100 + at % 7},5,buy" for at, each in enumerate(rows)),
              header=PRINTS, name="t.csv")  # fmt: skip
    write_csv(tmp_path, *(f"{each},{99 + at % 7},{101 + at % 7},5,5" for at, each in
                          enumerate(rows)), header=QUOTES, name="q.csv")  # fmt: skip
    common = ["--instrument", "X.XNAS", "--calendar", "24/7", "--catalog", "data"]
    for file, what in (("t.csv", "trades"), ("q.csv", "quotes")):
        done = CliRunner().invoke(app, ["data", "import", file, "--timeframe", what, *common])
        assert done.exit_code == 0, done.output
        assert f"X.XNAS {what}: 600 rows written" in done.stdout
        again = CliRunner().invoke(app, ["data", "import", file, "--timeframe", what, *common])
        assert f"X.XNAS {what}: nothing new" in again.stdout
    assert Catalog(Path("data")).instruments()["X.XNAS"] == make_equity("X.XNAS", calendar="24/7")
    Path("run.yaml").write_text(
        "clock: {type: historical, start: 2024-01-02, end: 2024-01-03}\n"
        "data: {path: data, instruments: [X.XNAS], timeframe: quotes+trades}\n"
        "strategies: [{name: buy_and_hold, capital: 100000}]\n"
    )
    done = CliRunner().invoke(app, ["backtest", "run.yaml", "--quiet"])
    assert done.exit_code == 0, done.output

    for option in (["--adjust-by", "price"], ["--label", "end"]):
        refused = CliRunner().invoke(
            app, ["data", "import", "t.csv", "--timeframe", "trades", *common, *option]
        )
        assert refused.exit_code == 2
        assert f"trades have no {option[0]}" in refused.output
    write_csv(tmp_path, f"{rows[0]},5,5,buy", header=PRINTS, name="t.csv")
    other = ["data", "import", "t.csv", "--timeframe", "trades", *common]
    assert "differ from those in the catalog" in CliRunner().invoke(app, other).output
    replaced = CliRunner().invoke(app, [*other, "--replace"])
    assert "1 rows written in place of 1" in replaced.stdout
    stored = Catalog(Path("data")).records.read(RecordKind.TRADES, "X.XNAS").columns["price"]
    assert np.array_equal(stored[:2], [5.0, 101.0])
