from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from onetape.control.cli import app
from onetape.domain.errors import DataError
from onetape.domain.timestamps import NS_PER_DAY, from_iso
from onetape.marketdata.catalog import Catalog
from onetape.marketdata.importer import ImportOptions
from onetape.marketdata.record_kinds import RecordKind
from onetape.marketdata.symbol_map import find_rows, read_symbol_map
from onetape.marketdata.tick_importer import import_ticks
from tests.support.shared_data import SHARED, needs_shared
from tests.unit.marketdata.csv_files import BTC, NOW, write_csv

HEADER = "instrument,symbol,start,end"
EQUITY = SHARED / "equity_us"


def day(text: str) -> int:
    return from_iso(text) // NS_PER_DAY


def test_spans_of_a_file_hold_their_first_and_last_day(tmp_path: Path) -> None:
    path = write_csv(tmp_path, "A.X,NEW,2024-01-03,", "A.X,OLD,,2024-01-02", "B.X,OLD,2024-01-03,",
                     header=HEADER)  # fmt: skip
    spans = read_symbol_map(path, "A.X")
    assert [each.symbol for each in spans] == ["OLD", "NEW"]
    days = np.array([day(f"2024-01-0{at}") for at in range(1, 5)])
    assert find_rows(spans, days, "old").tolist() == [True, True, False, False]
    assert find_rows(spans, days, ["OLD", "NEW", "OLD", "NEW"]).tolist() == [
        True, False, False, True
    ]  # fmt: skip
    assert find_rows(read_symbol_map(path, "B.X"), days, "OLD").tolist() == [
        False, False, True, True
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        ("instrument,symbol", ["A.X,OLD"], ":1: its columns are instrument, symbol"),
        (HEADER, ["B.X,OLD,,"], "it has no symbol of A.X"),
        (HEADER, ["A.X,OLD,soon,"], ":2: start"),
        (HEADER, ["A.X,OLD,2024-01-02T05:00:00Z,"], "is no day"),
        (HEADER, ["A.X,OLD,2024-01-02,2024-01-01"], "OLD ends before it starts"),
        (HEADER, ["A.X,,,"], ":2: has no symbol"),
        (HEADER, ["A.X,OLD,"], "has not as many fields as the header"),
        (HEADER, ["A.X,OLD,,2024-01-02", "A.X,NEW,2024-01-02,"], "OLD and NEW stand for A.X"),
        ("20040819,goog,Q", ["2014,goog,Q"], ":2: is no line of a map file"),
    ],
)  # fmt: skip
def test_wrong_file_of_symbols_is_told(
    tmp_path: Path, header: str, rows: list[str], message: str
) -> None:
    with pytest.raises(DataError) as refused:
        read_symbol_map(write_csv(tmp_path, *rows, header=header), "A.X")
    assert message in str(refused.value)


def test_prints_of_another_holder_of_the_symbol_are_left_out(tmp_path: Path) -> None:
    """Days are those of the file's zone: 23:30 in New York is still the old one's day."""
    symbols = write_csv(tmp_path, f"{BTC.id},XYZ,,2024-01-02", header=HEADER, name="s.csv")
    path = write_csv(
        tmp_path, "2024-01-02T23:30:00,1,1,XYZ", "2024-01-02T23:31:00,2,1,ABC",
        "2024-01-03T00:30:00,3,1,XYZ", header="time,price,size,ticker",
    )  # fmt: skip
    options = ImportOptions(symbols=read_symbol_map(symbols, BTC.id), symbol_column="Ticker",
                            timezone="America/New_York")  # fmt: skip
    found = import_ticks(path, BTC, RecordKind.TRADES, options, ts_now=NOW)
    assert (found.columns["price"].tolist(), found.records) == ([1.0], 1)
    gone = ImportOptions(symbols=options.symbols, symbol="ABC")
    with pytest.raises(DataError, match="no row is of the symbols XYZ in their time"):
        import_ticks(path, BTC, RecordKind.TRADES, gone, ts_now=NOW)


@needs_shared
def test_class_a_of_google_is_one_instrument_over_two_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To 2014-04-02 GOOG was class A, since then GOOGL is (Lean map file); 4,183 rows in all.

    The closes at the seam, 1,135.10 and 573.39's day, are those of the raw files; class C is what
    GOOG's file holds from 2014-04-03 on.
    """
    monkeypatch.chdir(tmp_path)
    common = ["--timeframe", "1d", "--tz", "America/New_York", "--catalog", "data", "--calendar",
              "hours:America/New_York:09:30-16:00"]  # fmt: skip
    for share, ticker in (("GOOGL", "goog"), ("GOOGL", "googl"), ("GOOG", "goog")):
        done = CliRunner().invoke(
            app, ["data", "import", str(EQUITY / f"daily_raw/{ticker}.csv.gz"), "--instrument",
                  f"{share}.XNAS", "--symbols", str(EQUITY / f"map_files/{share.lower()}.csv"),
                  "--symbol", ticker, *common]
        )  # fmt: skip
        assert done.exit_code == 0, done.output
    columns = Catalog(Path("data")).read_bars("GOOGL.XNAS", "1d")
    seam = int(np.searchsorted(columns["ts_open"], from_iso("2014-04-03")))
    assert (seam, len(columns["close"])) == (2_422, 2_422 + 1_761)
    assert columns["close"][seam - 1] == 1_135.1
    assert columns["open"][seam] == 573.39
    other = Catalog(Path("data")).read_bars("GOOG.XNAS", "1d")
    assert other["ts_open"][0] == columns["ts_open"][seam]
    assert len(other["close"]) == 4_183 - 2_422


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--symbol", "A"], "is of no use without --symbols"),
        (["--symbols", "s.csv"], "--symbols needs one of --symbol and --symbol-column"),
        (["--symbols", "s.csv", "--symbol", "A", "--symbol-column", "B"], "needs one of --symbol"),
        (["--symbols", "s.csv", "--symbol", "A"], "there is no such file of symbols"),
    ],
)
def test_command_tells_which_options_belong_together(options: list[str], message: str) -> None:
    arguments = ["data", "import", "f.csv", "--instrument", "A.X", "--timeframe", "1d", *options]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    assert message in done.output
