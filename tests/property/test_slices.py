"""Slices with a grace: of a whole history, and of bars as they come."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.domain.errors import DataError
from onetape.domain.instrument import InstrumentId
from onetape.domain.market import Bar, BarBlock, Quality
from onetape.marketdata.slices import SliceCollector, align_slices
from tests.support.timelines import AAPL, MINUTE, MSFT, SECOND, T0, flat, make_columns

IDS = (AAPL, MSFT, InstrumentId("THIRD.XNAS"))


def make(missing: set[int], delays: list[int]) -> dict[str, Any]:
    """Minute bars without the missing ones, known that many seconds after their close."""
    rows = np.array([at for at in range(len(delays)) if at not in missing], dtype=np.int64)
    columns = make_columns(flat(*([100.0] * len(delays))))
    columns["ts_known"] = np.maximum.accumulate(columns["ts_close"] + np.array(delays) * SECOND)
    return {name: column[rows] for name, column in columns.items()}


series_of = st.lists(
    st.builds(
        make,
        st.sets(st.integers(0, 7), max_size=4),
        st.lists(st.sampled_from((0, 0, 1, 3, 10, 70, 200)), min_size=8, max_size=8),
    ),
    min_size=1,
    max_size=3,
)


def collect(series: list[dict[str, Any]], grace: int) -> list[tuple[int, list[tuple[Any, ...]]]]:
    bars = [
        bar
        for name, columns in zip(IDS, series, strict=False)
        for bar in BarBlock(name, columns, "", "1m").bars()
    ]
    collector = SliceCollector(IDS[: len(series)], grace)
    slices = []
    for bar in sorted(bars, key=lambda each: each.ts_known):
        slices += collector.push(bar)
    slices += collector.advance(T0 + 1_000 * MINUTE)
    return [(each.ts_known, list(map(identity, each.bars))) for each in slices]


def identity(bar: Bar) -> tuple[Any, ...]:
    return (bar.instrument, bar.ts_close, bar.ts_known, int(bar.quality))


@given(series_of, st.sampled_from((0, 2, 60, 600)))
@settings(max_examples=80, deadline=None)
def test_slices_as_bars_come_are_those_of_the_history(
    series: list[dict[str, Any]], seconds: int
) -> None:
    aligned = align_slices(series, seconds * SECOND)

    expected: dict[tuple[int, int, bool], list[tuple[Any, ...]]] = {}
    late: list[tuple[Any, ...]] = []
    for name, columns in zip(IDS, aligned, strict=False):
        assert (np.diff(columns["ts_known"]) >= 0).all()
        for bar in BarBlock(name, columns, "", "1m").bars():
            if bar.quality & Quality.LATE:
                late.append(identity(bar))
            else:
                expected.setdefault((bar.ts_known, bar.ts_close, False), []).append(identity(bar))
    found = collect(series, seconds * SECOND)
    in_time = [each for each in found if not each[1][0][3] & Quality.LATE]
    assert in_time == [(key[0], bars) for key, bars in sorted(expected.items())]
    assert sorted(bar for _, bars in found for bar in bars if bar[3]) == sorted(late)
    assert len({key[0] for key in expected}) == len(expected)  # one close time each


@pytest.mark.parametrize(
    ("delays", "missing", "grace", "known", "late"),
    [  # seconds after the close at which both bars of minute 1 are known; which of them are late
        ((0, 0), (), 5, (0, 0), (False, False)),
        ((0, 3), (), 5, (3, 3), (False, False)),
        ((0, 5), (), 5, (5, 5), (False, False)),
        ((0, 6), (), 5, (5, 6), (False, True)),
        ((2, 0), (1,), 5, (5, None), (False, None)),
        ((0, 3), (), 0, (0, 3), (False, True)),
    ],
)  # fmt: skip
def test_slice_waits_for_all_but_not_longer_than_its_grace(
    delays: tuple[int, int], missing: tuple[int, ...], grace: int, known: Any, late: Any
) -> None:
    series = [make({0} if at in missing else set(), [delay]) for at, delay in enumerate(delays)]
    aligned = align_slices(series, grace * SECOND)

    for columns, seconds, is_late in zip(aligned, known, late, strict=True):
        after = (columns["ts_known"] - columns["ts_close"]) // SECOND
        assert after.tolist() == ([] if seconds is None else [seconds])
        flags = (columns["quality"] & Quality.LATE) != 0
        assert flags.tolist() == ([] if seconds is None else [is_late])


def test_negative_grace_is_refused() -> None:
    with pytest.raises(DataError, match="negative"):
        align_slices([make(set(), [0])], -1)
