"""Whatever a file holds, an import is a `DataError` or exactly the rows of the file."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onetape.domain.errors import DataError
from onetape.domain.instrument import make_spot
from onetape.domain.timestamps import NS_PER_DAY, from_iso
from onetape.marketdata.bars import BAR_COLUMNS, check_columns
from onetape.marketdata.importer import ImportOptions, ImportResult, import_bars
from onetape.marketdata.quality import Repair
from tests.support.fuzzing import fuzzed

BTC = make_spot("BTC-USD.X", base="BTC", quote="USD", tick_size="0.01", lot_size="0.0001")
NOW = from_iso("2024-01-20")
HEADER = ["date", "open", "high", "low", "close", "volume"]
NUMBER = re.compile(r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$")

days = st.integers(1, 19).map(lambda day: f"2024-01-{day:02}")
prices = st.decimals("0.01", "99", places=2).map(str)
odd_numbers = st.sampled_from(
    ["", " ", "0", "-0", "-1", "+2", " 3 ", ".5", "5.", "1e2", "1e400", "1e-400", "nan", "inf",
     "Infinity", "1_0", "1,5", "0x10", "1.2.3", "--1", "1e", "٣", "None", "true", "1\x00"]
)  # fmt: skip
odd_days = st.sampled_from(
    ["", "x", "2024-1-1", "2024-02-30", "2024-01-05T", "1704", "05/01/2024",
     "2024-01-05Z", "2024-01-20", "2024-01-21", " 2024-01-05 ", "2024-13-01", "1492-01-01",
     "2024-01-٠5"]
)  # fmt: skip


@st.composite
def rows(draw: st.DrawFn, *, odd_percent: int) -> list[str]:
    """One record; `odd_percent` is how often something in it is strange."""
    strange = draw(st.integers(0, 99)) >= 100 - odd_percent
    low, middle, other, high = sorted((draw(prices) for _ in range(4)), key=float)
    cells = [draw(days), middle, high, low, other, draw(prices)]
    if not strange:
        return cells
    at = draw(st.integers(0, 6))
    if at == 6:
        return draw(st.sampled_from([cells[:-1], [*cells, "1"], [], ["  "], cells[::-1]]))
    cells[at] = draw(odd_days if at == 0 else odd_numbers | prices)
    return cells


files = st.lists(rows(odd_percent=40), min_size=1, max_size=8)
files_in_order = st.one_of(
    st.lists(rows(odd_percent=5), min_size=1, max_size=8, unique_by=lambda row: tuple(row[:1])),
    st.lists(rows(odd_percent=5), min_size=1, max_size=4),
).map(lambda records: sorted(records, key=lambda row: row[:1]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


def write(folder: Path, records: list[list[str]]) -> Path:
    text = io.StringIO()
    csv.writer(text).writerows([HEADER, *records])
    path = folder / "f.csv"
    path.write_text(text.getvalue(), newline="")
    return path


def attempt(path: Path, *repairs: Repair) -> ImportResult | None:
    """The result, or None where the file was refused."""
    options = ImportOptions(repairs=frozenset(repairs))
    try:
        result = import_bars(path, BTC, "1d", options, ts_now=NOW)
    except DataError:
        return None
    check_columns(result.columns, "result")
    return result


def naive_bars(records: list[list[str]]) -> Iterator[tuple[int, list[float]] | None]:
    """(open time, values) of each record that is not blank; None where it can't be a bar."""
    for record in records:
        if len(record) < 2 and not "".join(record).strip():
            continue
        yield naive_bar([cell.strip() for cell in record])


def naive_bar(cells: list[str]) -> tuple[int, list[float]] | None:
    if len(cells) != len(HEADER) or not re.match(r"^2024-01-(0[1-9]|[12][0-9])$", cells[0]):
        return None
    if not all(NUMBER.match(cell) for cell in cells[1:]):
        return None
    first, high, low, last, volume = values = [float(cell) for cell in cells[1:]]
    fair = 0 < low <= min(first, last) and max(first, last) <= high < math.inf
    ts_open = from_iso(cells[0])
    if not fair or not 0 <= volume < math.inf or ts_open + NS_PER_DAY > NOW:
        return None
    return ts_open, values


def bars_of(result: ImportResult) -> list[tuple[int, list[float]]]:
    columns = [result.columns[name].tolist() for name in HEADER[1:]]
    opens = result.columns["ts_open"].tolist()
    return [(ts, list(values)) for ts, *values in zip(opens, *columns, strict=True)]


@fuzzed(80)
@given(files_in_order)
def test_import_without_repairs_is_the_whole_file_or_refused(
    folder: Path, records: list[list[str]]
) -> None:
    naive = list(naive_bars(records))

    result = attempt(write(folder, records))

    times = [bar[0] for bar in naive if bar]
    fine = bool(naive) and all(naive) and all(np.diff(times) > 0)
    assert (result is not None) == fine
    if result is not None:
        assert bars_of(result) == naive


@fuzzed(80)
@given(files)
def test_import_with_every_repair_is_the_good_rows_in_order(
    folder: Path, records: list[list[str]]
) -> None:
    first: dict[int, list[float]] = {}
    naive = list(naive_bars(records))
    for bar in naive:
        if bar:
            first.setdefault(*bar)

    result = attempt(write(folder, records), *Repair)

    if result is None:
        assert not first
        return
    assert bars_of(result) == sorted(first.items())
    lost = sum(result.repaired.get(each, 0) for each in (Repair.DROP_BAD, Repair.DROP_DUPLICATES))
    assert (result.records, lost) == (len(naive), len(naive) - len(first))


@fuzzed(60)
@given(
    st.sampled_from([b"", b"date,open,high,low,close,volume\n", b"date,o,h,l,c\n2024-01-01,"]),
    st.binary(max_size=120) | st.text(max_size=80).map(lambda text: text.encode()),
    st.sampled_from(["f.csv", "f.csv.gz", "f.parquet", "f.json", "f.jsonl", "f.h5"]),
)
def test_import_of_anything_is_refused_or_bars(
    folder: Path, start: bytes, rest: bytes, name: str
) -> None:
    path = folder / name
    path.write_bytes(start + rest)

    result = attempt(path, *Repair)

    assert result is None or len(result.columns[BAR_COLUMNS[0]]) > 0
