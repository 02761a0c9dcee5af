"""Paper and live sessions that hold through a split, at a local Alpaca that carries it out too."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from onetape.control.cli import app
from onetape.domain.errors import ConfigError
from onetape.domain.events import OrderCanceled, Payload, PositionAdjusted, SignalRecorded
from onetape.domain.market import CorporateAction
from onetape.domain.venue import BarClosed, Discrepancy, VenueSnapshot
from onetape.runtime.parity.sentinel import check_parity
from onetape.runtime.realtime import shell
from onetape.runtime.verification import Verdict, verify_tape
from onetape.tape.reader import SqliteTapeReader
from tests.support.alpaca_venue import AAPL, ACCOUNT, KEY, SECRET, LocalAlpaca, local_alpaca
from tests.support.live_processes import LiveProcess, threaded_alpaca, write_config
from tests.support.live_sessions import WARM_UP, start
from tests.support.shared_data import needs_shared
from tests.support.split_days import (
    ACTIONS,
    BEFORE,
    FRIDAY_CLOSE,
    HOLDS,
    MINUTE,
    MONDAY_OPEN,
    make_split_days,
)

pytestmark = needs_shared
HOUR = 60 * MINUTE


def settings(folder: Path, **live: Any) -> dict[str, Any]:
    """Whole sections of a session that holds over the split."""
    (folder / "holds.py").write_text(HOLDS)
    (folder / "actions.csv").write_text(ACTIONS)
    return {
        "data": {"source": "alpaca", "timeframe": "1m", "instruments": [AAPL.id],
                 "corporate_actions": str(folder / "actions.csv"), "path": str(folder)},
        "strategies": [{"name": "holds", "path": str(folder / "holds.py"), "capital": 50_000}],
        "live": {"look_seconds": 0.2, "power_loss": False, "foreign_cash": "stop",
                 "stop_seconds": 1, **live},
    }  # fmt: skip


def read_payloads(run_dir: Path) -> list[Payload]:
    reader = SqliteTapeReader(run_dir / "tape.db")
    try:
        return [each.payload for each in reader.events()]
    finally:
        reader.close()


def check_books(world: LocalAlpaca, status: Any) -> None:
    """Ours are the venue's: lots, and cash to the last unit."""
    books = world.exchange.books(ACCOUNT)
    mine = status["strategies"]["holds"]
    assert mine["positions"] == {AAPL.id: float(books.positions[AAPL.id].lots)}
    cash = books.balances["USD"].total / 1e8
    assert mine["cash"] - 50_000 == pytest.approx(cash - 100_000, abs=1e-6)


def play_through(mode: str, folder: Path, *, rows_late: int = 0, bars: int = 12) -> Path:
    run_dir = folder / mode

    async def run() -> None:
        async with local_alpaca(make_split_days()) as world:
            world.exchange.rows_late = rows_late
            session = await start(world, mode, run_dir, **settings(folder))
            await session.play(BEFORE - WARM_UP - 8)
            if rows_late:  # books differ for some time
                world.player.barriers.remove(session.agree)
            while world.exchange.rows_played < BEFORE + bars:
                if mode == "live" and world.exchange.rows_played == BEFORE:
                    await world.player.play_until(MONDAY_OPEN - HOUR)
                    nothing = {"ahead": [], "missed": [], "problem": ""}
                    await session.until(0, open_orders=0, actions=nothing)
                if not rows_late or world.exchange.rows_played > BEFORE + 3:
                    await session.play(1)
                    continue
                came = (await session.ask("status"))["bars"]
                await world.player.play_rows(1)
                await session.until(came + 1)
                await asyncio.sleep(0.5)  # some looks
            if mode == "live":
                await asyncio.sleep(0.6)  # some looks
                now = await session.until(0, paused=[])
                check_books(world, now)
            now = await session.ask("actions")
            assert now == {"ahead": [], "missed": [], "problem": ""}
            await session.stop()

    asyncio.run(run())
    return run_dir


