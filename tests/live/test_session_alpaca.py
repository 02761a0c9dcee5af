"""Paper and live sessions at a local Alpaca, through Alpaca's own client library."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from onetape.domain.events import OrderFilled, OrderSubmitted
from onetape.runtime.verification import Verdict, verify_tape
from onetape.tape.reader import SqliteTapeReader
from tests.support.alpaca_venue import AAPL, ACCOUNT, local_alpaca
from tests.support.live_books import held_lots
from tests.support.live_sessions import start

BARS = 60


def read_orders(run_dir: Path) -> list[tuple[int, int]]:
    """(side, lots) of each order that a session sent."""
    reader = SqliteTapeReader(run_dir / "tape.db")
    try:
        return [(each.payload.side.value, each.payload.lots) for each in reader.events()
                if isinstance(each.payload, OrderSubmitted)]  # fmt: skip
    finally:
        reader.close()


def read_fills(run_dir: Path) -> list[tuple[int, int, int]]:
    """(side, lots, ticks) of each fill."""
    reader = SqliteTapeReader(run_dir / "tape.db")
    try:
        return [(each.payload.side.value, each.payload.lots, each.payload.ticks)
                for each in reader.events() if isinstance(each.payload, OrderFilled)]  # fmt: skip
    finally:
        reader.close()


def run_session(mode: str, run_dir: Path) -> None:
    async def run() -> None:
        async with local_alpaca() as world:
            session = await start(world, mode, run_dir)
            await session.play(BARS)
            result = await session.stop()
            assert result.reason == "stopped by an operator"
            if mode == "live":
                lots = sum(side * lots for side, lots, _ in read_fills(run_dir))
                held = world.exchange.books(ACCOUNT).positions.get(AAPL.id)
                assert lots == (held.lots if held is not None else 0)

    asyncio.run(run())


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    parent = tmp_path_factory.mktemp("runs")
    for mode in ("paper", "live"):
        run_session(mode, parent / mode)
    return {mode: parent / mode for mode in ("paper", "live")}


@pytest.mark.parametrize("mode", ["paper", "live"])
def test_tape_of_a_session_verifies(runs: dict[str, Path], mode: str) -> None:
    found = verify_tape(runs[mode] / "tape.db")
    assert found.verdict is Verdict.IDENTICAL, found.what
    assert found.decisions >= 5


def test_paper_and_live_decide_and_fill_the_same(runs: dict[str, Path]) -> None:
    assert read_orders(runs["paper"]) == read_orders(runs["live"])
    assert read_fills(runs["paper"]) == read_fills(runs["live"])
    assert len(read_fills(runs["live"])) >= 5


def test_flatten_cancels_closes_and_pauses(tmp_path: Path) -> None:
    """Through the command's own socket; the session is paused behind it, and verifies."""

    async def run() -> None:
        async with local_alpaca() as world:
            session = await start(world, "live", tmp_path / "run")
            for _ in range(BARS):
                await session.play(1)
                if held_lots(world.exchange, ACCOUNT):
                    break
            await session.ask("flatten", strategy="", reason="enough")
            await session.play(2)
            assert not held_lots(world.exchange, ACCOUNT)
            assert not world.exchange.open_orders(ACCOUNT)
            orders = len(world.exchange.orders(ACCOUNT))
            await session.play(30)
            assert len(world.exchange.orders(ACCOUNT)) == orders
            now = await session.ask("status")
            assert [each["state"] for each in now["strategies"].values()] == ["paused"]
            await session.stop()

    asyncio.run(run())
    found = verify_tape(tmp_path / "run" / "tape.db")
    assert found.verdict is Verdict.IDENTICAL, found.what
