"""Columns that are laid aside: what is read is what was appended, and a full disk is an error."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest

from onetape.domain.errors import TryAgain
from onetape.marketdata import column_file
from onetape.marketdata.column_file import ColumnFile

LENGTHS = {"a": 5_000, "b": 7, "c": 5_000}
TYPES = {"a": np.int64, "b": np.float64, "c": np.bool_}


@pytest.mark.parametrize("on_disk", [False, True])
def test_columns_of_several_lengths_are_read_as_they_were_appended(
    monkeypatch: pytest.MonkeyPatch, on_disk: bool
) -> None:
    monkeypatch.setattr(column_file, "MEMORY_VALUES", 0 if on_disk else 1 << 20)
    file = ColumnFile(TYPES, LENGTHS)
    whole = {name: np.arange(count).astype(TYPES[name]) for name, count in LENGTHS.items()}
    for first in range(0, 4_900, 700):  # fewer than there is room for
        file.append({name: whole[name][first : first + 700] for name in ("a", "c")})
    file.append({"b": whole["b"][:3]})
    file.append({"b": whole["b"][3:]})
    columns = file.read()
    for _ in range(2):
        assert columns["a"].tolist() == whole["a"][:4_900].tolist()
        assert columns["b"].tolist() == whole["b"].tolist()
        assert columns["c"].tolist() == whole["c"][:4_900].tolist()
        file.release()  # and they are read again
    assert {name: each.dtype for name, each in columns.items()} == {
        name: np.dtype(each) for name, each in TYPES.items()
    }


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full")
def test_a_full_disk_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(column_file, "MEMORY_VALUES", 0)
    file = ColumnFile({"a": np.int64}, 100)
    with Path("/dev/full").open("wb", buffering=0) as full:
        monkeypatch.setattr(file, "_file", full)
        with pytest.raises(TryAgain, match=r"No space left on device.*TMPDIR"):
            file.append({"a": np.zeros(100, dtype=np.int64)})


def test_a_folder_that_is_not_there_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(column_file, "MEMORY_VALUES", 0)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "gone"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(TryAgain, match=r"gone: rows can't be laid aside.*No such file"):
        ColumnFile({"a": np.int64}, 100)