@pytest.mark.parametrize("mode", ["paper", "live"])
def test_session_holds_through_a_split(tmp_path: Path, mode: str) -> None:
    run_dir = play_through(mode, tmp_path)
    payloads = read_payloads(run_dir)
    (action,) = [each for each in payloads if isinstance(each, CorporateAction)]
    (adjusted,) = [each for each in payloads if isinstance(each, PositionAdjusted)]
    assert (adjusted.lots, adjusted.amount) == (77, 0)
    if mode == "paper":
        assert action.ts_known == MONDAY_OPEN
    canceled = [each for each in payloads if isinstance(each, OrderCanceled)]
    assert len(canceled) == 2
    told = [each for each in payloads if isinstance(each, SignalRecorded)]
    at = next(number for number, each in enumerate(told) if each.name == "split")
    assert told[at].value == 77
    assert told[at + 1].value == pytest.approx(told[at - 1].value / 7, abs=0.01)
    assert not [each for each in payloads if isinstance(each, Discrepancy)]
    found = verify_tape(run_dir / "tape.db")
    assert found.verdict is Verdict.IDENTICAL, found.what
    parity = check_parity(run_dir / "tape.db")
    assert parity.comparison is not None
    assert parity.exit_code == 0, parity


def test_broker_that_adjusts_late_stops_nothing(tmp_path: Path) -> None:
    """For two minutes it shows 11 shares at prices of 77: that is waited for."""
    run_dir = play_through("live", tmp_path, rows_late=2)
    payloads = read_payloads(run_dir)
    looks = [{each.instrument: each.lots for each in one.positions}[AAPL.id]
             for one in payloads if isinstance(one, VenueSnapshot) and one.positions]  # fmt: skip
    at = next(number for number, each in enumerate(payloads) if isinstance(each, CorporateAction))
    behind = [each for each in payloads[at:] if isinstance(each, VenueSnapshot)]
    assert [each.lots for each in behind[0].positions] == [11]
    assert looks[-1] > 11
    assert not [each for each in payloads if isinstance(each, Discrepancy)]
    assert verify_tape(run_dir / "tape.db").verdict is Verdict.IDENTICAL


def test_broker_that_adjusts_early_pauses_until_the_day(tmp_path: Path) -> None:
    """Before our books have it nobody can know that it is the split: nothing opens until then."""
    run_dir = play_through("live", tmp_path, rows_late=-3)
    found = [each for each in read_payloads(run_dir) if isinstance(each, Discrepancy)]
    assert [(each.ours, each.theirs, each.is_resolved) for each in found] == [
        (11, 77, False), (0, 0, True)
    ]  # fmt: skip
    assert verify_tape(run_dir / "tape.db").verdict is Verdict.IDENTICAL


def test_killed_before_a_split_it_is_carried_out_at_the_return(tmp_path: Path) -> None:
    """It takes place between the bars that were missed: those before and those behind it."""
    sections = settings(tmp_path)
    with threaded_alpaca(make_split_days(), 20) as world:
        changes = {
            "data.corporate_actions": sections["data"]["corporate_actions"],
            "strategies": sections["strategies"], "live.look_seconds": 0.2,
        }  # fmt: skip
        write_config(tmp_path / "live.json", world.world.server.rest_url, **changes)
        keys = {"LOCAL_KEY": KEY, "LOCAL_SECRET": SECRET, **os.environ}
        first = LiveProcess(tmp_path, "live.json", **keys)
        came = first.until_trading(1)["bars"]
        now: Mapping[str, Any] = {}
        for number in range(1, BEFORE - 20 - 4 + 1):
            world.play_slices(1)
            now = first.until_trading(came + number)
            time.sleep(0.05)  # an order leaves before the next bar
        assert now["strategies"]["holds"]["positions"] == {AAPL.id: 11}
        first.kill()
        world.play_slices(4 + 3)
        second = LiveProcess(tmp_path, "--resume", str(first.run_dir), **keys)
        now = second.until_trading(came + BEFORE - 20 + 3)
        assert now["strategies"]["holds"]["positions"] == {AAPL.id: 77}
        world.play_slices(2)
        second.until_trading(came + BEFORE - 20 + 5)
        assert second.stop() == 0
    payloads = read_payloads(first.run_dir)
    at = next(number for number, each in enumerate(payloads) if isinstance(each, CorporateAction))
    bars = [each for each in payloads[:at] if isinstance(each, BarClosed)]
    assert [bars[-1].ts_close, bars[-1].is_history] == [FRIDAY_CLOSE, True]
    found = verify_tape(first.run_dir / "tape.db")
    assert found.verdict is Verdict.IDENTICAL, found.what


