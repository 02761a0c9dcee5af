"""Neighbors, tables, charts and the page of a sweep."""

from __future__ import annotations

import html
import itertools
import json
import re
import statistics
from collections.abc import Mapping
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onetape.research import sweep_charts as charts
from onetape.research.grid import Axis
from onetape.research.sweep_metric import find_metric
from onetape.research.sweep_neighbors import find_neighborhoods
from onetape.research.sweep_report import write_sweep_report
from onetape.research.sweep_run import SweepResult
from onetape.runtime.set_outcome import SetOutcome
from tests.support.sweep_fakes import FakeHost, make_outcome, plan_wave, run_fake

SHARPE = find_metric("sharpe")
VOLATILITY = find_metric("volatility")


pytestmark = pytest.mark.usefixtures("in_wave")


def frame_of(axes: list[Axis], values: list[float | None], metric: str) -> pl.DataFrame:
    """Sets of a whole grid with these values of a metric."""
    rows = list(itertools.product(*(axis.values for axis in axes)))
    return pl.DataFrame(rows, schema=[axis.name for axis in axes], orient="row").with_columns(
        pl.Series("set", range(len(rows))),
        pl.Series(metric, values, dtype=pl.Float64),
        quarantined=pl.lit(""),
        failed=pl.lit(""),
    )


# Neighbors.

axis_values = st.one_of(
    st.lists(st.integers(-9, 9), min_size=1, max_size=5, unique=True),
    st.just([True, False]),
    st.just(["b", "a", "c"]),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    columns=st.lists(axis_values, min_size=1, max_size=3),
    metric=st.sampled_from([SHARPE, VOLATILITY]),
    data=st.data(),
)
def test_neighborhoods_agree_with_a_naive_search(
    columns: list[list[Any]], metric: Any, data: st.DataObject
) -> None:
    axes = [Axis(f"p{at}", tuple(values)) for at, values in enumerate(columns)]
    rows = list(itertools.product(*columns))
    value = st.one_of(st.none(), st.just(float("nan")), st.integers(-50, 50).map(float))
    values = [data.draw(value) for _ in rows]
    frame = frame_of(axes, values, metric.field)
    found = find_neighborhoods(frame.lazy(), axes, metric, frame)
    for at, (row, near) in enumerate(zip(rows, found, strict=True)):
        known = [
            other
            for place, (other_row, other) in enumerate(zip(rows, values, strict=True))
            if place != at and other is not None and other == other
            and all(
                abs(sorted(column).index(a) - sorted(column).index(b)) <= 1
                if type(a) is int else a == b
                for a, b, column in zip(row, other_row, columns, strict=True)
            )
        ]  # fmt: skip
        worst = min if metric.higher_is_better else max
        wanted = (statistics.median(known), worst(known)) if known else (None, None)
        assert (near.sets, near.median, near.worst) == (len(known), *wanted)


# The page.


def landscape(params: Mapping[str, Any]) -> SetOutcome:
    """A hill around fast 6, slow 12."""
    height = 3.0 - abs(params["fast"] - 6) / 2 - abs(params["slow"] - 12) / 5
    return make_outcome(params["fast"] * 100 + params["slow"], sharpe_ratio=height)


def run_hill(*params: str, metric: str = "sharpe") -> SweepResult:
    plan = plan_wave(*(params or ("fast=2:10:2", "slow=4:20:4")), metric=metric)
    return run_fake(plan, FakeHost(landscape).build)


def figures_of(page: str) -> dict[str, Any]:
    match = re.search(r'<script type="application/json" id="figures">(.*?)</script>', page)
    assert match
    return json.loads(match[1])


def test_the_page_is_one_file_with_every_part() -> None:
    result = run_hill()
    report = write_sweep_report(result, ["run.yaml"])
    page = report.page.read_text()
    assert report.page == result.directory / "report.html"
    shown = page.split('<script type="application/json"', 1)[0]
    for part in ("Best sets", "Is it luck?", "Sharpe by params", "All params at once",
                 "Sharpe of all sets", "What was run", "Market data",
                 "Median of neighbors", "Deflated Sharpe ratio", "Probability of overfitting",
                 "stands on a plateau"):  # fmt: skip
        assert part in shown
    assert all(html.escape(command) in shown for command in report.commands)
    for sentence in result.verdict.sentences:
        assert html.escape(sentence) in shown
    assert "http" not in re.sub(r"http://www.w3.org/\S+", "", shown)
    assert set(figures_of(page)) == {"spread", "pair-fast-slow", "parallel"}
    assert set(re.findall(r'class="chart" id="([^"]+)"', shown)) == set(figures_of(page))


def test_markdown_has_the_same_tables() -> None:
    result = run_hill()
    report = write_sweep_report(result)
    text = (result.directory / "report.md").read_text()
    for part in ("# Sweep of sma\\_cross", "## Best sets", "## Is it luck?", "## What was run",
                 "| Values of fast | 2, 4, 6, 8, 10 |", report.commands[0]):  # fmt: skip
        assert part in text
    assert "| 1 | 6 | 12 | 3.00 | 2.00 | 1.20 |" in text


def test_the_page_is_the_same_for_the_same_sweep() -> None:
    result = run_hill()
    pages = [write_sweep_report(result).page.read_bytes() for _ in range(2)]
    assert pages[0] == pages[1]


def test_the_best_table_tells_what_lies_around() -> None:
    table = write_sweep_report(run_hill()).best
    assert table.columns[:6] == (
        "", "fast", "slow", "Sharpe", "Median of neighbors", "Worst of neighbors",
    )  # fmt: skip
    # Around the top: 2.2 and 2.0 twice each, 1.2 three times; fast 8 is refused with slow 8.
    assert table.rows[0][:6] == ("1", "6", "12", "3.00", "2.00", "1.20")


