"""HDF5 files: by h5py, and as pandas (with PyTables) writes them."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import polars as pl
import pytest
from typer.testing import CliRunner

from onetape.control.cli import app
from onetape.domain.errors import ConfigError, DataError
from onetape.marketdata.hdf5_file import read_hdf5

COLUMNS = {
    "open": [10.0, 11.0], "high": [12.0, 13.0], "low": [9.0, 10.0], "close": [11.0, 12.0],
    "volume": [100, 200],
}  # fmt: skip
DAYS = pd.to_datetime(["2024-01-02", "2024-01-03"])


def make_frame(zone: str | None = None) -> pd.DataFrame:
    index = DAYS.tz_localize(zone) if zone else DAYS
    return pd.DataFrame({**COLUMNS, "symbol": ["A", "B"]}, index=pd.Index(index, name="date"))


def save(path: Path, frame: pd.DataFrame, key: str, **options) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # text columns are pickled
        frame.to_hdf(path, key=key, **options)


def test_group_of_datasets_is_a_table(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        for name, values in COLUMNS.items():
            file[f"prices/AAPL/{name}"] = values
        file["prices/AAPL/date"] = np.array(["2024-01-02", "2024-01-03"], dtype="S10")
    frame = read_hdf5(path, "")
    assert frame["date"].to_list() == ["2024-01-02", "2024-01-03"]
    assert frame.select([*COLUMNS]).to_dict(as_series=False) == COLUMNS


def test_dataset_of_records_is_a_table(tmp_path: Path) -> None:
    path = tmp_path / "a.hdf5"
    records = np.array([(1_704_153_600, 10.0), (1_704_240_000, 11.0)],
                       dtype=[("time", "i8"), ("open", "f4")])  # fmt: skip
    with h5py.File(path, "w") as file:
        file["AAPL"] = records
        file["MSFT"] = records[:1]
    assert read_hdf5(path, "/AAPL").to_dict(as_series=False) == {
        "time": [1_704_153_600, 1_704_240_000],
        "open": [10.0, 11.0],
    }
    with pytest.raises(DataError, match=r"has 2 tables; there are: AAPL, MSFT .*--dataset"):
        read_hdf5(path, "")
    with pytest.raises(DataError, match=r"has no table 'APPL'"):
        read_hdf5(path, "APPL")


LAYOUTS = [{"format": "fixed"}, {"format": "table", "data_columns": True}]


@pytest.mark.parametrize("options", LAYOUTS, ids=["fixed", "table"])
@pytest.mark.parametrize("zone", [None, "America/New_York"])
def test_pandas_tables_are_read(tmp_path: Path, options: dict, zone: str | None) -> None:
    path = tmp_path / "a.h5"
    save(path, make_frame(zone), "prices/AAPL", **options)
    frame = read_hdf5(path, "prices/AAPL")
    assert frame.select([*COLUMNS]).to_dict(as_series=False) == COLUMNS
    kind = frame["date"].dtype
    assert isinstance(kind, pl.Datetime)
    assert kind.time_zone == ("UTC" if zone else None)
    wanted = make_frame(zone).index.tz_convert("UTC").tz_localize(None) if zone else DAYS
    assert frame["date"].dt.replace_time_zone(None).to_list() == wanted.to_pydatetime().tolist()


def test_pickled_names_of_columns_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    save(path, make_frame(), "AAPL", format="table")
    with pytest.raises(DataError, match="data_columns=True"):
        read_hdf5(path, "")


def test_columns_of_other_lengths_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["a"], file["b"] = [1, 2], [1]
    with pytest.raises(DataError, match="different lengths"):
        read_hdf5(path, "")


@pytest.mark.parametrize("content", [b"", b"no HDF5 at all", b"\x89HDF\r\n\x1a\n" + bytes(100)])
def test_damaged_file_is_one_clear_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.h5"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.h5: is not readable HDF5"):
        read_hdf5(path, "")


def test_file_cut_anywhere_is_an_error_or_the_same_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    save(path, make_frame(), "AAPL", format="fixed")
    whole, content = read_hdf5(path, ""), path.read_bytes()
    for size in range(0, len(content), 997):
        path.write_bytes(content[:size])
        try:
            assert read_hdf5(path, "").equals(whole)
        except DataError:
            continue


def test_without_the_extra_the_command_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ConfigError, match=r"pip install 'onetape\[hdf5\]'"):
        read_hdf5(tmp_path / "a.h5", "")


def test_import_takes_a_table_of_an_hdf5_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save(Path("a.h5"), make_frame("America/New_York"), "AAPL", format="fixed")
    save(Path("a.h5"), make_frame(), "MSFT", format="fixed")
    arguments = ["data", "import", "a.h5", "--instrument", "AAPL.XNAS", "--timeframe", "1d",
                 "--calendar", "hours:America/New_York:09:30-16:00"]  # fmt: skip
    refused = CliRunner().invoke(app, arguments)
    assert (refused.exit_code, "there are: AAPL, MSFT" in refused.stderr) == (2, True)
    done = CliRunner().invoke(app, [*arguments, "--dataset", "AAPL"])
    assert done.stdout.startswith("AAPL.XNAS 1d: 2 bars written"), done.stderr
