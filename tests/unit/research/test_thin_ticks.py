"""A long session on ticks is measured at some slices, and what stands at those is exact."""

from __future__ import annotations

import random

import numpy as np
import pytest

from onetape.domain.timestamps import NS_PER_SECOND
from onetape.execution.simulated.fees import BpsFees
from onetape.execution.simulated.fill_terms import FillTerms
from onetape.execution.simulated.latency import LatencyModel
from onetape.marketdata.timeline import Timeline
from onetape.research.run_summary import RunSummary, summarize_run
from onetape.research.thin_ticks import ThinTimeline
from tests.parity.test_fill_snapshots import Restless
from tests.property.test_tick_pieces import KINDS, build, make_series
from tests.support.session_runs import run_session
from tests.support.whole_ticks import pieces_of

MINUTE = 60 * NS_PER_SECOND


def measure(timeline: Timeline, seed: int) -> tuple[RunSummary, RunSummary]:
    """The same run at each slice, and at some."""
    fees, latency = BpsFees(maker_bps=1, taker_bps=2), LatencyModel(mean_ms=700)
    run = run_session(timeline, Restless(seed=seed), fees=fees, latency=latency, fill=FillTerms())
    whole = summarize_run(timeline, run.events, digest="")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("onetape.research.thin_ticks.ROWS_MAX", 0)
        return whole, summarize_run(timeline, run.events, digest="")


@pytest.mark.parametrize("seed", range(10))
def test_what_is_measured_is_what_stands_there(seed: int) -> None:
    timeline = build(KINDS[seed % len(KINDS)], make_series(seed, KINDS[seed % len(KINDS)], 200))
    whole, thin = measure(timeline, seed)
    assert isinstance(thin.timeline, ThinTimeline)
    every, kept = whole.curves.account, thin.curves.account
    at = np.searchsorted(every.ts, kept.ts)
    for name in every.__struct_fields__:
        assert getattr(kept, name).tolist() == getattr(every, name)[at].tolist(), name
    minutes = every.ts // MINUTE
    last = every.ts[np.append(minutes[1:] != minutes[:-1], True)]
    assert set(last.tolist()) <= set(kept.ts.tolist())
    assert thin.account.fills == whole.account.fills
    assert thin.account.total_return == whole.account.total_return
    for mine, theirs in zip(thin.execution.orders, whole.execution.orders, strict=True):
        for name in ("decision_ticks", "arrival_ticks", "end_ticks", "ts_arrival", "execution"):
            assert getattr(mine, name) == getattr(theirs, name), name
        assert mine.vwap == pytest.approx(theirs.vwap, rel=1e-12, nan_ok=True)


def test_quiet_hours_are_left_out() -> None:
    """Of 3,000 prints of one hour and no orders 60 slices and the first are measured."""
    series = make_series(1, "trades")[:1]
    chance = random.Random(5)
    start = int(series[0].main["ts_event"][0]) // MINUTE * MINUTE
    ts = np.sort(np.array([start + chance.randrange(60 * MINUTE) for _ in range(3_000)]))
    columns = {
        "ts_event": ts, "ts_known": ts, "session_close": ts // MINUTE * MINUTE + 90 * MINUTE,
        "aggressor": np.zeros(3_000, dtype=np.int64),
        "price": np.array([100 + chance.randint(-4, 4) / 2 for _ in ts]),
        "size": np.ones(3_000),
    }  # fmt: skip
    with pieces_of(64):
        timeline = build("trades", [series[0]._replace(main=columns)])
        thin = ThinTimeline(timeline, [])
    assert len(thin.columns["ts_known"]) == 61
    assert thin.columns["volume"].sum() == 3_000
    assert thin.columns["turnover"].sum() == pytest.approx(columns["price"].sum())
