"""Paper and live sessions that hold through a split, at a local Alpaca that carries it out too."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest

from onetape.domain.events import OrderCanceled, Payload, PositionAdjusted, SignalRecorded
from onetape.domain.market import CorporateAction
from onetape.domain.venue import Discrepancy
from onetape.runtime.parity.sentinel import check_parity
from onetape.runtime.verification import Verdict, verify_tape
from onetape.tape.reader import SqliteTapeReader
from tests.support.alpaca_venue import AAPL, ACCOUNT, LocalAlpaca, local_alpaca
from tests.support.live_sessions import WARM_UP, RunningSession, make_config, start
from tests.support.shared_data import needs_shared
from tests.support.split_days import ACTIONS, BEFORE, BEHIND, HOLDS, MONDAY_OPEN, make_split_days

pytestmark = needs_shared


def settings(folder: Path, **live: Any) -> dict[str, Any]:
    """Whole sections of a session that holds over the split."""
    (folder / "holds.py").write_text(HOLDS)
    (folder / "actions.csv").write_text(ACTIONS)
    return {
        "data": {"source": "alpaca", "timeframe": "1m", "instruments": [AAPL.id],
                 "corporate_actions": str(folder / "actions.csv"), "path": str(folder)},
        "strategies": [{"name": "holds", "path": str(folder / "holds.py"), "capital": 50_000}],
        "live": {"look_seconds": 0.2, "power_loss": False, "foreign_cash": "stop", **live},
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


def play_through(mode: str, folder: Path, *, rows_late: int = 0, bars: int = BEHIND) -> Path:
    run_dir = folder / mode

    async def run() -> None:
        async with local_alpaca(make_split_days()) as world:
            world.exchange.rows_late = rows_late
            session = await start(world, mode, run_dir, **settings(folder))
            await session.play(BEFORE - WARM_UP - 2)
            for _ in range(bars):
                before = world.exchange.rows_played
                if rows_late and before <= BEFORE + rows_late:
                    await world.player.play_rows(1)
                    await session.until(before - 1)
                    continue
                await session.play(1)
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
