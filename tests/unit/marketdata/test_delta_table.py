from __future__ import annotations

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest

from onetape.domain.errors import DataError, TryAgain
from onetape.marketdata.delta_table import (
    commit,
    list_files,
    open_table,
    read_files,
    read_metadata,
)

FRAME = pl.DataFrame({"name": ["a", "a", "b"], "x": [1, 2, 3]})


@contextmanager
def full_disk() -> Iterator[None]:
    """No file may grow beyond 100 bytes, as if the disk were full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def read_x(path: Path, version: int | None = None) -> list[int]:
    table = open_table(path, version)
    assert table is not None
    files = list_files(table, path)["file"].to_list()
    return sorted(read_files(files, ["x"], path)["x"])


def test_open_table_where_there_is_none_is_none(tmp_path: Path) -> None:
    assert open_table(tmp_path / "no") is None


def test_commit_then_read_gives_each_version(tmp_path: Path) -> None:
    path = tmp_path / "spaced ü"
    commit(path, None, FRAME, partition_by=["name"], metadata={"why": "first"})
    commit(path, open_table(path), FRAME.with_columns(x=pl.col("x") + 10), metadata={"why": "2nd"})
    commit(path, open_table(path), FRAME[:1], replace_where="name = 'a' AND x <= 2")

    assert read_x(path, 0) == [1, 2, 3]
    assert read_x(path, 1) == [1, 2, 3, 11, 12, 13]
    assert read_x(path) == [1, 3, 11, 12, 13]
    table = open_table(path)
    assert table is not None
    assert read_metadata(table) == {0: {"why": "first"}, 1: {"why": "2nd"}, 2: {}}


def test_commit_never_lets_a_version_expire(tmp_path: Path) -> None:
    commit(tmp_path / "t", None, FRAME)

    table = open_table(tmp_path / "t")

    assert table is not None
    configuration = table.metadata().configuration
    assert configuration["delta.enableExpiredLogCleanup"] == "false"
    assert configuration["delta.deletedFileRetentionDuration"] == "interval 36500 days"


@pytest.mark.parametrize("name", ["BRK/B.X", "A B.X", "A=B%20.X", "O'N.X", "ü:*[1].X", "..X"])
def test_list_files_of_any_partition_name_can_be_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / "t"
    commit(path, None, pl.DataFrame({"name": [name], "x": [7]}), partition_by=["name"])

    table = open_table(path)

    assert table is not None
    assert list_files(table, path)["partition.name"].to_list() == [name]
    assert read_x(path) == [7]


def test_commit_after_somebody_else_wrote_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "t"
    commit(path, None, FRAME)
    stale = open_table(path)
    commit(path, open_table(path), FRAME)

    for where in (None, "x > 0"):
        with pytest.raises(TryAgain, match=r"at the same time .*run it again"):
            commit(path, stale, FRAME, replace_where=where)
    with pytest.raises(TryAgain, match=r"somebody else made the table .*run it again"):
        commit(path, None, FRAME)

    assert read_x(path) == [1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("where", [None, "name = 'a'"])
def test_commit_on_a_full_disk_leaves_the_old_version(tmp_path: Path, where: str | None) -> None:
    path = tmp_path / "t"
    commit(path, None, FRAME, partition_by=["name"])
    table = open_table(path)

    with full_disk(), pytest.raises(TryAgain, match="the disk is full, nothing was changed"):
        commit(path, table, FRAME.filter(pl.col("name") == "a"), replace_where=where)

    assert read_x(path) == [1, 2, 3]
    commit(path, open_table(path), FRAME)
    assert read_x(path) == [1, 1, 2, 2, 3, 3]


def test_commit_where_no_folder_can_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(DataError, match="can't be written, nothing was changed"):
        commit(tmp_path / "file" / "t", None, FRAME)


def test_open_table_version_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    commit(tmp_path / "t", None, FRAME)

    with pytest.raises(DataError, match="there is no version 7: the newest is"):
        open_table(tmp_path / "t", 7)


def test_open_table_with_a_damaged_log_is_refused(tmp_path: Path) -> None:
    commit(tmp_path / "t", None, FRAME)
    log = tmp_path / "t" / "_delta_log" / f"{0:020}.json"
    log.write_text(json.dumps({"nonsense": 1}))

    with pytest.raises(DataError, match="the table can't be opened"):
        open_table(tmp_path / "t")


def test_read_files_that_are_gone_or_damaged_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t"
    commit(path, None, FRAME)
    [file] = path.glob("*.parquet")
    file.write_bytes(b"PAR1")

    for _ in range(2):
        with pytest.raises(DataError, match="a data file can't be read"):
            read_x(path)
        file.unlink(missing_ok=True)
