"""Bad input of live sessions at IB: one clear line, and nothing is lost."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Generator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from onetape.control.cli import app
from onetape.domain.events import OrderFilled, OrderRejected
from onetape.domain.numbers import E8
from onetape.domain.orders import OrderType, RejectCode, Side
from onetape.runtime.local_venues.messages import NewOrder, PlacedOrder
from tests.live.test_bad_live_input import STRATEGY
from tests.support.ibkr_venue import (
    AAPL,
    ACCOUNT,
    MSFT,
    LocalTws,
    local_tws,
    make_minutes,
    make_parts,
)
from tests.support.live_books import check_session, read_tape
from tests.support.live_sessions import make_config
from tests.support.mortal_sessions import MortalSession, install, run_to_end


@pytest.fixture(scope="module")
def port() -> Generator[int]:
    """A local TWS in a thread, at a day of 2024."""
    ready, over = threading.Event(), threading.Event()
    found: list[int] = []

    async def serve() -> None:
        async with local_tws(rows=40, is_open=False) as world:
            found.append(world.server.port)
            ready.set()
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(30)
    yield found[0]
    over.set()
    thread.join(30)


BEFORE_IT_BEGINS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    # what is wrong: (what stands in the configuration, what is said)
    "no TWS": ({"execution.connection.port": 1}, ("127.0.0.1:1", "start TWS or IB Gateway")),
    "wrong account": (
        {"execution.connection.account": "DU7"},
        ("no account 'DU7'", "execution.connection.account", "it has DU1000001"),
    ),
    "port of the other endpoint": (
        {"execution.connection.port": 7496},
        ("port 7496 is that of TWS with a live account", "execution.connection.port"),
    ),
    "real money without a yes": (
        {"execution.connection.endpoint": "live"},
        ("real money", "execution.connection.endpoint", "--confirm"),
    ),
    "a key": (
        {"execution.connection.key": "env:KEY"},
        ("ibkr has no key", "execution.connection.key", "leave it out"),
    ),
    "an account of another provider": (
        {"data.source": "binance", "data.connection.account": "DU7"},
        ("binance has no", "data.connection", "leave it out"),
    ),
    "unknown symbol": ({"data.instruments": ["AAPLE.IBKR"]}, ("no stock 'AAPLE'", "AAPL")),
    "bars of an hour": ({"data.timeframe": "1h"}, ("no live bars of 1h", "choose one of 5s")),
    "a clock that is off": (
        {"clock": {"type": "live"}}, ("clock is", "from ours", "set this machine's clock"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BEFORE_IT_BEGINS)
def test_live_refuses_to_begin_by_one_line(
    port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    monkeypatch.chdir(tmp_path)
    changes, said = BEFORE_IT_BEGINS[case]
    sections: dict[str, Any] = {
        "mode": "live",
        "clock": {"type": "live", "source": "feed"},
        "data": {"source": "ibkr", "timeframe": "1m", "instruments": ["AAPL.IBKR"],
                 "connection": {"port": port}},
        "execution": {"venue": "ibkr", "connection": {"port": port}},
        "risk": {"max_order_quantity": 100, "max_daily_loss_pct": 50},
        "strategies": [{"name": "sma_cross", "capital": 50_000}],
        "live": {"power_loss": False, "without_backtest": True},
    }  # fmt: skip
    for path, value in changes.items():
        *parents, name = path.split(".")
        section = sections
        for each in parents:
            section = section[each]
        section[name] = value
    Path("config.json").write_text(json.dumps(sections))
    result = CliRunner().invoke(app, ["live", "config.json", "--quiet"])
    print(result.stderr, result.exit_code)
    assert result.exit_code not in (0, 1)  # 1: a defect of ours
    for each in said:
        assert each in result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) <= 3


Trouble = Callable[[LocalTws, MortalSession], Awaitable[None]]
CASH = 200_000


async def run_troubled(folder: Path, trouble: Trouble) -> MortalSession:
    """Some bars, the trouble, and some more; then it stops in order, and the books agree."""
    file = folder / "buyer.py"
    file.write_text(STRATEGY)
    timeline = make_minutes(AAPL, MSFT)
    async with local_tws(timeline, is_open=False, rows=16, cash=CASH) as world:
        config = make_config(
            world, "live", live={"look_seconds": 0.05, "power_loss": False},
            data={"source": "ibkr", "timeframe": "1m", "instruments": [AAPL.id]},
            execution={"venue": "ibkr"},
            strategies=[{"name": "buyer", "path": str(file), "capital": 100_000}],
        )  # fmt: skip
        session = MortalSession(world, config, folder / "run", lambda: make_parts(world, "live"))
        session.begin()
        await session.until_quiet(1)
        await play(world, session, 2)
        await trouble(world, session)
        await play(world, session, 1)
        assert await session.stop() is not None
        check_session(world.exchange, ACCOUNT, CASH * E8, session.run_dir)
        return session


async def play(world: LocalTws, session: MortalSession, bars: int) -> None:
    """Bars one by one, each when everything that the one before caused is over."""
    for _ in range(bars):
        rows = session.rows
        await world.player.play_slice()
        await session.until_quiet(rows + 1)


async def halt(world: LocalTws, session: MortalSession) -> None:
    world.exchange.halt("AAPL", "the stock is halted")
    await play(world, session, 2)
    world.exchange.resume("AAPL")


async def spend(world: LocalTws, session: MortalSession) -> None:
    """An order by hand, of what the session does not trade, holds all of the buying power."""
    limit, fee = Decimal("0.5"), Decimal("0.005")
    free = Decimal(world.exchange.buying_power(ACCOUNT, "USD")) / E8
    request = NewOrder(symbol="MSFT", client_order_id="by-hand", side=Side.BUY, limit=limit,
                       order_type=OrderType.LIMIT, quantity=free // (limit + fee))  # fmt: skip
    placed = world.exchange.submit(ACCOUNT, request)
    assert isinstance(placed, PlacedOrder), placed
    await play(world, session, 2)
    world.exchange.cancel(ACCOUNT, placed.number)


@pytest.mark.parametrize(
    ("trouble", "code", "said"),
    [
        (spend, RejectCode.INSUFFICIENT_FUNDS, "available funds are not enough"),
        (halt, RejectCode.HALTED, "the stock is halted (201)"),
    ],
)
def test_refused_order_is_rejected_with_the_words_of_ib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: Trouble, code: RejectCode, said: str
) -> None:
    install(monkeypatch)
    session = run_to_end(run_troubled(tmp_path, trouble))
    told = [each.payload for each in read_tape(session.run_dir)]
    rejected = [each for each in told if isinstance(each, OrderRejected)]
    assert len(rejected) == 2
    assert all(said in each.reason and each.code is code for each in rejected), rejected
    assert any(isinstance(each, OrderFilled) for each in told)