def test_the_command_without_a_source_runs_from_the_directory() -> None:
    result = run_hill()
    command = write_sweep_report(result).commands[0]
    assert command == (
        f"onetape backtest {result.directory}/config.json --set strategies.0.params.fast=6 "
        "--set strategies.0.params.slow=12"
    )


def test_one_param_gets_a_line() -> None:
    page = write_sweep_report(run_hill("fast=2:7:1")).page.read_text()
    figures = figures_of(page)
    assert set(figures) == {"spread", "line"}
    (line,) = figures["line"]["data"]
    assert line["x"] == ["2", "3", "4", "5", "6", "7"]
    assert line["y"][4] == max(line["y"])
    assert "Sharpe by fast" in page


def test_trouble_is_shown_and_named() -> None:
    from onetape.domain.errors import DataError

    def outcome(params: Mapping[str, Any]) -> SetOutcome:
        if params["fast"] == 2:
            raise DataError("<b>no tick</b>")
        made = landscape(params)
        quarantined = "on_bar: ValueError: no" if params["fast"] == 4 else ""
        return SetOutcome(
            summary=made.summary, returns=made.returns, orders=0, denied=0, quarantined=quarantined
        )

    result = run_fake(plan_wave("fast=2:7:1"), FakeHost(outcome).build)
    page = write_sweep_report(result).page.read_text()
    assert "1 QUARANTINED" in page
    assert "1 FAILED" in page
    assert "on_bar: ValueError: no" in page
    assert "&lt;b&gt;no tick&lt;/b&gt;" in page
    assert "<b>no tick" not in page


def test_a_metric_that_no_set_has_leaves_a_page_that_says_so() -> None:
    result = run_hill(metric="sortino")
    page = write_sweep_report(result).page.read_text()
    assert "No set has a Sortino." in page
    assert figures_of(page) == {}


# Charts.


def test_heatmap_has_the_metric_of_each_pair_and_marks_the_best() -> None:
    axes = [Axis("a", (3, 1, 2)), Axis("b", (0.5, 1.0))]
    frame = frame_of(axes, [1.0, 2.0, 3.0, None, 5.0, 6.0], "sharpe_ratio")
    best = frame.row(5, named=True)
    figure = charts.pair_charts(frame.lazy(), axes, SHARPE, best)["a", "b"]
    heat, ring = figure["data"]
    assert (heat["x"], heat["y"]) == (["0.5", "1.0"], ["1", "2", "3"])
    assert heat["z"] == [[3.0, None], [5.0, 6.0], [1.0, 2.0]]
    assert (ring["x"], ring["y"]) == (["1.0"], ["2"])


def test_heatmap_of_two_of_three_params_shows_the_best_over_the_third() -> None:
    axes = [Axis("a", (1, 2)), Axis("b", (True, False)), Axis("c", ("x", "y"))]
    values = [0.1, 0.2, 0.3, 0.4, 0.8, 0.7, 0.6, 0.5]
    frame = frame_of(axes, [*values], "annual_volatility")
    figures = charts.pair_charts(frame.lazy(), axes, VOLATILITY, frame.row(0, named=True))
    assert list(figures) == [("a", "b"), ("a", "c"), ("b", "c")]
    heat = figures["a", "b"]["data"][0]
    assert (heat["x"], heat["z"]) == (["false", "true"], [[0.3, 0.1], [0.5, 0.7]])
    assert figures["b", "c"]["data"][0]["z"] == [[0.3, 0.4], [0.1, 0.2]]


def test_long_axes_are_cut_into_ranges_that_show_their_best() -> None:
    axes = [Axis("a", range(100, 0, -1)), Axis("b", tuple(each / 4 for each in range(200)))]
    count = 100 * 200
    frame = frame_of(axes, [float(at % 977) for at in range(count)], "sharpe_ratio")
    heat = charts.pair_charts(frame.lazy(), axes, SHARPE, frame.row(0, named=True))["a", "b"]
    z = heat["data"][0]["z"]
    assert len(z) == len(z[0]) == charts.MAX_CELLS
    assert max(max(row) for row in z) == 976.0
    lowest = frame.filter((pl.col("a") < 1 + 99 / 60) & (pl.col("b") < 49.75 / 60))
    assert z[0][0] == lowest["sharpe_ratio"].max()


def test_parallel_lines_are_bounded_and_hold_the_best() -> None:
    axes = [Axis("a", range(2_000)), Axis("kind", ("x", "y"))]
    frame = frame_of(axes, [float(at) for at in range(4_000)], "sharpe_ratio")
    figure = charts.parallel_chart(frame.lazy(), axes, SHARPE, 4_000)
    a, kind, metric = figure["data"][0]["dimensions"]
    assert len(a["values"]) == len(kind["values"]) == len(metric["values"]) <= charts.MAX_LINES
    assert metric["values"][-1] == 3_999.0
    assert metric["values"] == sorted(metric["values"])
    assert kind["ticktext"] == ["x", "y"]
    assert set(kind["values"]) <= {0, 1}
    assert min(metric["values"]) < 10


def test_spread_counts_every_set_that_has_the_metric() -> None:
    axes = [Axis("a", range(1_000))]
    values = [None if at % 10 == 0 else float(at) for at in range(1_000)]
    figure = charts.spread_chart(frame_of(axes, [*values], "sharpe_ratio").lazy(), SHARPE, 999.0)
    assert sum(figure["data"][0]["y"]) == 900
    same = frame_of(axes, [2.0] * 1_000, "sharpe_ratio")
    assert sum(charts.spread_chart(same.lazy(), SHARPE, 2.0)["data"][0]["y"]) == 1_000
