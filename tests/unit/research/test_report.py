from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest

from onetape.domain.events import SessionStarted
from onetape.domain.instrument import make_equity
from onetape.domain.numbers import E8
from onetape.domain.orders import Side
from onetape.domain.timestamps import NS_PER_DAY, NS_PER_SECOND
from onetape.research import report_format as text
from onetape.research.report import write_report
from onetape.research.report_html import render_html
from onetape.research.report_markdown import render_markdown
from onetape.research.report_tables import MAX_ROUND_TRIPS, round_trips_table
from onetape.research.run_summary import RunSummary, summarize_run
from tests.support.runs import EventLog, MadeRun, make_run, make_timeline
from tests.support.session_runs import run_session
from tests.support.timelines import AAPL, at_rows, make_trade_timeline


def summarize(run: MadeRun) -> RunSummary:
    return summarize_run(run.timeline, run.events, digest="ab" * 32)


@pytest.fixture(scope="module")
def summary() -> RunSummary:
    return summarize(make_run(strategies=("trend", "reversal"), quarantined=True))


@pytest.fixture(scope="module")
def page(summary: RunSummary) -> str:
    return render_html(summary)


def own_part(page: str) -> str:
    """The page without plotly."""
    head, _, rest = page.partition("<script>")
    return head + rest.partition("</script>")[2]


def figures_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="figures">(.*?)</script>', page, re.S)
    assert found is not None
    return json.loads(found[1])


