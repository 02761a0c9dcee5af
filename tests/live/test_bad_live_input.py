"""Bad input of live sessions: one clear line (what, where, what to do), and nothing is lost."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from onetape.control.cli import app
from onetape.domain.errors import TapeDamaged, TryAgain
from onetape.domain.events import OrderFilled, OrderRejected
from onetape.domain.numbers import E8
from onetape.domain.orders import OrderType, RejectCode, Side
from onetape.domain.venue import ConnectionChanged, Discrepancy, ReportKind, VenueReport
from onetape.runtime.local_venues.messages import NewOrder, PlacedOrder, Refusal, RefusalCode
from onetape.runtime.sessions.live_run import drive_live
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
from tests.support.live_processes import threaded_alpaca, write_config
from tests.support.live_sessions import make_config, make_parts
from tests.support.mortal_sessions import MortalSession, install, is_quiet, run_to_end

# Before it begins, through the command.


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A local Alpaca that stands at a day of 2024."""
    with threaded_alpaca(make_minutes(AAPL, MSFT), rows=40) as venue:
        yield venue.world.server.rest_url


BEFORE_IT_BEGINS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    # what is wrong: (what stands in the configuration, what is said)
    "wrong secret": (
        {"execution.connection.secret": "env:WRONG"},
        ("keys", "the paper account", "look at key and secret"),
    ),
    "wrong secret of the feed": (
        {"data.connection.secret": "env:WRONG"},
        ("refuses access", "look at key, secret and subscription"),
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
    "bars that no stream tells": (
        {"data.timeframe": "1d"},
        ("data.timeframe", "Alpaca's stream has no live bars of 1d", "choose one of 1m"),
    ),
    "unknown feed": (
        {"data.connection.feed": "otc"},
        ("data.connection.feed", "Alpaca has no feed 'otc'", "choose iex or sip"),
    ),
    "no address": (
        {"data.connection.url": "localhost"},
        ("data.connection.url is 'localhost'", "no address", "http://"),
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
    "capital in another currency": (
        {"strategies": [{"name": "buy_and_hold", "capital": 50_000, "currency": "EUR"}]},
        ("is settled in USD", "the capital is in EUR"),
    ),
    "a clock that is off": (
        {"clock": {"type": "live"}}, ("clock is", "from ours", "set this machine's clock"),
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
    write_config(Path("config.json"), url, **changes)
    result = CliRunner().invoke(app, ["live", "config.json", "--quiet"])
    print(result.stderr, result.exit_code)
    assert result.exit_code not in (0, 1)  # 1: a defect of ours
    assert "Traceback" not in result.stderr
    for each in said:
        assert each in result.stderr
    assert SECRET not in result.stderr
    assert len(result.stderr.strip().splitlines()) <= 3
    assert not list(Path().glob("runs/*/tape.db"))


# While it runs.

STRATEGY = """
from onetape.domain.market import Bar
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy


class Buyer(Strategy):
    \"\"\"Buys at every bar.\"\"\"

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        ctx.buy(bar.instrument, 3)
"""
PATIENT = """
from onetape.domain.market import Bar
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy


class Patient(Strategy):
    \"\"\"Has an order far below the market.\"\"\"

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        if not ctx.open_orders():
            ctx.buy(bar.instrument, 3, limit=ctx.round_price(bar.instrument, bar.close * 0.8, 1))
"""
CASH = 200_000
_SET_DIGESTS = "UPDATE block SET digests = ? WHERE number = 1"
Trouble = Callable[[LocalAlpaca, MortalSession], Any]


async def run_troubled(folder: Path, trouble: Trouble, strategy: str = STRATEGY) -> MortalSession:
    """Three bars, the trouble, and what it says; then it stops in order, and the books agree."""
    file = folder / "buyer.py"
    file.write_text(strategy)
    timeline = make_minutes(AAPL, MSFT)
    async with local_alpaca(timeline, is_open=False, rows=8, cash=CASH) as world:
        config = make_config(
            world, "live", live={"look_seconds": 0.05, "power_loss": False},
            data={"source": "alpaca", "timeframe": "1m", "instruments": [AAPL.id]},
            strategies=[{"name": "buyer", "path": str(file), "capital": 100_000}],
        )  # fmt: skip
        session = MortalSession(world, config, folder / "run")
        session.begin()
        await session.until_quiet(1)
        await play(world, session, 3)
        await trouble(world, session)
        assert await session.stop() is not None
        check_session(world.exchange, ACCOUNT, CASH * E8, session.run_dir)
        return session


async def play(world: LocalAlpaca, session: MortalSession, bars: int) -> None:
    """Bars one by one, each when everything that the one before caused is over."""
    for _ in range(bars):
        rows = session.rows
        await world.player.play_slice()
        await session.until_quiet(rows + 1)


def rejected(session: MortalSession) -> list[OrderRejected]:
    return [each.payload for each in read_tape(session.run_dir)
            if isinstance(each.payload, OrderRejected)]  # fmt: skip


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)


async def halt(world: LocalAlpaca, session: MortalSession) -> None:
    world.exchange.halt("AAPL", "news pending")
    await play(world, session, 2)
    world.exchange.resume("AAPL")
    await play(world, session, 1)


async def spend(world: LocalAlpaca, session: MortalSession) -> None:
    """An order by hand, of what the session does not trade, holds all of the buying power."""
    limit = Decimal("0.5")
    free = Decimal(world.exchange.buying_power(ACCOUNT, "USD")) / E8
    request = NewOrder(symbol="MSFT", client_order_id="by-hand", side=Side.BUY, limit=limit,
                       order_type=OrderType.LIMIT, quantity=free // limit)  # fmt: skip
    placed = world.exchange.submit(ACCOUNT, request)
    assert isinstance(placed, PlacedOrder), placed
    await play(world, session, 2)
    world.exchange.cancel(ACCOUNT, placed.number)
    await play(world, session, 1)


async def ask_for_more(world: LocalAlpaca, session: MortalSession) -> None:
    submit = world.exchange.submit
    low = Refusal(code=RefusalCode.MIN_NOTIONAL, message="cost basis must be >= minimal amount")
    world.exchange.submit = lambda account, request: low  # pyright: ignore[reportAttributeAccessIssue]
    await play(world, session, 2)
    world.exchange.submit = submit  # pyright: ignore[reportAttributeAccessIssue]
    await play(world, session, 1)


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize(
    ("trouble", "code", "said"),
    [
        (halt, RejectCode.UNSUPPORTED, "halt"),
        (spend, RejectCode.INSUFFICIENT_FUNDS, "insufficient buying power"),
        (ask_for_more, RejectCode.UNSUPPORTED, "minimal amount"),
    ],
)
def test_refused_order_is_rejected_with_the_words_of_the_venue(
    tmp_path: Path, trouble: Trouble, code: RejectCode, said: str
) -> None:
    session = run_to_end(run_troubled(tmp_path, trouble))
    found = rejected(session)
    assert len(found) == 2
    assert all(said in each.reason and each.code is code for each in found), found
    fills = [each for each in read_tape(session.run_dir) if isinstance(each.payload, OrderFilled)]
    assert len(fills) >= 3


@pytest.mark.usefixtures("running")
def test_revoked_key_pauses_and_says_why(tmp_path: Path) -> None:
    async def revoke(world: LocalAlpaca, session: MortalSession) -> None:
        await world.server.revoke(KEY)
        await session.until(lambda shell: not is_quiet(shell))
        rows = session.rows
        await world.player.play_slice()
        await asyncio.sleep(0.3)
        assert session.rows == rows  # it hears nothing, and does nothing
        world.server.admit(KEY, SECRET, ACCOUNT)
        await play(world, session, 2)

    session = run_to_end(run_troubled(tmp_path, revoke))
    told = [each.payload.reason for each in read_tape(session.run_dir)
            if isinstance(each.payload, ConnectionChanged) and not each.payload.is_up]  # fmt: skip
    assert any("keys" in each for each in told), told


@pytest.mark.usefixtures("running")
def test_tape_of_a_running_session_is_locked_for_others(tmp_path: Path) -> None:
    async def intrude(world: LocalAlpaca, session: MortalSession) -> None:
        config = make_config(world, "live")
        with pytest.raises(TryAgain, match="another process writes this tape") as refused:
            await drive_live(config, session.run_dir, make_parts(world, "live"))
        assert str(session.run_dir) in str(refused.value)
        await play(world, session, 2)

    run_to_end(run_troubled(tmp_path, intrude))


@pytest.mark.usefixtures("running")
def test_damaged_tape_goes_on_only_when_it_is_whole_again(tmp_path: Path) -> None:
    async def damage(world: LocalAlpaca, session: MortalSession) -> None:
        session.life.kill()
        await session.bury()
        tape = session.run_dir / "tape.db"
        with closing(sqlite3.connect(tape)) as file:
            (digests,) = file.execute("SELECT digests FROM block WHERE number = 1").fetchone()
            file.execute(_SET_DIGESTS, (bytes(len(digests)),))
            file.commit()
        parts = make_parts(world, "live")
        with pytest.raises(TapeDamaged, match="the tape is damaged: altered at record") as refused:
            await drive_live(make_config(world, "live"), session.run_dir, parts)
        assert refused.value.exit_code == 4
        assert str(tape) in str(refused.value)
        with closing(sqlite3.connect(tape)) as file:
            file.execute(_SET_DIGESTS, (digests,))
            file.commit()
        session.begin()
        await session.until_quiet(1)
        await play(world, session, 2)

    run_to_end(run_troubled(tmp_path, damage))


@pytest.mark.usefixtures("running")
def test_full_disk_ends_the_session_by_one_line_and_it_goes_on_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_file = sqlite_store._open_file  # pyright: ignore[reportPrivateUsage]
    opened: list[sqlite3.Connection] = []

    def remember(*args: Any) -> sqlite3.Connection:
        opened.append(open_file(*args))
        return opened[-1]

    monkeypatch.setattr(sqlite_store, "_open_file", remember)

    async def fill_disk(world: LocalAlpaca, session: MortalSession) -> None:
        connection = opened[-1]
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 1}")
        with pytest.raises(TryAgain, match="the disk is full") as full:
            await play(world, session, 60)
        assert "free space" in str(full.value)
        session.begin()  # there is space again
        await session.until_quiet(1)
        await play(world, session, 2)

    run_to_end(run_troubled(tmp_path, fill_disk))


@pytest.mark.usefixtures("running")
def test_order_that_is_closed_here_and_open_there_is_canceled(tmp_path: Path) -> None:
    """A venue that says that an order is canceled, and has it all the same."""

    async def lie(world: LocalAlpaca, session: MortalSession) -> None:
        shell = session.life.shell
        assert shell is not None
        (resting,) = world.exchange.open_orders(ACCOUNT)
        said = VenueReport(kind=ReportKind.CANCELED, instrument=resting.instrument,
                           client_order_id=resting.client_order_id)  # fmt: skip
        await shell.hear_venue(said)
        await session.until(lambda shell: not world.exchange.open_orders(ACCOUNT))
        await session.until(is_quiet)
        await play(world, session, 2)
        assert len(world.exchange.open_orders(ACCOUNT)) == 1  # another one, which both know

    session = run_to_end(run_troubled(tmp_path, lie, PATIENT))
    told = [(each.payload.is_resolved, each.payload.resolution)
            for each in read_tape(session.run_dir)
            if isinstance(each.payload, Discrepancy)]  # fmt: skip
    assert [each for each, _ in told] == [False, True]
    assert "its cancel is sent" in told[0][1]
