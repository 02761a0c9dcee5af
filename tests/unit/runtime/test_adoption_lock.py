"""Two sessions that would adopt the same orders: the second one is refused."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from onetape.domain.errors import ConfigError
from onetape.domain.instrument import InstrumentId, make_equity
from onetape.domain.numbers import E8
from onetape.runtime.config import SessionConfig
from onetape.runtime.realtime.clock import FeedClock
from onetape.runtime.realtime.control_socket import ask_session
from onetape.runtime.sessions.adapters import build_parts
from onetape.runtime.sessions.adoption_lock import FOLDER, adopting_alone, name_account
from onetape.runtime.sessions.live_run import LiveParts, drive_live
from onetape.runtime.sessions.tape_choice import remove_empty_tape
from onetape.tape.opening import tape_path
from tests.support.fake_feed import FakeFeed
from tests.support.fake_venue import FakeVenue

A, B, C = (InstrumentId(f"{each}.FAKE") for each in "ABC")


def test_other_instruments_and_accounts_are_free_and_the_same_are_not(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    with adopting_alone(one, "account", [A, B]):
        with adopting_alone(other, "account", [C]), adopting_alone(other, "another", [A]):
            pass
        with pytest.raises(ConfigError, match=r"one adopts orders of B\.FAKE at this account"):
            adopting_alone(other, "account", [C, B]).__enter__()
        with adopting_alone(other, "account", [C]):  # what was refused holds nothing
            pass
    with adopting_alone(other, "account", [A, B]):  # who has ended neither
        pass


def test_account_is_told_apart_by_key_and_address_and_tells_no_key() -> None:
    def account(key: str, **reached: Any) -> str:
        connection = {"key": "env:KEY", "secret": "env:SECRET"} | reached
        config = make_config(A, connection=connection)
        return build_parts(config, {"KEY": key, "SECRET": "s"}).account

    pytest.importorskip("alpaca")
    assert account("one-key") == account("one-key")
    names = {account("one-key"), account("another"), account("one-key", endpoint="live"),
             account("one-key", url="http://127.0.0.1:1")}  # fmt: skip
    assert len(names) == 4
    assert not any("key" in each for each in names)
    assert name_account("a", "bc") != name_account("ab", "c")


def make_config(*instruments: InstrumentId, connection: Any = None, **live: Any) -> SessionConfig:
    return SessionConfig.model_validate({
        "mode": "live",
        "clock": {"type": "live"},
        "data": {"source": "alpaca", "timeframe": "1m", "instruments": list(instruments),
                 "connection": connection},
        "execution": {"venue": "alpaca", "connection": connection},
        "risk": {"max_order_quantity": 100},
        "strategies": [{"name": "buy_and_hold", "capital": 1_000}],
        "live": {"power_loss": False, "foreign_orders": "adopt", "look_seconds": 0.1} | live,
    })  # fmt: skip


def make_parts(*instruments: InstrumentId) -> LiveParts:
    defined = [make_equity(each, calendar="24/7") for each in instruments]
    clock = FeedClock()
    return LiveParts(feed=FakeFeed(defined, []), clock=clock, account="account",
                     gateway=FakeVenue(defined, clock.now, 1_000 * E8))  # fmt: skip


def test_second_session_of_an_account_that_adopts_is_refused_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    runs = {name: tmp_path / name for name in ("one", "two", "ignores")}
    for each in runs.values():
        each.mkdir()

    async def begin(name: str, config: SessionConfig) -> asyncio.Task[Any]:
        drives = drive_live(config, runs[name], make_parts(*config.data.instruments))
        session = asyncio.create_task(drives)
        while not (runs[name] / "session.json").exists():
            await asyncio.sleep(0.01)
            if session.done():
                session.result()
        return session

    async def stop(name: str, session: asyncio.Task[Any]) -> None:
        await asyncio.to_thread(ask_session, runs[name], {"action": "stop"})
        await session

    async def run() -> None:
        one = await begin("one", make_config(A, B))
        ignores = await begin("ignores", make_config(A, foreign_orders="ignore"))
        with pytest.raises(ConfigError, match=r"one adopts orders of B\.FAKE at this account"):
            await begin("two", make_config(B, C))
        assert not (runs["two"] / "session.json").exists()
        assert remove_empty_tape(tape_path(runs["two"]))
        await stop("ignores", ignores)
        await stop("one", one)
        await stop("two", await begin("two", make_config(B, C)))

    asyncio.run(run())
    assert len(list((tmp_path / FOLDER).iterdir())) == 3
