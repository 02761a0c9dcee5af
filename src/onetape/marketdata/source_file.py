"""Reads a data file into columns without interpreting it; every record keeps its place."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator
from itertools import chain, compress, islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

import msgspec
import numpy as np

from onetape.domain.errors import DataError
from onetape.marketdata.bars import BoolArray, IntArray
from onetape.marketdata.hdf5_file import read_hdf5
from onetape.marketdata.source_json import read_json_records

if TYPE_CHECKING:
    from _csv import Reader

    import polars as pl

_CHUNK_RECORDS = 4_000
_DELIMITERS = ",;\t|"


class SourceTable(msgspec.Struct, frozen=True, eq=False):
    """The records of a file.

    `frame` has one column for each name of the header: text from CSV and JSON, else typed.
    `lines` is each record's line (CSV, 1 is the header) or row number (from 1), which
    `place` names; `misshapen` marks records whose number of fields is not the header's.
    """

    path: str
    frame: pl.DataFrame
    lines: IntArray
    misshapen: BoolArray
    place: str


def read_source(path: Path, dataset: str = "") -> SourceTable:
    """The records of a `.csv`, `.csv.gz`, `.json`, `.jsonl`, `.parquet`, `.h5` or `.hdf5` file.

    `dataset` names the table of an HDF5 file; empty: the only one.

    Raises:
        ConfigError: The file needs an extra.
        DataError: There is no such file, it is of another kind, damaged, or has no records.
    """
    name = path.name.lower()
    if not path.is_file():
        raise DataError("there is no such file", where=str(path))
    if name.endswith((".csv", ".csv.gz")):
        table = _read_csv(path)
    elif name.endswith((".json", ".jsonl")):
        table = _read_json(path)
    elif name.endswith(".parquet"):
        table = _read_parquet(path)
    elif name.endswith((".h5", ".hdf5")):
        table = _number_rows(path, read_hdf5(path, dataset))
    else:
        raise DataError(
            f"files with {path.suffix or 'no'} extension can't be imported", where=str(path),
            remedy="give a .csv, .csv.gz, .json, .jsonl, .parquet or .h5 file",
        )  # fmt: skip
    if len(table.lines) == 0:
        raise DataError("the file has no records", where=str(path))
    return table


def _read_parquet(path: Path) -> SourceTable:
    import polars as pl

    try:
        frame = pl.read_parquet(path, glob=False, hive_partitioning=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"is not readable Parquet: {error}", where=str(path)) from None
    return _number_rows(path, frame)


def _number_rows(path: Path, frame: pl.DataFrame) -> SourceTable:
    lines = np.arange(1, len(frame) + 1)
    return SourceTable(str(path), frame, lines, np.zeros(len(frame), dtype=np.bool_), "row")


def _read_json(path: Path) -> SourceTable:
    import polars as pl

    names, records, places, place = read_json_records(path)
    misshapen = np.array([each is None for each in records], dtype=np.bool_)
    filled = [[""] * len(names) if each is None else each for each in records]
    columns = zip(*filled, strict=True)
    frame = pl.DataFrame(
        {name: list(column) for name, column in zip(names, columns, strict=True)},
        dict.fromkeys(names, pl.String),
    )
    return SourceTable(str(path), frame, np.array(places, dtype=np.int64), misshapen, place)


def _read_csv(path: Path) -> SourceTable:
    try:
        with _open_text(path) as file:
            return _read_records(path, file)
    except UnicodeDecodeError:
        raise DataError("is not UTF-8 text", where=str(path)) from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"can't be read: {error}", where=str(path)) from None


def _open_text(path: Path) -> IO[str]:
    if path.suffix.lower() == ".gz":
        return cast(IO[str], gzip.open(path, "rt", encoding="utf-8-sig", newline=""))
    return path.open(encoding="utf-8-sig", newline="")


def _read_records(path: Path, file: IO[str]) -> SourceTable:
    import polars as pl

    first = file.readline()
    if not first.strip():
        raise DataError("the first line is empty, not a header", where=str(path))
    delimiter = max(_DELIMITERS, key=first.count)
    reader = csv.reader(chain([first], file), delimiter=delimiter, strict=True)
    frames: list[pl.DataFrame] = []
    lines: list[IntArray] = []
    misshapen: list[BoolArray] = []
    try:
        names = _read_header(path, next(reader))
        schema = dict.fromkeys(names, pl.String)
        for records, at in _chunks(reader, path):
            wrong = np.fromiter(map(len, records), np.int64, len(records)) != len(names)
            for row in np.flatnonzero(wrong):
                records[row] = [""] * len(names)
            columns = map(list, zip(*records, strict=True))
            frames.append(pl.DataFrame(dict(zip(names, columns, strict=True)), schema))
            lines.append(at)
            misshapen.append(wrong)
    except csv.Error as error:
        raise DataError(f"is not CSV: {error}", where=f"{path} line {reader.line_num}") from None
    if not frames:
        return SourceTable(str(path), pl.DataFrame(), np.zeros(0, np.int64), np.zeros(0, bool), "")
    return SourceTable(
        str(path), pl.concat(frames), np.concatenate(lines), np.concatenate(misshapen), "line"
    )


def _read_header(path: Path, cells: list[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    if sum(map(_is_number, names)) > 1:
        raise DataError(
            f"the first line is data, not a header: {', '.join(names)}", where=str(path),
            remedy="put a line of column names before it",
        )  # fmt: skip
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"column {name!r} appears twice in the header", where=str(path))
    return names


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _chunks(reader: Reader, path: Path) -> Iterator[tuple[list[list[str]], IntArray]]:
    """Records that are not blank, with their line numbers, some thousands at a time."""
    while True:
        before = reader.line_num
        records = list(islice(reader, _CHUNK_RECORDS))
        if not records:
            return
        lines = np.arange(before + 1, before + len(records) + 1)
        if reader.line_num != lines[-1]:
            raise DataError(
                "a quoted field goes over several lines", where=f"{path} from line {before + 1} on",
                remedy="write each row on one line",
            )  # fmt: skip
        filled = [len(record) > 1 or bool("".join(record).strip()) for record in records]
        if any(filled):
            yield list(compress(records, filled)), lines[filled]
