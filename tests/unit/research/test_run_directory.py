"""Run directories are never shared."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from onetape.research.run_directory import make_run_directory

NOW = datetime(2024, 1, 31, 9, 30, 5, tzinfo=UTC)


def test_run_directory_is_named_by_time_name_and_hash_and_never_reused(tmp_path: Path) -> None:
    parent = tmp_path / "deep" / "runs"
    made = [make_run_directory(parent, "sma", "0123456789abcdef", NOW).name for _ in range(3)]
    stem = "20240131T093005Z-sma-01234567"
    assert made == [stem, f"{stem}-2", f"{stem}-3"]
    assert sorted(each.name for each in parent.iterdir()) == sorted(made)


def test_run_directory_under_a_file_raises_with_the_path(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(FileExistsError) as caught:
        make_run_directory(tmp_path / "runs", "sma", "0123456789abcdef", NOW)
    assert caught.value.filename == str(tmp_path / "runs")
