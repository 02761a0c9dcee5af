"""How `onetape live` ends, and how `status` looks, on the terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from onetape.control.cli import app
from onetape.control.session_screen import print_status, tell_seconds, tell_short
from onetape.runtime.realtime.shell import ShellFigures
from onetape.runtime.sessions import live_run
from onetape.runtime.sessions.live_run import LiveResult

ORDER = {"id": "3f2a9c1d-s-1", "strategy": "s", "instrument": "A.FAKE", "side": "buy",
         "type": "limit", "status": "unknown", "quantity": 5.0, "filled": 2.0, "limit": 10.5,
         "stop": None}  # fmt: skip


def make_status(**changes: Any) -> dict[str, Any]:
    """What `status` answers of a session in which all is well, but for `changes`."""
    strategy = {"equity": 1_000.0, "cash": 900.0, "positions": {"A.FAKE": 10.0},
                "state": "running", "why": [], "cold": []}  # fmt: skip
    now = {
        "state": "running", "session": "3f2a9c1d00000000", "name": "n", "mode": "live", "pid": 7,
        "seconds": 65.0, "now": "2026-03-01T03:00:00Z", "bars": 5, "heard_seconds": 3.0,
        "looked_seconds": 130.0, "killed": None, "open_orders": 0, "to_send": 0, "orders": [],
        "strategies": {"s": strategy}, "outages": [], "differences": [], "troubles": [],
        "actions": {"ahead": [], "missed": [], "problem": ""},
        "passed_over": {"bars": 0, "why": ""}, "inbox": {"waiting": 0},
    }  # fmt: skip
    return now | changes


def test_status_of_a_sound_session_says_its_ages_and_no_trouble(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_status(make_status())
    shown = capsys.readouterr().out
    assert shown.startswith("n (live, 3f2a9c1d00000000): running, process 7 for 65 s\n")
    assert "the feed spoke 3 s ago, the venue's books were seen 2 min ago" in shown
    assert "+10 A.FAKE" in shown
    assert not any(each in shown for each in ("KILL", "DOWN", "DIFFERS", "WAITING", "BEHIND",
                                             "PASSED"))  # fmt: skip


def test_status_says_everything_that_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    outage = {"part": "venue", "name": "FAKE", "since": "2026-03-01T02:59:00Z", "reason": "closed"}
    print_status(
        make_status(
            killed="a storm",
            outages=[outage],
            differences=["cash USD: -5.00 at the venue"],
            to_send=31,
            passed_over={"bars": 1_200, "why": "bars of A.FAKE come from outside of its hours"},
            inbox={"waiting": 500},
            orders=[ORDER] * 12,
            open_orders=12,
            troubles=["2026-03-01T02:59:00Z error   x (event 3)"],
        )
    )
    shown = capsys.readouterr().out
    for each in (
        "KILL SWITCH is set: a storm (onetape kill --off lifts it)",
        "DOWN since 2026-03-01T02:59:00Z: venue FAKE: closed",
        "DIFFERS: cash USD: -5.00 at the venue",
        "WAITING for the venue's rate limit: 31 commands",
        "BEHIND: 500 inputs wait",
        "PASSED OVER 1,200: bars of A.FAKE come from outside of its hours",
        "and 2 more open orders",
        "unknown",
        "error   x (event 3)",
    ):
        assert each in shown


def test_status_before_the_first_row_has_a_dash_for_the_time(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_status(make_status(now=None, bars=0))
    assert "\n-, no market data yet; the feed spoke 3 s ago" in capsys.readouterr().out


def test_status_of_a_busy_session_blames_no_strategy(capsys: pytest.CaptureFixture[str]) -> None:
    print_status({"state": "busy", "busy_seconds": 0.0, "pid": 7})
    assert capsys.readouterr().out.startswith("BUSY: process 7 does not answer yet")


def test_short_line_names_states_orders_and_positions() -> None:
    assert tell_short(make_status(state="stopping", open_orders=2)) == (
        "stopping, s running; 2 open orders, +10 A.FAKE (s)"
    )
    assert [tell_seconds(each) for each in (119.9, 120, 7_500)] == ["119 s", "2 min", "2 h 05 min"]


@pytest.mark.parametrize(("uncanceled", "code"), [(True, 4), (False, 0)])
def test_live_session_that_leaves_orders_names_them_and_calls_a_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, uncanceled: bool, code: int
) -> None:
    """With `live.on_stop: keep` they are left by intent."""
    monkeypatch.chdir(tmp_path)
    keys = {"key": "env:LK", "secret": "env:LS"}
    for name in ("LK", "LS"):
        monkeypatch.setenv(name, "x")
    Path("c.json").write_text(json.dumps({
        "mode": "live",
        "clock": {"type": "live"},
        "data": {"source": "alpaca", "timeframe": "1m", "instruments": ["A.ALPACA"],
                 "connection": keys},
        "execution": {"venue": "alpaca", "connection": keys},
        "risk": {"max_order_quantity": 1, "max_drawdown_pct": 5},
        "strategies": [{"name": "buy_and_hold", "capital": 1_000}],
        "live": {"without_backtest": True},
    }))  # fmt: skip

    def run(*_: Any) -> LiveResult:
        nan = float("nan")
        return LiveResult(
            run_dir=tmp_path, session="x", reason="stopped by an operator", digest="",
            market_events=0, quarantined=(), uncanceled=uncanceled,
            status=make_status(orders=[ORDER], open_orders=1),
            figures=ShellFigures(inputs=0, waiting=0, deepest=0, held_back=0, order_p50_us=nan,
                                 order_p99_us=nan, orders=0, input_p50_us=nan, input_p99_us=nan,
                                 to_send=0, heard_seconds=0, looked_seconds=nan),
        )  # fmt: skip

    monkeypatch.setattr(live_run, "run_live", run)
    done = CliRunner().invoke(app, ["live", "c.json", "--quiet"])
    assert done.exit_code == code, done.stderr
    assert "left: 1 open order, +10 A.FAKE (s)" in done.stderr
    assert "left:   order 3f2a9c1d-s-1, buy 5 A.FAKE, unknown" in done.stderr
