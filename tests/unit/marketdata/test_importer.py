from __future__ import annotations

import csv
import gzip
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from onetape.domain.errors import DataError
from onetape.domain.instrument import make_equity
from onetape.domain.market import Quality
from onetape.domain.timestamps import NS_PER_SECOND, from_iso
from onetape.marketdata.bars import BAR_COLUMNS, check_columns
from onetape.marketdata.importer import ImportOptions, import_bars
from onetape.marketdata.quality import Repair
from tests.support.shared_data import SHARED, needs_shared
from tests.unit.marketdata.csv_files import (
    BTC,
    HEADER,
    NOW,
    SPY,
    daily_rows,
    import_csv,
    write_csv,
)

ALL_REPAIRS = frozenset(Repair)


def test_import_bars_plain_file_gives_every_column(tmp_path: Path) -> None:
    path = write_csv(tmp_path, "2024-01-01,10,12,9,11,100", "2024-01-02,11,13,10,12,0.5")

    result = import_csv(path, publication_delay_ns=NS_PER_SECOND)

    assert list(result.columns) == list(BAR_COLUMNS)
    check_columns(result.columns, "result")
    first, second = from_iso("2024-01-01"), from_iso("2024-01-02")
    third = from_iso("2024-01-03")
    assert {name: column.tolist() for name, column in result.columns.items()} == {
        "ts_open": [first, second],
        "ts_close": [second, third],
        "ts_known": [second + NS_PER_SECOND, third + NS_PER_SECOND],
        "session_close": [second, third],
        "quality": [0, 0],
        "open": [10.0, 11.0],
        "high": [12.0, 13.0],
        "low": [9.0, 10.0],
        "close": [11.0, 12.0],
        "volume": [100.0, 0.5],
    }
    assert (result.instrument, result.timeframe, result.source) == (BTC.id, "1d", "prices.csv")
    assert (result.adjustment, result.records) == ("none", 2)
    assert (result.repaired, result.warnings) == ({}, ())


def test_import_bars_parquet_is_the_same_as_csv(tmp_path: Path) -> None:
    text = import_csv(write_csv(tmp_path, *daily_rows("2024-01-01", "2024-01-02")))
    path = tmp_path / "prices.parquet"
    pl.DataFrame(
        {
            "Date": [date(2024, 1, 1), date(2024, 1, 2)],
            "open": [10, 10],
            "high": pl.Series([12, 12], dtype=pl.Decimal(10, 2)),
            "low": ["9", "9.0"],
            "close": pl.Series([11, 11], dtype=pl.Float32),
            "volume": [100.0, 100.0],
        }
    ).write_parquet(path)

    typed = import_csv(path)

    for name in BAR_COLUMNS:
        assert typed.columns[name].tolist() == text.columns[name].tolist()


def test_import_bars_parquet_faults_are_told_by_row(tmp_path: Path) -> None:
    path = tmp_path / "prices.parquet"
    pl.DataFrame(
        {"ts": [date(2024, 1, 1), None], "o": [1.0, 1.0], "h": [1.0, 1.0], "l": [1.0, 1.0],
         "c": [float("nan"), 1.0], "v": [1, 1]}
    ).write_parquet(path)  # fmt: skip

    with pytest.raises(DataError, match=r"unreadable .*\(row 2\); close is not a number \(row 1\)"):
        import_csv(path)


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        (["2024-01-02,10,12,9,x,1"], "close is not a number (line 3)"),
        (["2024-01-02,10,12,9,,1"], "close is not a number (line 3)"),
        (["2024-01-02,10,12,9,nan,1"], "close is not a number (line 3)"),
        (['2024-01-02,"1,000",12,9,10,1'], "open is not a number (line 3)"),
        (["2024-01-02,10,inf,9,11,1"], "high is infinite (line 3)"),
        (["2024-01-02,10,1e400,9,11,1"], "high is infinite (line 3)"),
        (["2024-01-02,-10,12,9,11,1"], "open is not positive (line 3)"),
        (["2024-01-02,10,12,0,11,1"], "low is not positive (line 3)"),
        (["2024-01-02,10,12,9,11,-1"], "volume is negative (line 3)"),
        (["2024-01-02,10,9,12,11,1"], "high is below low (line 3)"),
        (["2024-01-02,10,12,9,13,1"], "close is outside low to high (line 3)"),
        (["2024-01-02,10,12,9,11"], "number of fields is not that of the header (line 3)"),
        (["2024-01-32,10,12,9,11,1"], "time is unreadable or not like the others (line 3)"),
        (["2024-01-01,10,12,9,11,1"], "time is a repetition (line 3)"),
        (["2023-12-31,10,12,9,11,1"], "time is before that of the row above (line 3)"),
        (["2024-06-01,10,12,9,11,1"], "bar is not over yet (line 3)"),
        (["", "2024-01-02,10,9,12,11,1", "2024-01-03,x,9,12,11,1"], "high is below low (line 4)"),
    ],
)
def test_import_bars_bad_row_refuses_the_file_with_its_line(
    tmp_path: Path, rows: list[str], fault: str
) -> None:
    path = write_csv(tmp_path, "2024-01-01,10,12,9,11,100", *rows)

    with pytest.raises(DataError) as caught:
        import_csv(path)

    assert fault in caught.value.what
    assert caught.value.where == str(path)
    assert "\n" not in str(caught.value)


