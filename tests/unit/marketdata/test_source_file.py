from __future__ import annotations

import gzip
from pathlib import Path

import polars as pl
import pytest

from onetape.domain.errors import DataError
from onetape.marketdata.source_file import read_source
from tests.unit.marketdata.csv_files import write_csv


def test_read_source_csv_keeps_text_and_line_numbers(tmp_path: Path) -> None:
    path = write_csv(tmp_path, "1,x", "", '" 2","y,z"', header="a,b")

    table = read_source(path)

    assert table.frame.rows() == [("1", "x"), (" 2", "y,z")]
    assert (table.lines.tolist(), table.place) == ([2, 4], "line")


def test_read_source_csv_with_other_record_lengths_marks_them(tmp_path: Path) -> None:
    table = read_source(write_csv(tmp_path, "1,2", "1", "1,2,3", "3,4", header="a,b"))

    assert table.misshapen.tolist() == [False, True, True, False]
    assert table.lines.tolist() == [2, 3, 4, 5]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_read_source_csv_delimiter_is_taken_from_the_header(tmp_path: Path, delimiter: str) -> None:
    path = write_csv(tmp_path, delimiter.join("12"), header=delimiter.join("ab"))

    assert read_source(path).frame.to_dict(as_series=False) == {"a": ["1"], "b": ["2"]}


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (b"\xef\xbb\xbfa,b\n1,2\n", [("1", "2")]),
        (b"a,b\r\n1,2\r\n", [("1", "2")]),
        (b"a,b\r1,2\r", [("1", "2")]),
        (b"a,b\n1,2", [("1", "2")]),
        (b"a , b\n1,2\n   \n\n", [("1", "2")]),
    ],
)
def test_read_source_csv_of_any_line_ending_and_mark_is_the_same(
    tmp_path: Path, content: bytes, rows: list[tuple[str, str]]
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)

    table = read_source(path)

    assert (table.frame.columns, table.frame.rows()) == (["a", "b"], rows)


def test_read_source_csv_longer_than_a_chunk_is_read_whole(tmp_path: Path) -> None:
    path = write_csv(tmp_path, *(f"{i},{i}" for i in range(10_000)), header="a,b")

    table = read_source(path)

    assert table.frame["a"].to_list() == [str(i) for i in range(10_000)]
    assert table.lines.tolist() == list(range(2, 10_002))


def test_read_source_gzip_is_the_same_as_plain(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n1,2\n", mtime=0))

    assert read_source(path).frame.rows() == [("1", "2")]


def test_read_source_parquet_keeps_types_and_row_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pl.DataFrame({"a": [1, 2], "b": [1.5, 2.5]}).write_parquet(path)

    table = read_source(path)

    assert table.frame.schema == {"a": pl.Int64, "b": pl.Float64}
    assert (table.lines.tolist(), table.place) == ([1, 2], "row")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "the first line is empty"),
        ("a.csv", b"\n1,2\n", "the first line is empty"),
        ("a.csv", b"a,b\n", "the file has no records"),
        ("a.csv", b"a,b\n\n\n", "the file has no records"),
        ("a.csv", b"a,a\n1,2\n", "column 'a' appears twice"),
        ("a.csv", b"a,b\n1,\xff\xfe\n", "is not UTF-8 text"),
        ("a.csv", b'a,b\n"1,2\n3,4\n', "is not CSV: unexpected end of data"),
        ("a.csv", b'a,b\n"1\n2",3\n', "a quoted field goes over several lines"),
        ("a.csv", b"a,b\n" + b"1" * 200_000 + b",2\n", "is not CSV: field larger than"),
        ("a.csv.gz", b"a,b\n1,2\n", "can't be read: Not a gzipped file"),
        ("a.csv.gz", gzip.compress(b"a,b\n1,2\n" * 99, mtime=0)[:-12], "can't be read: "),
        ("a.csv.gz", gzip.compress(b"", mtime=0)[:10] + b"\xff" * 9, "can't be read: "),
        ("a.parquet", b"PAR1 not really", "is not readable Parquet"),
        ("a.parquet", b"", "is not readable Parquet"),
        ("a.xlsx", b"PK", "files with .xlsx extension can't be imported"),
        ("a", b"a,b\n1,2\n", "files with no extension can't be imported"),
    ],
)
def test_read_source_of_no_use_is_refused_with_the_reason(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)

    with pytest.raises(DataError, match=message) as caught:
        read_source(path)

    assert str(path) in caught.value.where
    assert "\n" not in str(caught.value)


def test_read_source_of_random_bytes_is_refused(tmp_path: Path) -> None:
    for name in ("a.csv", "a.csv.gz", "a.parquet"):
        path = tmp_path / name
        path.write_bytes(bytes(range(256)) * 64)

        with pytest.raises(DataError):
            read_source(path)


@pytest.mark.parametrize("name", ["missing.csv", ""])
def test_read_source_of_a_missing_file_or_a_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="there is no such file"):
        read_source(tmp_path / name)


def test_read_source_csv_without_a_header_is_refused_and_loses_no_row(tmp_path: Path) -> None:
    path = write_csv(tmp_path, "1704240000,11,12,10,11,5", header="1704153600,10,11,9,10.5,3.1")

    with pytest.raises(DataError, match="first line is data, not a header: 1704153600, 10, 11, 9"):
        read_source(path)
