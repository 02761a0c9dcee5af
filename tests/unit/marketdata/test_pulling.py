"""Pulling: only what is missing, whole windows, closed bars, one source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace as changed
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from deltalake import DeltaTable

from onetape.domain.errors import DataError
from onetape.domain.instrument import InstrumentId
from onetape.domain.market import Quality
from onetape.domain.timestamps import NS_PER_SECOND, from_iso
from onetape.marketdata import catalog as catalog_module
from onetape.marketdata import coverage as coverage_module
from onetape.marketdata.bars import compute_content_hash
from onetape.marketdata.catalog import Catalog
from onetape.marketdata.pulling import PullOptions, PullResult, pull_bars
from onetape.marketdata.quality import Repair
from tests.support.instruments import make_instrument
from tests.support.pulls import DAY, MemorySource, days

HOUR = 3_600 * NS_PER_SECOND
NOW = from_iso("2024-03-01T12:30:00Z")
AROUND = make_instrument("A.X", calendar="24/7")


def pull(
    path: Path,
    source: MemorySource,
    begin: str = "2024-01-01",
    end: str = "2024-02-01",
    *,
    now: int = NOW,
    **options,
) -> PullResult:
    options.setdefault("window_bars", 400)
    return pull_bars(
        source, Catalog(path), AROUND, "1h", days(begin, end), PullOptions(**options),
        clock_ns=lambda: now,
    )  # fmt: skip


def times(path: Path) -> np.ndarray:
    return Catalog(path).read_bars("A.X", "1h")["ts_open"]


def digest(path: Path) -> str:
    return compute_content_hash(Catalog(path).read_bars("A.X", "1h"))


def grid(begin: str, end: str) -> np.ndarray:
    return np.arange(*days(begin, end), HOUR)


def test_pull_again_asks_for_nothing(tmp_path: Path) -> None:
    source = MemorySource()
    first = pull(tmp_path, source)
    assert first.rows_written == first.rows == 31 * 24
    asked = len(source.asked)
    again = pull(tmp_path, source)
    assert (again.rows_written, again.rows, len(source.asked)) == (0, 31 * 24, asked)
    assert again.version == first.version


def test_pull_of_more_asks_only_for_what_is_missing(tmp_path: Path) -> None:
    source = MemorySource()
    pull(tmp_path, source, "2024-01-10", "2024-01-20")
    source.asked.clear()
    pull(tmp_path, source, "2024-01-01", "2024-02-01")
    # One stored bar at each edge is asked for again, to see whether it was changed.
    inner = days("2024-01-10T01:00:00Z", "2024-01-19T22:00:00Z")
    assert all(end <= inner[0] + HOUR or begin >= inner[1] for begin, end in source.asked)
    assert np.array_equal(times(tmp_path), grid("2024-01-01", "2024-02-01"))


def test_pull_in_pieces_ends_with_the_rows_of_one_pull(tmp_path: Path) -> None:
    holes = frozenset(grid("2024-01-12", "2024-01-14").tolist())
    source = MemorySource(holes=holes)
    pull(tmp_path / "whole", source)
    for end in ("2024-01-03", "2024-01-12", "2024-01-13T12:00:00Z", "2024-01-25", "2024-02-01"):
        pull(tmp_path / "pieces", source, "2024-01-01", end)
    assert digest(tmp_path / "pieces") == digest(tmp_path / "whole")
    flags = Catalog(tmp_path / "whole").read_bars("A.X", "1h")
    gap = flags["ts_open"][flags["quality"] == Quality.GAP_BEFORE]
    assert gap.tolist() == [from_iso("2024-01-14")]


def test_a_gap_before_a_few_new_bars_is_seen_by_the_stored_ones(tmp_path: Path) -> None:
    source = MemorySource(holes=frozenset(grid("2024-01-10", "2024-01-10T08:00:00Z").tolist()))
    pull(tmp_path, source, "2024-01-01", "2024-01-10")
    result = pull(tmp_path, source, "2024-01-01", "2024-01-10T10:00:00Z")
    columns = Catalog(tmp_path).read_bars("A.X", "1h")
    assert columns["quality"][-2:].tolist() == [Quality.GAP_BEFORE, 0]
    assert result.warnings == ("1 gaps, the first before 2024-01-10T08:00:00Z",)


def test_pull_leaves_out_bars_that_are_not_over(tmp_path: Path) -> None:
    source = MemorySource()
    pull(tmp_path, source, "2024-03-01", "2024-04-01")
    assert times(tmp_path)[-1] == from_iso("2024-03-01T11:00:00Z")
    pull(tmp_path, source, "2024-03-01", "2024-04-01", now=NOW + HOUR)
    assert np.array_equal(times(tmp_path), grid("2024-03-01", "2024-03-01T13:00:00Z"))


def test_pull_waits_until_a_bar_has_settled(tmp_path: Path) -> None:
    source, closed = MemorySource(), from_iso("2024-03-01T12:00:00Z")
    pull(tmp_path, source, "2024-03-01", "2024-04-01", now=closed + 59 * NS_PER_SECOND)
    assert times(tmp_path)[-1] == from_iso("2024-03-01T10:00:00Z")
    pull(tmp_path, source, "2024-03-01", "2024-04-01", now=closed + 60 * NS_PER_SECOND)
    assert times(tmp_path)[-1] == from_iso("2024-03-01T11:00:00Z")


def test_pull_with_a_clock_ahead_takes_bars_by_the_providers(tmp_path: Path) -> None:
    behind = from_iso("2024-03-01T09:30:00Z")
    result = pull(tmp_path, MemorySource(ts_server=behind), "2024-03-01", "2024-04-01")
    assert times(tmp_path)[-1] == from_iso("2024-03-01T08:00:00Z")
    assert "10,800 s ahead" in " ".join(result.warnings)


def test_pull_of_a_late_provider_loses_nothing(tmp_path: Path) -> None:
    late = MemorySource(last=from_iso("2024-03-01T03:00:00Z"))
    pull(tmp_path, late, "2024-02-28", "2024-04-01")
    assert len(times(tmp_path)) == 51
    pull(tmp_path, MemorySource(), "2024-02-28", "2024-04-01")
    assert np.array_equal(times(tmp_path), grid("2024-02-28", "2024-03-01T12:00:00Z"))


def test_pull_of_an_empty_range_is_remembered_once_bars_exist(tmp_path: Path) -> None:
    source = MemorySource(first=from_iso("2024-01-20"))
    result = pull(tmp_path, source)
    assert result.rows == 12 * 24
    source.asked.clear()
    pull(tmp_path, source)
    assert source.asked == []


def test_pull_of_nothing_writes_nothing(tmp_path: Path) -> None:
    result = pull(tmp_path, MemorySource(first=1 << 61))
    assert (result.rows, result.version) == (None, None)
    assert list(tmp_path.iterdir()) == []


def test_pull_of_a_restated_series_is_refused_with_its_factor(tmp_path: Path) -> None:
    pull(tmp_path, MemorySource(adjustment="splits"), "2024-01-01", "2024-01-20")
    halved = MemorySource(adjustment="splits", factor=0.5)
    with pytest.raises(DataError, match=r"other prices now.*all times 0\.5: a split or dividend"):
        pull(tmp_path, halved)
    assert len(times(tmp_path)) == 19 * 24
    pull(tmp_path, halved, replace=True)
    assert len(times(tmp_path)) == 31 * 24
    assert Catalog(tmp_path).read_bars("A.X", "1h")["open"].max() < 70


def test_pull_of_adjusted_prices_goes_on_backwards_and_forwards(tmp_path: Path) -> None:
    source = MemorySource(adjustment="all")
    pull(tmp_path, source, "2024-01-15", "2024-01-16")
    pull(tmp_path, source, "2023-11-01", "2024-02-01", window_bars=300)
    assert np.array_equal(times(tmp_path), grid("2023-11-01", "2024-02-01"))


def test_pull_keeps_a_volume_that_was_restated_and_says_so(tmp_path: Path) -> None:
    pull(tmp_path, MemorySource(), "2024-01-01", "2024-01-10")
    result = pull(tmp_path, MemorySource(volume=6.0), "2024-01-01", "2024-01-12")
    assert "1 stored bars have another volume" in " ".join(result.warnings)
    volume = Catalog(tmp_path).read_bars("A.X", "1h")["volume"]
    assert volume.tolist() == [5.0] * 216 + [6.0] * 48


def test_pull_of_another_source_is_refused(tmp_path: Path) -> None:
    pull(tmp_path, MemorySource(), "2024-01-01", "2024-01-02")
    with pytest.raises(DataError, match=r"has these bars from 'memory'.*reconcile"):
        pull(tmp_path, MemorySource(name="other"))
    pull(tmp_path, MemorySource(name="other"), replace=True)
    assert {each.source for each in Catalog(tmp_path).datasets()} == {"other"}


def test_pull_of_bad_bars_names_their_times(tmp_path: Path) -> None:
    class Broken(MemorySource):
        def pages(self, *arguments) -> Iterator:
            for page in super().pages(*arguments):
                values = {**page.values, "low": page.values["low"].copy()}
                values["low"][0] = np.nan
                yield type(page)(times=page.times, values=values)

    with pytest.raises(DataError, match=r"low is not a number \(bars 20240101000000, 20240101070"):
        pull(tmp_path, Broken(), "2024-01-01", "2024-01-02")
    result = pull(
        tmp_path, Broken(), "2024-01-01", "2024-01-02",
        repairs=frozenset({Repair.DROP_BAD}),
    )  # fmt: skip
    assert result.repaired == {"drop-bad": 4}


def test_pull_records_source_adjustment_and_the_adapters_clock(tmp_path: Path) -> None:
    pull(tmp_path, MemorySource(adjustment="splits"), "2024-01-01", "2024-01-02")
    (dataset,) = Catalog(tmp_path).datasets()
    assert (dataset.source, dataset.adjustment) == ("memory", "splits")
    rows = pl.read_parquet(DeltaTable(tmp_path / "bars").file_uris())
    assert set(rows["ts_ingest"]) == {NOW}
    assert set(rows["source"]) == {"memory"}


def test_pull_tells_how_far_it_is(tmp_path: Path) -> None:
    told: list[tuple[int, int, int]] = []
    span = days("2024-01-01", "2024-01-03")
    pull_bars(
        MemorySource(), Catalog(tmp_path), AROUND, "1h", span, PullOptions(window_bars=24),
        clock_ns=lambda: NOW, on_progress=lambda *each: told.append(each),
    )  # fmt: skip
    assert told[-1] == (2 * DAY, 2 * DAY, 48)
    assert [each[0] for each in told] == sorted(each[0] for each in told)
    assert all(done <= total == 2 * DAY for done, total, _ in told)


class Killed(BaseException):
    """Nothing catches it, as nothing catches a kill."""


@pytest.mark.parametrize("adjustment", ["none", "all"])
def test_pull_stopped_at_any_commit_and_run_again_ends_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, adjustment: str
) -> None:
    holes = frozenset(grid("2024-01-05", "2024-01-06").tolist())
    source = MemorySource(adjustment=adjustment, holes=holes)
    span = ("2024-01-01", "2024-01-10")
    pull(tmp_path / "whole", source, *span, window_bars=80)
    commit, left = catalog_module.commit, [0]

    def stop_after(*arguments, **options) -> None:
        commit(*arguments, **options)
        left[0] -= 1
        if left[0] == 0:
            raise Killed

    monkeypatch.setattr(catalog_module, "commit", stop_after)
    monkeypatch.setattr(coverage_module, "commit", stop_after)
    commits = 9  # the definition; then bars and coverage of each of four windows
    for point in range(1, commits + 1):
        path = tmp_path / f"at-{point}"
        left[0] = point
        with pytest.raises(Killed):
            pull(path, source, *span, window_bars=80)
        left[0] = 0
        pull(path, changed(source, asked=[]), *span, window_bars=80)
        assert digest(path) == digest(tmp_path / "whole"), point
    left[0] = commits + 1
    pull(tmp_path / "unharmed", source, *span, window_bars=80)
    assert left[0] == 1


def test_pull_defines_the_instrument(tmp_path: Path) -> None:
    pull(tmp_path, MemorySource(), "2024-01-01", "2024-01-02")
    assert list(Catalog(tmp_path).instruments()) == [InstrumentId("A.X")]