def test_import_bars_refusal_shows_the_first_bad_row_as_it_is_written(tmp_path: Path) -> None:
    path = write_csv(tmp_path, *daily_rows("2024-01-01", "01/02/2024", "2024-01-03", "x"))
    wide = write_csv(tmp_path, f"2024-01-01,$10,12,9,11,{'1' * 99}", name="wide.csv")

    with pytest.raises(DataError, match=r"\(lines 3, 5\); line 3 has '01/02/2024, 10, 12, 9, 11"):
        import_csv(path)
    with pytest.raises(DataError, match=r"line 2 has '2024-01-01, \$10, 12, 9, 11, 1+\.\.\.'"):
        import_csv(wide)


def test_import_bars_prices_that_ticks_come_near_to_have_no_warning(tmp_path: Path) -> None:
    near = write_csv(tmp_path, "2024-01-01,10.001,12,9,11.004,100")

    assert import_csv(near).warnings == ()


def test_import_bars_prices_between_coarse_ticks_are_told(tmp_path: Path) -> None:
    between = write_csv(tmp_path, "2024-01-01,0.125,0.125,0.1,0.12,100")

    (word,) = import_csv(between).warnings
    assert word.startswith("prices are up to 4 % away from ticks of 0.01,")


def test_import_bars_price_that_no_tick_is_near_to_is_a_fault(tmp_path: Path) -> None:
    """It would be worth nothing: a strategy could never buy it, or buy it for nothing."""
    path = write_csv(tmp_path, "2024-01-01,0.02,0.02,0.005,0.01,1", "2024-01-02,0.004,1,0.004,1,1")
    with pytest.raises(DataError) as refused:
        import_csv(path)
    assert "open rounds to no tick of 0.01 (line 3); low rounds to no tick of 0.01 (line 2)" in str(
        refused.value
    )
    assert "define the instrument with a finer --tick" in str(refused.value)


@pytest.mark.parametrize("day", ["31.01.2024", "01/31/2024", "45322"])
def test_import_bars_times_of_another_form_are_told_the_forms(tmp_path: Path, day: str) -> None:
    with pytest.raises(DataError) as refused:
        import_csv(write_csv(tmp_path, f"{day},10,12,9,11,1"))
    assert "write times like 2024-01-31, 2024-01-31T09:30:00 or " in str(refused.value)
    assert "right file" not in str(refused.value)


def test_import_bars_price_of_more_ticks_than_can_be_counted_is_a_fault(tmp_path: Path) -> None:
    path = write_csv(tmp_path, "2024-01-01,1e17,1e17,1e17,1e17,100")

    with pytest.raises(DataError, match=r"open is too many ticks of 0\.01 \(line 2\)"):
        import_csv(path)


def test_import_bars_repair_that_is_not_allowed_still_refuses(tmp_path: Path) -> None:
    path = write_csv(tmp_path, *daily_rows("2024-01-02", "2024-01-01", "2024-01-01"), "x,1,1,1,1,1")
    for missing in Repair:
        with pytest.raises(DataError, match=f"repair {missing.value}"):
            import_csv(path, repairs=ALL_REPAIRS - {missing})

    assert import_csv(path, repairs=ALL_REPAIRS).repaired == {
        Repair.DROP_BAD: 1,
        Repair.SORT: 1,
        Repair.DROP_DUPLICATES: 1,
    }


