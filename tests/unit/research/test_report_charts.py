from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onetape.domain.instrument import InstrumentId, make_equity
from onetape.domain.orders import Side
from onetape.research.report_charts import price_chart, thin
from onetape.research.run_summary import summarize_run
from tests.support.runs import EventLog, make_timeline


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=400), st.sampled_from([10, 50]))
def test_thinned_series_keeps_ends_and_extremes_in_order(values: list[float], limit: int) -> None:
    series = np.array(values)
    rows = thin(series, limit)
    assert len(rows) <= limit + 2
    assert (np.diff(rows) > 0).all()
    assert (rows[0], rows[-1]) == (0, len(values) - 1)
    assert (series[rows].min(), series[rows].max()) == (series.min(), series.max())


@pytest.mark.parametrize(
    ("signed", "expected"),
    [
        ([5, -5], {"Long entry": [10], "Long exit": [20]}),
        ([-5, -5, 10], {"Short entry": [10, 20], "Short exit": [30]}),
        ([5, 5, -4, -6], {"Long entry": [10, 20], "Long exit": [30, 40]}),
        ([5, -8, 3], {"Long entry": [10], "Short entry": [20], "Short exit": [30]}),
    ],
)
def test_price_chart_marks_fills_by_what_they_did(
    signed: list[int], expected: dict[str, list[int]]
) -> None:
    instrument = make_equity("A.X")
    log = EventLog([instrument])
    log.start(1)
    log.deposit(1, "s")
    ms = 1_000_000
    for number, lots in enumerate(signed, start=1):
        log.trade(number * 10 * ms, "s", "A.X", Side(1 if lots > 0 else -1), abs(lots), 1000)
    log.stop(50 * ms)
    timeline = make_timeline([instrument], [(0, n * 10 * ms, 10.0) for n in range(1, 6)])
    summary = summarize_run(timeline, log.events, digest="")
    drawn = price_chart(summary, InstrumentId("A.X"))["data"][1:]
    assert {trace["name"]: trace["x"] for trace in drawn} == expected
