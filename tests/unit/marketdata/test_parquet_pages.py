"""Parquet files whose page headers would end the process are refused before polars reads them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from deltalake import write_deltalake
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onetape.domain.errors import DataError
from onetape.marketdata.delta_table import list_files, open_table, read_files
from onetape.marketdata.parquet_pages import DamagedPage, check_pages

ROWS = 30_000


def make_frame(rows: int = ROWS) -> pl.DataFrame:
    """Columns as bars have them, one with a dictionary, one with nulls."""
    random = np.random.default_rng(3)
    return pl.DataFrame(
        {
            "ts": np.arange(rows, dtype=np.int64) * 60_000_000_000,
            "close": np.round(random.uniform(90, 110, rows), 2),
            "volume": random.uniform(0, 1e6, rows),
            "flag": random.integers(0, 3, rows),
            "name": random.choice(["a", "b"], rows),
            "gap": pl.Series([None if each % 7 == 0 else each for each in range(rows)]),
        }
    )


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The one data file of a Delta table, as the catalog has them."""
    folder = tmp_path_factory.mktemp("table")
    write_deltalake(folder, make_frame())
    (path,) = folder.glob("*.parquet")
    return path.read_bytes()


# Sound files, by both writers that we have.


def test_data_file_of_a_table_passes(stored: bytes, tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    path.write_bytes(stored)
    check_pages(path)


@pytest.mark.parametrize("compression", ["zstd", "snappy", "gzip", "lz4", "brotli", "uncompressed"])
@pytest.mark.parametrize(
    "options", [{}, {"row_group_size": 7_000}, {"data_page_size": 4_000}, {"statistics": False}],
    ids=str,
)  # fmt: skip
def test_files_of_polars_pass(tmp_path: Path, compression: Any, options: dict[str, Any]) -> None:
    path = tmp_path / "data.parquet"
    make_frame().write_parquet(path, compression=compression, **options)
    check_pages(path)


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_small_files_pass(tmp_path: Path, rows: int) -> None:
    path = tmp_path / "data.parquet"
    make_frame(rows).write_parquet(path)
    check_pages(path)


# Damaged ones.


def headers(data: bytes) -> Iterator[re.Match[bytes]]:
    """Headers of data pages: uncompressed and compressed size, number of values."""
    varint = rb"[\x80-\xff]{0,4}[\x00-\x7f]"
    return re.finditer(rb"\x15\x00\x15(%b)\x15(%b)\x2c\x15(%b)" % ((varint,) * 3), data)


def flip(data: bytes, at: int, bit: int) -> bytes:
    return data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :]


def refused(path: Path, data: bytes) -> bool:
    path.write_bytes(data)
    try:
        check_pages(path)
    except DamagedPage:
        return True
    return False


def test_negative_and_huge_numbers_of_a_page_are_noticed(stored: bytes, tmp_path: Path) -> None:
    """The lowest bit is the sign; a negative number of values ends the process inside polars.

    A size that is smaller and fits still is not noticed here; decompression notices it.
    """
    path = tmp_path / "data.parquet"
    found = list(headers(stored))
    assert len(found) >= 6
    for header in found:
        for group in (1, 2, 3):
            assert refused(path, flip(stored, header.start(group), 1))
            last = header.end(group) - 1
            assert refused(path, flip(stored, last, 0x80))


def test_negative_size_says_what_is_wrong(stored: bytes, tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    header = next(headers(stored))
    path.write_bytes(flip(stored, header.start(1), 1))
    with pytest.raises(DamagedPage, match=f"page at {header.start()} states sizes that can't be"):
        check_pages(path)


@pytest.mark.parametrize("keep", [0, 1, 11, 12, 100, -1, -4, -9, -500])
def test_file_cut_anywhere_is_refused(stored: bytes, tmp_path: Path, keep: int) -> None:
    assert refused(tmp_path / "data.parquet", stored[:keep])


@pytest.mark.parametrize("content", [b"PAR1" * 9, b"\0" * 64, b"\xff" * 64, bytes(range(256))])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    assert refused(tmp_path / "data.parquet", content)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_damage_ends_in_a_verdict(stored: bytes, tmp_path: Path, data: st.DataObject) -> None:
    """No other exception, no endless loop, no memory; wherever it is, footer included."""
    place = st.integers(0, len(stored) - 1) | st.integers(len(stored) - 4_000, len(stored) - 1)
    changed = bytearray(stored)
    for at, value in data.draw(
        st.lists(st.tuples(place, st.integers(0, 255)), min_size=1, max_size=4)
    ):
        changed[at] = value
    refused(tmp_path / "data.parquet", bytes(changed))


SURVIVE = """
import random, re, sys
from pathlib import Path
from onetape.domain.errors import DataError
from onetape.marketdata.delta_table import read_files
path, good = Path(sys.argv[1]), Path(sys.argv[1]).read_bytes()
chance, read, refused = random.Random(int(sys.argv[2])), 0, 0
starts = [each.start() for each in re.finditer(rb"\\x15[\\x00\\x04]\\x15", good)]
flips = [(int(each), 1) for each in sys.argv[3].split()]
flips += [(chance.choice(starts) + chance.randrange(24), 1 << chance.randrange(8))
          for _ in range(100)]
for at, bit in flips:
    path.write_bytes(good[:at] + bytes([good[at] ^ bit]) + good[at + 1:])
    try:
        read_files([str(path)], ["ts", "close", "volume", "flag", "name", "gap"], path)
        read += 1
    except DataError:
        refused += 1
print(read, refused)
"""


@pytest.mark.parametrize("seed", range(2))
def test_process_survives_every_damaged_page_header(
    stored: bytes, tmp_path: Path, seed: int
) -> None:
    path = tmp_path / "data.parquet"
    path.write_bytes(stored)
    signs = [each.start(group) for each in headers(stored) for group in (1, 2, 3)]
    done = subprocess.run(
        [sys.executable, "-c", SURVIVE, str(path), str(seed), " ".join(map(str, signs))],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    _, refusals = map(int, done.stdout.split())
    assert refusals >= len(signs)


def test_table_with_a_damaged_page_is_one_clear_error(tmp_path: Path) -> None:
    write_deltalake(tmp_path, make_frame())
    table = open_table(tmp_path)
    assert table is not None
    files = list_files(table, tmp_path)["file"].to_list()
    assert read_files(files, ["ts", "close"], tmp_path).height == ROWS
    data = Path(files[0]).read_bytes()
    Path(files[0]).write_bytes(flip(data, next(headers(data)).start(3), 1))
    with pytest.raises(
        DataError, match=r"a data file can't be read: .*sizes that can't be"
    ) as told:
        read_files(files, ["ts", "close"], tmp_path)
    assert "\n" not in str(told.value)