def bring(folder: Path, text: str) -> None:
    """Into the catalog, as an operator does while the session runs."""
    file = folder / "new.csv"
    file.write_text(text)
    told = CliRunner().invoke(app, [
        "data", "import-records", str(file), "--kind", "corporate_actions",
        "--catalog", str(folder / "catalog"), "--whole",
    ])  # fmt: skip
    assert told.exit_code == 0, told.output


def from_catalog(folder: Path) -> dict[str, Any]:
    sections = settings(folder)
    sections["data"] |= {"corporate_actions": "catalog", "path": str(folder / "catalog")}
    return sections


DIVIDEND, SPLIT = ACTIONS.splitlines(keepends=True)[1:]
HEAD = ACTIONS.splitlines(keepends=True)[0]


def test_actions_that_the_catalog_gets_while_it_runs_are_read_at_an_operators_word(
    tmp_path: Path,
) -> None:
    """What is wrong there is told, and those of before are waited for on."""
    bring(tmp_path, HEAD + DIVIDEND)

    async def run() -> None:
        async with local_alpaca(make_split_days()) as world:
            session = await start(world, "paper", tmp_path / "run", **from_catalog(tmp_path))
            await session.play(BEFORE - WARM_UP - 8)
            assert (await session.ask("actions"))["ahead"] == []
            await asyncio.to_thread(bring, tmp_path, HEAD + DIVIDEND + SPLIT)
            ahead = ["AAPL.ALPACA split at 2014-06-09T13:30:00Z"]
            assert (await session.ask("actions"))["ahead"] == ahead
            wrong = SPLIT.replace(",7,1,", ",-7,1,")
            await asyncio.to_thread(bring, tmp_path, HEAD + DIVIDEND + wrong)
            with pytest.raises(ConfigError, match="not positive"):
                await session.ask("actions")
            now = await session.ask("status")
            assert now["actions"]["ahead"] == ahead
            assert "not positive" in now["actions"]["problem"]
            while world.exchange.rows_played < BEFORE + 2:
                await session.play(1)
            now = await session.ask("status")
            assert now["strategies"]["holds"]["positions"] == {AAPL.id: 77}
            await session.stop()

    asyncio.run(run())
    assert verify_tape(tmp_path / "run" / "tape.db").verdict is Verdict.IDENTICAL


def test_catalog_is_read_anew_before_a_day_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shell, "_ACTIONS_SECONDS", 0.02)
    bring(tmp_path, HEAD + DIVIDEND)

    async def run() -> None:
        async with local_alpaca(make_split_days()) as world:
            session = await start(world, "paper", tmp_path / "run", **from_catalog(tmp_path))
            await world.player.play_until(FRIDAY_CLOSE)
            await asyncio.to_thread(bring, tmp_path, HEAD + DIVIDEND + SPLIT)
            now = await session.ask("status")
            assert now["actions"]["ahead"] == []
            assert now["strategies"]["holds"]["cold"] == []
            await world.player.play_until(MONDAY_OPEN - 11 * HOUR)  # half past ten in the evening
            await asyncio.sleep(0.2)
            await world.player.play_until(MONDAY_OPEN - 10 * HOUR)
            ahead = ["AAPL.ALPACA split at 2014-06-09T13:30:00Z"]
            await session.until(0, actions={"ahead": ahead, "missed": [], "problem": ""})
            await session.stop()

    asyncio.run(run())


def test_action_that_comes_behind_its_first_row_is_told_as_missed(tmp_path: Path) -> None:
    bring(tmp_path, HEAD + DIVIDEND)

    async def run() -> None:
        async with local_alpaca(make_split_days()) as world:
            session = await start(world, "paper", tmp_path / "run", **from_catalog(tmp_path))
            while world.exchange.rows_played < BEFORE + 1:
                await session.play(1)
            await asyncio.to_thread(bring, tmp_path, HEAD + DIVIDEND + SPLIT)
            told = await session.ask("actions")
            assert told["missed"] == ["AAPL.ALPACA split at 2014-06-09T13:30:00Z"]
            assert told["ahead"] == []
            await session.stop()

    asyncio.run(run())