def test_import_bars_sort_brings_newest_first_into_order(tmp_path: Path) -> None:
    rows = ["2024-01-03,3,3,3,3,3", "2024-01-02,2,2,2,2,2", "2024-01-01,1,1,1,1,1"]

    result = import_csv(write_csv(tmp_path, *rows), repairs=frozenset({Repair.SORT}))

    assert result.columns["close"].tolist() == [1.0, 2.0, 3.0]
    assert result.columns["quality"].tolist() == [0, 0, 0]
    assert result.repaired == {Repair.SORT: 2}


def test_import_bars_drop_duplicates_keeps_the_first_and_marks_real_differences(
    tmp_path: Path,
) -> None:
    rows = ["2024-01-01,1,1,1,1,1", "2024-01-01,1,1,1,1,1", "2024-01-02,2,2,2,2,2",
            "2024-01-02,2,3,2,2,2", "2024-01-03,3,3,3,3,3"]  # fmt: skip

    result = import_csv(write_csv(tmp_path, *rows), repairs=frozenset({Repair.DROP_DUPLICATES}))

    assert result.columns["high"].tolist() == [1.0, 2.0, 3.0]
    assert result.columns["quality"].tolist() == [0, Quality.REPAIRED, 0]
    assert result.repaired == {Repair.DROP_DUPLICATES: 2}


def test_import_bars_drop_bad_marks_the_bar_after_the_hole(tmp_path: Path) -> None:
    header = "time,open,high,low,close,volume"
    rows = [f"2024-01-01T00:0{i},1,1,1,{'x' if i == 2 else 1},1" for i in range(5)]

    result = import_csv(
        write_csv(tmp_path, *rows, header=header), "1m", repairs=frozenset({Repair.DROP_BAD})
    )

    assert result.columns["quality"].tolist() == [0, 0, Quality.GAP_BEFORE, 0]
    assert result.repaired == {Repair.DROP_BAD: 1}
    assert result.records == 5


def test_import_bars_gap_is_a_warning_and_marks_the_bar_after_it(tmp_path: Path) -> None:
    result = import_csv(write_csv(tmp_path, *daily_rows("2024-01-01", "2024-01-02", "2024-01-05")))

    assert result.columns["quality"].tolist() == [0, 0, Quality.GAP_BEFORE]
    assert result.warnings == ("gaps before line 4",)


def test_import_bars_only_bad_rows_are_refused_even_when_they_may_be_dropped(
    tmp_path: Path,
) -> None:
    path = write_csv(tmp_path, "2024-01-01,x,1,1,1,1", "2024-01-02,x,1,1,1,1")

    with pytest.raises(DataError, match="2 bad rows, nothing imported: open is not a number"):
        import_csv(path, repairs=ALL_REPAIRS)


def test_import_bars_adjust_by_scales_all_prices_and_hides_no_split(tmp_path: Path) -> None:
    path = write_csv(
        tmp_path,
        "2024-01-01,200,220,180,210,100,105", "2024-01-02,105,110,100,108,300,108",
        header="Date,Open,High,Low,Close,Volume,Adj Close",
    )  # fmt: skip

    result = import_csv(path, adjust_by="adj close")

    assert result.adjustment == "vendor"
    prices = [result.columns[name][0] for name in ("open", "high", "low", "close", "volume")]
    assert prices == [100.0, 110.0, 90.0, 105.0, 100.0]
    assert [result.columns[name][1] for name in ("open", "close")] == [105.0, 108.0]
    raw = import_csv(path)
    assert raw.adjustment == "none"
    assert raw.columns["close"].tolist() == [210.0, 108.0]
    assert "column 'Adj Close' is not used: prices are not adjusted" in raw.warnings[0]


