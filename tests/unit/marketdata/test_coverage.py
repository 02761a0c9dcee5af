"""Which times were pulled."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from onetape.marketdata.coverage import Coverage, Span, find_missing, merge_spans

SPANS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=6)


def points(spans: list[Span]) -> set[int]:
    return {point for begin, end in spans for point in range(begin, end)}


@given(SPANS, st.tuples(st.integers(0, 40), st.integers(0, 40)))
def test_missing_is_what_is_wanted_and_not_covered(covered: list[Span], wanted: Span) -> None:
    missing = find_missing(wanted, covered)
    assert points(missing) == points([wanted]) - points(covered)
    assert missing == sorted(missing)


@given(SPANS)
def test_merged_spans_hold_the_same_times_and_do_not_touch(spans: list[Span]) -> None:
    merged = merge_spans(spans)
    assert points(merged) == points(spans)
    assert all(a[1] < b[0] for a, b in pairwise(merged))


def test_coverage_is_kept_by_dataset_and_source(tmp_path: Path) -> None:
    coverage = Coverage(tmp_path)
    assert coverage.read("A.X", "1d", "yahoo") == []
    coverage.write("A.X", "1d", "yahoo", [(5, 9), (1, 5)])
    coverage.write("A.X", "1m", "yahoo", [(1, 2)])
    coverage.write("B'S.X", "1d", "alpaca", [(3, 4)])
    assert coverage.read("A.X", "1d", "yahoo") == [(1, 9)]
    assert coverage.read("A.X", "1m", "yahoo") == [(1, 2)]
    assert coverage.read("B'S.X", "1d", "alpaca") == [(3, 4)]
    assert coverage.read("A.X", "1d", "alpaca") == []


def test_coverage_of_another_source_is_forgotten(tmp_path: Path) -> None:
    coverage = Coverage(tmp_path)
    coverage.write("A.X", "1d", "yahoo", [(1, 9)])
    coverage.write("A.X", "1d", "alpaca", [(2, 3)])
    assert coverage.read("A.X", "1d", "yahoo") == []
    assert coverage.read("A.X", "1d", "alpaca") == [(2, 3)]


def test_coverage_of_several_writers_at_once_is_kept(tmp_path: Path) -> None:
    names = [f"{name}.X" for name in "ABCD"]

    def write(name: str) -> None:
        Coverage(tmp_path).write(name, "1d", "yahoo", [(1, 9)])

    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(write, names))
    assert [Coverage(tmp_path).read(name, "1d", "yahoo") for name in names] == [[(1, 9)]] * 4
