"""The section "Performance": always the same bytes, whatever lies beside the page."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from onetape.research.report_html import render_html
from onetape.research.report_performance import NO_MEASUREMENTS, performance_section
from onetape.research.run_summary import summarize_run
from onetape.runtime.run_monitor import CallbackTime, Measurements, SpeedPoint, save_measurements
from tests.support.runs import make_run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

MEASURED = Measurements(
    first_row=0, rows=1_234_567, seconds=2.5, rows_per_second=493_826.8, sampled_rows=20_480,
    latency_p50_us=0.91, latency_p99_us=1_500.0, latency_max_us=2_500_000.0, strategy_ratio=0.375,
    callbacks=[
        CallbackTime(strategy="<b>trend</b>", callback="on_bar", calls=20_480, total_us=9_000.0,
                     p50_us=0.25, p99_us=0.75, max_us=12.5),
    ],
    memory_peak_mib=float("nan"),
    points=[
        SpeedPoint(row=600_000, seconds=1.25, rows_per_second=480_000.0, memory_mib=200.0),
        SpeedPoint(row=1_234_567, seconds=2.5, rows_per_second=507_653.6, memory_mib=210.0),
    ],
)  # fmt: skip


def test_section_is_in_the_report_and_says_that_nothing_was_measured() -> None:
    run = make_run(bars=60)
    page = render_html(summarize_run(run.timeline, run.events, digest="ab" * 32))
    assert page.count(performance_section()) == 1
    assert NO_MEASUREMENTS in performance_section()


# In a browser, where one is on the PATH.


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if CHROMIUM is None:
        pytest.skip("chromium is not on the PATH")
    run = make_run(bars=60)
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render_html(summarize_run(run.timeline, run.events, digest="ab" * 32)))
    return path


def shown(page: Path) -> str:
    """What a reader finds in the place of the section."""
    assert CHROMIUM is not None
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000",
         f"--user-data-dir={page.parent / 'profile'}", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    rest = done.stdout.partition('<div id="performance">')[2]
    return rest.partition('<script src="performance.js"')[0]


def test_browser_without_measurements_shows_that_there_are_none(page: Path) -> None:
    (page.parent / "performance.js").unlink(missing_ok=True)
    assert NO_MEASUREMENTS in shown(page)


def test_browser_shows_the_measurements_beside_the_page(page: Path) -> None:
    save_measurements(page.parent, MEASURED)
    text = shown(page)
    assert NO_MEASUREMENTS not in text
    for figure in ("493,827", "1,234,567", "2.50 s", "37.5 %", "0.91 µs", "1.5 ms", "not known",
                   "20,480 of 1,234,567 rows", "12.50 µs", "9.0 ms"):  # fmt: skip
        assert figure in text, figure
    assert "&lt;b&gt;trend&lt;/b&gt;" in text
    assert "<b>trend" not in text
    assert "js-plotly-plot" in text
    assert "resumed" not in text


def test_browser_says_that_a_run_was_resumed(page: Path) -> None:
    content = json.loads((page.parent / "performance.json").read_bytes()) | {"first_row": 4711}
    (page.parent / "performance.js").write_text(
        f"window.onetapePerformance = {json.dumps(content)};"
    )
    assert "The run was resumed. Measured is the part from row 4,711 on." in shown(page)


def test_browser_leaves_measurements_of_another_version_alone(page: Path) -> None:
    (page.parent / "performance.js").write_text(
        'window.onetapePerformance = {"measurements_version": 2};'
    )
    assert NO_MEASUREMENTS in shown(page)