@pytest.mark.parametrize("adjusted", ["", "0", "-5", "nan", "inf", "1e308"])
def test_import_bars_adjusted_close_of_no_use_is_a_fault(tmp_path: Path, adjusted: str) -> None:
    path = write_csv(
        tmp_path, "2024-01-01,1,2,1,1e-9,1,1", f"2024-01-02,1e-9,2,1e-9,1e-9,1,{adjusted}",
        header="Date,Open,High,Low,Close,Volume,Adj Close",
    )  # fmt: skip

    with pytest.raises(DataError, match=r"Adj Close gives no positive price \(line 3\)"):
        import_csv(path, adjust_by="Adj Close", column_map={"Open": "low", "Low": "open"})


def test_import_bars_float_rounding_of_the_vendor_is_widened_and_told(tmp_path: Path) -> None:
    path = write_csv(tmp_path, "2024-01-01,10,11,9,10,1", "2024-01-02,10,10.999999999999998,9,11,1")

    result = import_csv(path)

    assert result.columns["high"].tolist() == [11.0, 11.0]
    assert result.columns["quality"].tolist() == [0, Quality.REPAIRED]
    assert result.warnings == ("high or low widened for float rounding: line 3",)


def test_import_bars_where_picks_one_symbol_and_keeps_the_lines(tmp_path: Path) -> None:
    header = f"Ticker,{HEADER}"
    rows = ["A,2024-01-01,1,1,1,1,1", "B,2024-01-01,2,2,2,2,2", "B ,2024-01-02,x,2,2,2,2"]
    path = write_csv(tmp_path, *rows, header=header)

    assert import_csv(path, where={"ticker": "A"}).columns["close"].tolist() == [1.0]
    with pytest.raises(DataError, match=r"open is not a number \(line 4\)"):
        import_csv(path, where={"Ticker": "B"})
    with pytest.raises(DataError, match=r"no row has Ticker 'a' .*did you mean 'A'"):
        import_csv(path, where={"Ticker": "a"})
    with pytest.raises(DataError, match="pick one of several symbols"):
        import_csv(path, repairs=frozenset({Repair.DROP_BAD}))


def test_import_bars_where_does_not_lose_misshapen_rows(tmp_path: Path) -> None:
    path = write_csv(tmp_path, "A,2024-01-01,1,1,1,1,1", "A", header=f"Ticker,{HEADER}")

    with pytest.raises(DataError, match=r"number of fields .*\(line 3\)"):
        import_csv(path, where={"Ticker": "A"})


def test_import_bars_without_volume_warns_and_has_zero(tmp_path: Path) -> None:
    path = write_csv(tmp_path, "2024-01-01,1,1,1,1", header="date,open,high,low,close")

    result = import_csv(path)

    assert result.columns["volume"].tolist() == [0.0]
    assert result.warnings == ("there is no volume column: volume is 0 in every bar",)


def test_import_bars_negative_zero_volume_hashes_as_zero(tmp_path: Path) -> None:
    volume = import_csv(write_csv(tmp_path, "2024-01-01,1,1,1,1,-0")).columns["volume"]

    assert np.signbit(volume).tolist() == [False]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timezone": "Mars/Base"}, "time zone 'Mars/Base' is unknown"),
        ({"publication_delay_ns": -1}, "publication_delay_ns -1 is negative"),
        ({"column_map": {"dat": "ts"}}, "there is no column 'dat'"),
        ({"adjust_by": "adj"}, "there is no column 'adj'"),
        ({"where": {"symbol": "A"}}, "there is no column 'symbol'"),
    ],
)
def test_import_bars_wrong_option_is_refused(
    tmp_path: Path, options: dict[str, object], message: str
) -> None:
    path = write_csv(tmp_path, *daily_rows("2024-01-01"))

    with pytest.raises(DataError, match=message):
        import_csv(path, **options)


def test_import_bars_parquet_column_without_numbers_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pl.DataFrame(
        {"ts": [date(2024, 1, 1)], "o": [True], "h": [1.0], "l": [1.0], "c": [1.0], "v": [1]}
    ).write_parquet(path)

    with pytest.raises(DataError, match="column 'o' is Boolean, not numbers"):
        import_csv(path)


def test_import_bars_source_can_be_named(tmp_path: Path) -> None:
    path = write_csv(tmp_path, *daily_rows("2024-01-01"))

    assert import_csv(path, source="vendor X").source == "vendor X"
    assert import_bars(path, BTC, "1d", ts_now=NOW).source == "prices.csv"


