"""Ticks in pieces of any size, on disk, are the ticks all at once; and so are sessions on them."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.domain.events import OrderFilled
from onetape.domain.timestamps import NS_PER_DAY
from onetape.execution.simulated.fill_terms import FillTerms, QueueModel
from onetape.execution.simulated.latency import LatencyModel
from onetape.features.average import Ema, Sma
from onetape.features.columns import compute_feature_columns
from onetape.features.cross_section import CrossSection
from onetape.features.estimator import FeatureMap
from onetape.features.extremes import RollingMax
from onetape.features.timeframe import Timeframed
from onetape.marketdata.tick_pieces import TickSeries
from onetape.marketdata.tick_timeline import build_ticks
from onetape.marketdata.timeline import Timeline
from onetape.risk.limits import RiskLimits
from onetape.runtime.sessions.laid_features import compute_laid_features
from onetape.runtime.trading_day import find_day_starts
from tests.parity.test_fill_snapshots import Restless
from tests.support.session_runs import run_session
from tests.support.timelines import EQUITY, OTHER, SECOND, T0
from tests.support.whole_ticks import Columns, Series, merge_whole, pieces_of

KINDS = ("trades", "quotes", "book", "quotes+trades", "book+trades")
SIZES = st.sampled_from([1, 2, 3, 5, 17, 1 << 16])

FEATURES: FeatureMap = {
    "fast": Ema(3),
    "spread": Ema(2) - Sma(5),
    "longer": Timeframed(Sma(2, inputs=("volume",)), "2s"),
    "session": Sma(2).of(Timeframed(RollingMax(2), "1d")),
}


def make_times(chance: random.Random, rows: int, delay: int) -> Columns:
    """Times with many equal ones, over four sessions."""
    at = sorted(chance.choice((0, SECOND // 2, NS_PER_DAY)) * chance.randint(0, 3)
                + chance.randint(0, 6) * SECOND for _ in range(rows))  # fmt: skip
    ts_event = np.array([T0 + each for each in at], dtype=np.int64)
    lag = sorted(chance.randint(0, 2) * delay for _ in range(rows))
    return {
        "ts_event": ts_event,
        "ts_known": np.maximum.accumulate(ts_event + np.array(lag, dtype=np.int64)),
        "session_close": (ts_event // NS_PER_DAY + 1) * NS_PER_DAY,
    }


def make_prints(chance: random.Random, rows: int, delay: int = 0) -> Columns:
    return {
        **make_times(chance, rows, delay),
        "aggressor": np.array([chance.randint(-1, 1) for _ in range(rows)], dtype=np.int64),
        "price": np.array([100 + chance.randint(-4, 4) / 2 for _ in range(rows)]),
        "size": np.array([float(chance.randint(1, 20)) for _ in range(rows)]),
    }


def make_quotes(chance: random.Random, rows: int, delay: int = 0) -> Columns:
    bids = [100 + chance.randint(-4, 4) / 2 for _ in range(rows)]
    sizes = [[float(chance.choice((0, 3, 8))) for _ in range(rows)] for _ in range(2)]
    sizes[0] = [first or 5.0 * (not second) for first, second in zip(*sizes, strict=True)]
    return {
        **make_times(chance, rows, delay),
        "bid": np.array([bid if size else 0.0 for bid, size in zip(bids, sizes[0], strict=True)]),
        "ask": np.array([bid + 0.5 if size else 0.0
                         for bid, size in zip(bids, sizes[1], strict=True)]),
        "bid_size": np.array(sizes[0]),
        "ask_size": np.array(sizes[1]),
    }  # fmt: skip


def make_deltas(chance: random.Random, rows: int, delay: int = 0) -> Columns:
    is_bid = [1, *(chance.randint(0, 1) for _ in range(rows - 1))]
    steps = [chance.randint(1, 4) / 2 for _ in range(rows)]
    return {
        **make_times(chance, rows, delay),
        "is_bid": np.array(is_bid, dtype=np.int64),
        "update_id": np.array(sorted(chance.randint(0, rows) for _ in range(rows)), dtype=np.int64),
        "price": np.array([100 - step if bid else 100 + step
                           for bid, step in zip(is_bid, steps, strict=True)]),
        "size": np.array([8.0, *(float(chance.choice((0, 3, 8, 20))) for _ in range(rows - 1))]),
    }  # fmt: skip


MAKE: dict[str, Callable[..., Columns]] = {
    "trades": make_prints, "quotes": make_quotes, "book": make_deltas,
}  # fmt: skip


def make_series(seed: int, what: str, rows: int = 30) -> list[Series]:
    """Random records of one or two instruments."""
    chance = random.Random(f"{seed} {what}")
    kind, _, more = what.partition("+")
    found: list[Series] = []
    for instrument in (EQUITY, OTHER)[: chance.randint(1, 2)]:
        main = MAKE[kind](chance, chance.randint(1, rows))
        prints = make_prints(chance, chance.randint(0, rows)) if more else None
        if prints is not None:  # something must stand before the first print
            prints = {name: each[prints["ts_known"] > main["ts_known"][0]]
                      for name, each in prints.items()}  # fmt: skip
        found.append(Series(instrument, main, prints))
    return found


def build(what: str, series: list[Series]) -> Timeline:
    kind: Any = what.partition("+")[0]
    return build_ticks(
        [TickSeries(each.instrument, kind, each.main) for each in series],
        {
            each.instrument.id: TickSeries(each.instrument, "trades", each.prints)
            for each in series
            if each.prints is not None
        },
        kind=kind,
        source="test",
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(KINDS), SIZES, st.booleans())
def test_rows_in_pieces_are_the_rows_all_at_once(
    seed: int, what: str, size: int, on_disk: bool
) -> None:
    series = make_series(seed, what)
    columns, owners = merge_whole(what.partition("+")[0], series)
    with pieces_of(size, on_disk=on_disk):
        timeline = build(what, series)
        assert timeline.columns.keys() == columns.keys()
        for name, column in columns.items():
            assert timeline.columns[name].tolist() == column.tolist(), name
        assert timeline.instrument_index.tolist() == owners
        known = columns["ts_known"].tolist()
        ends = [before != after for before, after in pairwise(known)]
        assert list(timeline.row_ends) == [*ends, True]
        for at, each in enumerate(timeline.instruments):
            rows = [row for row, owner in enumerate(owners) if owner == at]
            assert timeline.rows_of(each.id).tolist() == rows
        assert timeline.ts_first == min(columns["ts_open"])
        small = (timeline.day_ends, find_day_starts(timeline).tolist())
    whole = build(what, series)
    assert small == (whole.day_ends, find_day_starts(whole).tolist())


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(KINDS), SIZES)
def test_features_in_blocks_are_those_of_the_whole_columns(seed: int, what: str, size: int) -> None:
    check_features(build(what, make_series(seed, what, 60)), size)


def test_compiled_features_in_blocks_are_those_of_the_whole_columns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("onetape.features.columns.COLD_UPDATES_MIN", 0)
    monkeypatch.setattr("onetape.features.columns.WARM_UPDATES_MIN", 0)
    check_features(build("quotes+trades", make_series(3, "quotes+trades", 60)), 7)


def check_features(timeline: Timeline, size: int) -> None:
    ids = [each.id for each in timeline.instruments]
    crossing = {"fast": CrossSection(Ema(3))}
    expected = {name: np.full(len(timeline), np.nan) for name in FEATURES}
    for each in ids:
        rows = timeline.rows_of(each)
        own = {name: column[rows] for name, column in timeline.columns.items()}
        for name, values in compute_feature_columns(FEATURES, own).items():
            expected[name][rows] = values
    ranks = crossing["fast"].compute_slices(expected["fast"], timeline.slice_end)
    with pieces_of(size):
        found = compute_laid_features(timeline, FEATURES, {}, ids)
        crossed = compute_laid_features(timeline, {"fast": Ema(3)}, crossing, ids)
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, name)
    np.testing.assert_array_equal(crossed["fast"], ranks)


class Featured(Restless):
    """Random orders; what it sees goes on the tape."""

    def features(self) -> FeatureMap:
        return FEATURES

    def on_market_event(self, event: Any, ctx: Any) -> None:
        for name in FEATURES:
            value = getattr(ctx.features, name)
            if value == value:
                ctx.signal(name, value)
        past = ctx.history(event.instrument, 7, "close")
        ctx.signal("past", float(past.sum()))
        super().on_market_event(event, ctx)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(KINDS), SIZES)
def test_session_in_pieces_leaves_the_same_tape(seed: int, what: str, size: int) -> None:
    series = make_series(seed, what, 60)
    queue = QueueModel.NONE if what == "trades" else random.Random(seed).choice(list(QueueModel))
    models: dict[str, Any] = {
        "fill": FillTerms(queue=queue), "latency": LatencyModel(mean_ms=300),
        "limits": RiskLimits(max_leverage=4, max_drawdown_pct=50),
    }  # fmt: skip
    whole = run_session(build(what, series), Featured(seed=seed), Restless(seed=seed + 1), **models)
    with pieces_of(size):
        pieces = run_session(
            build(what, series), Featured(seed=seed), Restless(seed=seed + 1), **models
        )
    assert not whole.quarantined
    assert pieces.digest == whole.digest


def test_those_sessions_trade() -> None:
    fills = 0
    for seed, what in enumerate(KINDS):
        timeline = build(what, make_series(seed, what, 200))
        fills += len(run_session(timeline, Restless(seed=seed)).of_type(OrderFilled))
    assert fills > 20