class Balance(HTMLParser):
    """Counts open tags; raises when one is closed that is not the newest."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_page_is_well_formed_and_needs_nothing_from_outside(page: str) -> None:
    parser = Balance()
    parser.feed(own_part(page))
    assert parser.open == []
    # One file that opens offline; beside it may lie what the run took.
    assert re.findall(r'(?:src|href)="([^"]*)"', own_part(page)) == ["performance.js"]
    assert page.count("plotly.js v") == 1
    assert page.count("<script>") == 2


def test_page_shows_the_figures_of_the_metrics(page: str, summary: RunSummary) -> None:
    account = summary.account
    shown = dict(re.findall(r"<dt>([^<]*)</dt><dd[^>]*>([^<]*)</dd>", page))
    assert shown["Total return"] == text.percent(account.total_return)
    assert shown["Sharpe"] == text.ratio(account.sharpe_ratio)
    assert shown["Max drawdown"] == text.percent(account.max_drawdown)
    assert shown["Final equity"] == text.money(account.equity, "USD")
    assert shown["Fees"] == text.money(account.fees, "USD")
    for name in ("trend", "reversal"):
        assert text.money(summary.strategies[name].equity, "USD") in page


def test_report_of_a_session_on_trade_prints_says_so() -> None:
    timeline = make_trade_timeline([100, 101, 102, 103], at=[0, 5, 5, 90 * NS_PER_SECOND])
    session = run_session(timeline, at_rows({0: lambda ctx: ctx.buy(AAPL, 10)}))
    summary = summarize_run(timeline, session.events, digest=session.digest)
    header, _, rest = own_part(render_html(summary)).partition("</header>")
    assert "2024-01-02, trade prints, USD" in header
    assert "2024-01-02 14:30" in rest
    assert "2024-01-02 14:30" in render_markdown(summary)


def test_page_says_loudly_who_was_quarantined_and_why(page: str) -> None:
    assert '<span class="badge bad">QUARANTINED</span>' in page
    assert "reversal raised in on_bar" in page
    assert "ZeroDivisionError: division by zero (trend.py:41)" in page
    assert "COMPLETE</span>" not in page


def test_charts_are_small_and_every_one_has_its_place(page: str, summary: RunSummary) -> None:
    figures = figures_of(page)
    assert set(figures) == {
        "equity", "exposure", "distribution", "price-0", "price-1", "price-2",
    }  # fmt: skip
    for name, figure in figures.items():
        assert page.count(f'<div class="chart" id="{name}"></div>') == 1
        assert all(len(trace["x"]) == len(trace["y"]) < 5_000 for trace in figure["data"])
    equity = figures["equity"]["data"][0]
    assert equity["y"][-1] == pytest.approx(float(summary.account.equity), abs=0.01)
    drawdown = figures["equity"]["data"][-1]
    assert min(drawdown["y"]) == pytest.approx(summary.account.max_drawdown, abs=1e-6)
    markers = sum(
        len(trace["x"])
        for name, figure in figures.items()
        if name.startswith("price")
        for trace in figure["data"][1:]
    )
    assert markers == summary.account.fills
    assert sum(figures["distribution"]["data"][0]["y"]) == summary.account.periods


def test_report_of_an_incomplete_run_says_so_first(tmp_path: Path) -> None:
    summary = summarize(make_run(complete=False))
    page = write_report(tmp_path, summary).read_text()
    assert '<span class="badge bad">INCOMPLETE</span>' in page
    assert "figures go to its last event" in page
    assert "**INCOMPLETE**" in (tmp_path / "report.md").read_text()


def test_report_of_a_run_killed_at_its_start_works(tmp_path: Path) -> None:
    run = make_run(complete=False)
    summary = summarize(MadeRun(run.timeline, run.events[:2]))
    page = write_report(tmp_path, summary).read_text()
    assert figures_of(page) == {}
    assert "INCOMPLETE" in page


def test_report_of_a_run_without_orders_works() -> None:
    run = make_run(trade_ratio=0.0, bars=30)
    page = render_html(summarize(run))
    assert set(figures_of(page)) == {"equity", "exposure", "distribution"}
    assert page.count('<p class="soft">None.</p>') >= 3


def test_report_of_a_ruined_account_works() -> None:
    instrument = make_equity("A.X")
    log = EventLog([instrument])
    log.start(1)
    log.deposit(1, "s", 1_000 * E8)
    log.trade(10 * NS_PER_DAY, "s", "A.X", Side.SELL, 100, 1000)
    log.stop(14 * NS_PER_DAY)
    closes = [10.0, 10.0, 25.0, 30.0, 5.0]
    bars = [(0, (day + 9) * NS_PER_DAY, close) for day, close in enumerate(closes)]
    summary = summarize(MadeRun(make_timeline([instrument], bars), log.events))
    assert summary.account.max_drawdown == pytest.approx(-2.0)
    assert summary.account.total_return == pytest.approx(0.5)
    page = render_html(summary)
    assert "−200.00 %" in page
    assert set(figures_of(page)) == {"equity", "exposure", "distribution", "price-0"}


def test_names_from_outside_cannot_become_markup() -> None:
    run = make_run(bars=60, strategies=("</script><b>", "<i>x|y"), quarantined=True)
    header = run.events[0].payload
    assert isinstance(header, SessionStarted)
    config = json.dumps({"name": "</script><b>"})
    header = msgspec.structs.replace(header, config=config)
    run.events[0] = msgspec.structs.replace(run.events[0], payload=header)
    summary = summarize(run)
    page = render_html(summary)
    assert page.count("</script>") == 5
    assert figures_of(page)["equity"]["data"][1]["name"] == "</script><b>"
    assert "<i>x" not in own_part(page).partition('id="figures">')[0]
    parser = Balance()
    parser.feed(own_part(page))
    assert "\\<i\\>x\\|y" in render_markdown(summary)


def test_long_minute_series_are_thinned_but_keep_their_extremes() -> None:
    run = make_run(symbols=("BTC.SIM",), bars=30_000, timeframe="1m", trade_ratio=0.1,
                   length_ns=60 * NS_PER_SECOND)  # fmt: skip
    summary = summarize(run)
    page = render_html(summary)
    figures = figures_of(page)
    for figure in figures.values():
        assert all(len(trace["x"]) < 5_000 for trace in figure["data"])
    closes = run.timeline.columns["close"]
    price = figures["price-0"]["data"][0]["y"]
    assert (min(price), max(price)) == (closes.min(), closes.max())
    assert "Drawn are the newest 400 fills of a kind" in page
    table = round_trips_table(summary)
    assert len(table.rows) == MAX_ROUND_TRIPS
    assert table.remark.startswith("The newest 500 of ")


def test_markdown_has_the_figures_and_every_table(summary: RunSummary) -> None:
    markdown = render_markdown(summary)
    account = summary.account
    assert f"| Sharpe | {text.ratio(account.sharpe_ratio)} |" in markdown
    for title in ("Figures", "Round trips", "Costs", "Denied orders", "Market data", "Assumptions"):
        assert f"## {title}\n" in markdown
    assert "| execution.slippage.base\\_bps | 5 |" in markdown
    assert markdown.endswith(".\n")


def test_report_is_the_same_text_each_time(page: str, summary: RunSummary) -> None:
    assert render_html(summary) == page