@needs_shared
def test_import_bars_spy_daily_has_the_sessions_of_its_exchange() -> None:
    path = SHARED / "equity_us" / "daily_raw" / "spy.csv.gz"
    with (SHARED / "calendars" / "xnys_sessions_1990_2023.csv").open() as file:
        sessions = {row[0][:10]: row for row in csv.reader(file)}
    with gzip.open(path, "rt") as file:
        rows = list(csv.DictReader(file))

    result = import_csv(path, instrument=make_equity("SPY.ARCX", calendar="XNYS"))

    columns = result.columns
    assert (result.warnings, result.repaired) == ((), {})
    assert columns["ts_open"].tolist() == [from_iso(sessions[row["date"]][1]) for row in rows]
    assert columns["ts_close"].tolist() == [from_iso(sessions[row["date"]][2]) for row in rows]
    for name in ("open", "high", "low", "close", "volume"):
        assert columns[name].tolist() == [float(row[name]) for row in rows]


@needs_shared
def test_import_bars_spy_daily_by_fixed_hours_warns_of_september_2001() -> None:
    result = import_csv(SHARED / "equity_us" / "daily_raw" / "spy.csv.gz", instrument=SPY)

    gaps = np.flatnonzero(result.columns["quality"] & Quality.GAP_BEFORE)
    assert result.columns["ts_open"][gaps].tolist() == [from_iso("2001-09-17T13:30")]


@needs_shared
def test_import_bars_coinbase_daily_flags_every_missing_day() -> None:
    result = import_csv(
        SHARED / "crypto" / "coinbase_btcusd_daily.csv.gz",
        column_map={"date_utc": "ts", "volume_btc": "volume"},
    )

    opens = result.columns["ts_open"]
    flagged = (result.columns["quality"] & Quality.GAP_BEFORE) > 0
    day = from_iso("1970-01-02")
    assert len(opens) == 1318
    assert flagged[1:].tolist() == (np.diff(opens) > day).tolist()
    assert int(np.diff(opens).max()) // day == 21


@needs_shared
@pytest.mark.parametrize("label_shift", [0, 1])
def test_import_bars_spy_minutes_with_offsets_have_their_session(label_shift: int) -> None:
    result = import_csv(
        SHARED / "equity_us" / "minute_raw" / "spy_trade_20131004_20131011.csv.gz",
        "1m",
        make_equity("SPY.ARCX", calendar="XNYS") if label_shift else SPY,
        column_map={"bar_start_et": "ts"},
    )

    columns = result.columns
    assert len(columns["ts_open"]) == 4839
    assert columns["ts_open"][0] == from_iso("2013-10-04T04:06-04:00")
    closes = np.unique(columns["session_close"])
    days = ["04", "07", "08", "09", "10", "11"]
    regular = [from_iso(f"2013-10-{day}T16:00-04:00") for day in days]
    midnights = [from_iso(f"2013-10-{int(day) + 1:02}T00:00-04:00") for day in days]
    assert closes.tolist() == sorted([*regular, *midnights])
    inside = np.isin(columns["session_close"], regular)
    assert inside.sum() == 6 * 390


@needs_shared
def test_import_bars_adjusted_wiki_prices_are_the_vendors() -> None:
    path = SHARED / "equity_us" / "wiki_aapl_2014.csv"
    with path.open() as file:
        rows = list(csv.DictReader(file))

    result = import_csv(path, instrument=SPY, adjust_by="adj_close")

    for name in ("open", "high", "low", "close"):
        vendor = [float(row[f"adj_{name}"]) for row in rows]
        assert result.columns[name].tolist() == pytest.approx(vendor, rel=1e-12)


@needs_shared
def test_import_bars_newest_first_file_needs_sort() -> None:
    path = SHARED / "equity_us" / "wiki_orcl_2000.csv"

    with pytest.raises(DataError, match=r"251 bad rows.*repair sort\)"):
        import_csv(path, instrument=SPY)
    result = import_csv(path, instrument=SPY, repairs=frozenset({Repair.SORT}))

    check_columns(result.columns, "result")
    assert result.columns["close"][[0, -1]].tolist() == [118.1, 29.06]


def test_import_options_default_allows_no_change() -> None:
    assert ImportOptions().repairs == frozenset()
