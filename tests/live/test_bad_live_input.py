"""Bad input of live sessions: one clear line (what, where, what to do), and nothing is lost."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from onetape.control.cli import app
from onetape.domain.errors import TryAgain
from onetape.domain.events import OrderFilled, OrderRejected
from onetape.domain.numbers import E8
from onetape.domain.orders import OrderType, RejectCode, Side
from onetape.domain.venue import ConnectionChanged
from onetape.runtime.local_venues.messages import NewOrder, Refusal, RefusalCode
from onetape.tape import sqlite_store
from tests.support.alpaca_venue import (
    AAPL,
    ACCOUNT,
    KEY,
    MSFT,
    SECRET,
    LocalAlpaca,
    local_alpaca,
    make_minutes,
)
from tests.support.live_books import check_session, read_tape
from tests.support.live_sessions import make_config, make_parts
from tests.support.mortal_sessions import MortalSession, install, is_quiet
from onetape.runtime.sessions.live_run import drive_live

# Before it begins, through the command.


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A local Alpaca in a thread of its own; it stands at a day of 2024."""
    ready, over = threading.Event(), threading.Event()
    urls: list[str] = []

    async def serve() -> None:
        async with local_alpaca(make_minutes(AAPL, MSFT), is_open=False, rows=40) as world:
            urls.append(world.server.url)
            ready.set()
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(20)
    yield urls[0]
    over.set()
    thread.join(20)


def write_config(url: str, **changes: Any) -> None:
    """config.json in the working directory: right, but for `changes` (`a.b` is a key in a)."""
    keys = {"key": "env:LOCAL_KEY", "secret": "env:LOCAL_SECRET"}
    sections: dict[str, Any] = {
        "mode": "live",
        "clock": {"type": "live", "source": "feed"},
        "data": {"source": "alpaca", "timeframe": "1m", "instruments": ["AAPL.ALPACA"],
                 "connection": {"url": url, **keys}},
        "execution": {"venue": "alpaca", "connection": {"url": url, **keys}},
        "risk": {"max_order_quantity": 100, "max_daily_loss_pct": 5},
        "strategies": [{"name": "sma_cross", "capital": 50_000,
                        "params": {"fast": 3, "slow": 8, "quantity": 10}}],
        "live": {"power_loss": False, "without_backtest": True},
    }  # fmt: skip
    for path, value in changes.items():
        *parents, name = path.split(".")
        section = sections
        for each in parents:
            section = section[each]
        section[name] = value
    Path("config.json").write_text(json.dumps(sections))


BEFORE_IT_BEGINS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    # what is wrong: (what stands in the configuration, what is said)
    "wrong secret": (
        {"execution.connection.secret": "env:WRONG"},
        ("keys", "the paper account", "look at key and secret"),
    ),
    "wrong secret of the feed": (
        {"data.connection.secret": "env:WRONG"}, ("keys", "look at key and secret"),
    ),
    "missing secret": (
        {"execution.connection.secret": "env:NOT_THERE"}, ("NOT_THERE", "not set"),
    ),
    "secret as a value": (
        {"execution.connection.secret": SECRET},
        ("execution.connection.secret", "env:NAME"),
    ),
    "no connection": (
        {"execution.connection": None}, ("a key and a secret are needed", "execution.connection"),
    ),
    "unknown symbol": (
        {"data.instruments": ["AAPLE.ALPACA"]}, ("AAPLE", "AAPL"),
    ),
    "no limit on sizes": (
        {"risk": {"max_daily_loss_pct": 5}},
        ("live has no limit on the size", "risk", "max_order_quantity"),
    ),
    "no limit on losses": (
        {"risk": {"max_order_quantity": 100}},
        ("live has no limit on losses", "risk", "max_drawdown_pct"),
    ),
    "no verified backtest": (
        {"live": {"power_loss": False}},
        ("there is no verified backtest", "run onetape backtest", "without_backtest"),
    ),
    "real money without a yes": (
        {"execution.connection.endpoint": "live"},
        ("real money", "execution.connection.endpoint", "--confirm"),
    ),
    "a clock that is off": (
        {"clock": {"type": "live"}}, ("clock is", "from ours", "set this machine's clock"),
    ),
    "nobody there": (
        {"execution.connection.url": "http://127.0.0.1:9"}, ("can't be reached",),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BEFORE_IT_BEGINS)
def test_live_refuses_to_begin_by_one_line(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in {"LOCAL_KEY": KEY, "LOCAL_SECRET": SECRET, "WRONG": "wrong"}.items():
        monkeypatch.setenv(name, value)
    changes, said = BEFORE_IT_BEGINS[case]
    write_config(url, **changes)
    result = CliRunner().invoke(app, ["live", "config.json", "--quiet"])
    print(result.stderr, result.exit_code)
    assert result.exit_code not in (0, 1)  # 1: a defect of ours
    assert "Traceback" not in result.stderr
    for each in said:
        assert each in result.stderr
    assert SECRET not in result.stderr
    assert len(result.stderr.strip().splitlines()) <= 3
    assert not list(Path().glob("runs/*/tape.db"))
