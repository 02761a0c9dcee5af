"""The live feed through alpaca-py's streams against a local Alpaca."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import numpy as np
import pytest
from pydantic import SecretStr

from onetape.domain.errors import ConfigError, DataError
from onetape.domain.instrument import Instrument, InstrumentId, make_spot
from onetape.domain.market import AggressorSide, Quality, QuoteTick, TradeTick
from onetape.domain.timestamps import from_iso
from onetape.domain.venue import BarClosed, ConnectionChanged
from onetape.marketdata.feeds.alpaca import AlpacaFeed
from onetape.marketdata.feeds.alpaca_connection import AlpacaDataAccess
from onetape.marketdata.feeds.port import FeedEvent, PassedOver
from tests.support.alpaca_venue import (
    AAPL,
    KEY,
    MINUTE,
    MSFT,
    SECRET,
    LocalAlpaca,
    local_alpaca,
    make_minutes,
)

BTC = make_spot("BTCUSD.ALPACA", base="BTC", quote="USD", tick_size="0.01", lot_size="0.0001")


class Heard(list[FeedEvent]):
    """What a feed has told; may wait or raise for a test."""

    async def take(self, event: FeedEvent) -> None:
        self.append(event)

    @property
    def bars(self) -> list[BarClosed]:
        return [each for each in self if isinstance(each, BarClosed)]

    @property
    def changes(self) -> list[ConnectionChanged]:
        return [each for each in self if isinstance(each, ConnectionChanged)]


def access(world: LocalAlpaca, **changes: Any) -> AlpacaDataAccess:
    server = world.server
    usual = AlpacaDataAccess(
        key=SecretStr(KEY), secret=SecretStr(SECRET), base_url=server.rest_url,
        assets_url=server.rest_url,
        stream_url=server.data_stream_url, pair_stream_url=server.crypto_stream_url,
        first_wait_s=0.01, longest_wait_s=0.05, answer_s=5.0, attempts=2, per_minute=1e6,
    )  # fmt: skip
    return msgspec.structs.replace(usual, **changes)


@asynccontextmanager
async def running(
    world: LocalAlpaca,
    timeframe: str = "1m",
    *,
    instruments: Sequence[Instrument] = (),
    history: int = 0,
    **changes: Any,
) -> AsyncIterator[tuple[AlpacaFeed, Heard]]:
    """A feed that has subscribed."""
    feed, heard = AlpacaFeed(access(world, **changes), lambda: world.exchange.now), Heard()
    wanted = instruments or world.instruments
    if history:
        await feed.read_history(wanted, timeframe, history)
    task = asyncio.create_task(feed.run(wanted, timeframe, heard.take))
    try:
        await world.until(lambda: bool(heard.changes) or task.done(), "a subscription")
        if task.done():
            await task
        yield feed, heard
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_history_is_the_newest_closed_bars_in_order() -> None:
    async def run() -> None:
        async with local_alpaca(make_minutes(AAPL, MSFT), rows=60, is_open=False) as world:
            feed = AlpacaFeed(access(world), lambda: world.exchange.now)
            bars = await feed.read_history(world.instruments, "1m", 5)
            assert [each.instrument for each in bars] == [AAPL.id, MSFT.id] * 5
            assert bars[-1].ts_close == world.exchange.now
            assert all(each.is_history and each.ts_known == 0 for each in bars)
            row = world.exchange.rows("AAPL")[-1].event
            assert bars[-2].close == row.close  # type: ignore[union-attr]
            assert bars[-2].session_close == from_iso("2024-03-11T20:00:00Z")

    asyncio.run(run())


def test_bars_come_once_and_in_order() -> None:
    async def run() -> None:
        async with (
            local_alpaca(make_minutes(AAPL, MSFT), rows=4, is_open=False) as world,
            running(world) as (_, heard),
        ):
            await world.play(20)
            await world.until(lambda: len(heard.bars) == 20, "twenty bars")
            for instrument in (AAPL.id, MSFT.id):
                own = [each for each in heard.bars if each.instrument == instrument]
                assert np.diff([each.ts_open for each in own]).tolist() == [MINUTE] * 9
                assert {each.source for each in own} == {"alpaca/iex:stream"}
                assert {each.quality for each in own} == {0}
            assert heard.changes[0].is_up

    asyncio.run(run())


def test_bars_between_history_and_the_stream_are_fetched() -> None:
    async def run() -> None:
        async with local_alpaca(rows=10, is_open=False) as world:
            feed, heard = AlpacaFeed(access(world), lambda: world.exchange.now), Heard()
            history = await feed.read_history(world.instruments, "1m", 3)
            await world.play(4)
            task = asyncio.create_task(feed.run(world.instruments, "1m", heard.take))
            await world.until(lambda: len(heard.bars) == 4)
            await world.play(1)
            await world.until(lambda: len(heard.bars) == 5)
            task.cancel()
            opens = [each.ts_open for each in (*history, *heard.bars)]
            assert np.diff(opens).tolist() == [MINUTE] * 7
            assert [each.source.rpartition(":")[2] for each in heard.bars] == [
                *["rest"] * 4, "stream",
            ]  # fmt: skip

    asyncio.run(run())


def test_bars_missed_while_away_come_before_the_next_one() -> None:
    async def run() -> None:
        async with local_alpaca(rows=4, is_open=False) as world, running(world) as (_, heard):
            await world.play(2)
            await world.until(lambda: len(heard.bars) == 2)
            await world.server.restart(0.1)
            await world.play(5)
            await world.until(lambda: len(heard.bars) == 7, "the gap")
            await world.play(1)
            await world.until(lambda: len(heard.bars) == 8)
            assert np.diff([each.ts_open for each in heard.bars]).tolist() == [MINUTE] * 7
            assert [each.is_up for each in heard.changes] == [True, False, True]
            kinds = [isinstance(each, ConnectionChanged) for each in heard]
            assert kinds == [True, False, False, True, True, *[False] * 6]

    asyncio.run(run())


def test_bar_that_never_came_is_fetched_when_the_next_shows_it_behind_a_reconnect() -> None:
    """The minute during which the connection came back: neither history nor stream had it yet."""

    async def run() -> None:
        async with local_alpaca(rows=4, is_open=False) as world, running(world) as (_, heard):
            await world.play(1)
            await world.until(lambda: len(heard.bars) == 1)
            await world.server.restart(0.0)
            await world.until(lambda: len(heard.changes) == 3, "up again")
            world.server._outage_rows = 1  # pyright: ignore[reportPrivateUsage]
            await world.play(2)
            await world.until(lambda: len(heard.bars) == 3)
            assert np.diff([each.ts_open for each in heard.bars]).tolist() == [MINUTE] * 2
            assert [each.source[-4:] for each in heard.bars] == ["ream", "rest", "ream"]

    asyncio.run(run())


def test_gap_that_history_does_not_fill_is_marked() -> None:
    async def run() -> None:
        async with (
            local_alpaca(rows=4, is_open=False) as world,
            running(world, base_url="http://127.0.0.1:9") as (_, heard),
        ):
            await world.play(1)
            await world.until(lambda: len(heard.bars) == 1)
            await world.server.restart(0.05)
            await world.play(2)
            await world.until(lambda: len(heard.changes) == 3, "up again")
            await world.play(2)
            await world.until(lambda: len(heard.bars) == 3)
            assert [each.quality for each in heard.bars] == [0, int(Quality.GAP_BEFORE), 0]

    asyncio.run(run())


def test_corrected_bar_is_not_told_again_and_a_lost_one_is_told_late() -> None:
    async def run() -> None:
        async with (
            local_alpaca(rows=4, is_open=False) as world,
            running(world) as (feed, heard),
        ):
            await world.play(1)
            await world.until(lambda: len(heard.bars) == 1)
            first = heard.bars[0]
            update = {"t": first.ts_open, "o": 1.0, "h": 9.0, "l": 1.0, "c": 9.0, "v": 7}
            world.server.tell_market("u", "AAPL", update)
            world.server.tell_market("u", "AAPL", update | {"t": first.ts_close})
            world.server.tell_market("b", "AAPL", update | {"t": first.ts_close})
            await world.until(lambda: len(heard.bars) == 2)
            await asyncio.sleep(0.05)
            assert [each.quality for each in heard.bars] == [0, int(Quality.LATE)]
            assert heard.bars[1].ts_open == first.ts_close
            assert feed.corrected == 1

    asyncio.run(run())


def test_bars_outside_of_the_session_are_left_out_unless_asked_for() -> None:
    async def run(session_only: bool) -> tuple[int, list[PassedOver]]:
        async with (
            local_alpaca(rows=4, is_open=False) as world,
            running(world, session_only=session_only) as (_, heard),
        ):
            bar = {"o": 1.0, "h": 9.0, "l": 1.0, "c": 9.0, "v": 7}
            for text in ("2024-03-11T19:59:00Z", "2024-03-11T20:00:00Z"):
                world.server.tell_market("b", "AAPL", bar | {"t": from_iso(text)})
            await world.until(lambda: bool(heard.bars))
            await asyncio.sleep(0.05)
            passed = [each for each in heard if isinstance(each, PassedOver)]
            return len(heard.bars), passed

    closed = PassedOver(InstrumentId("AAPL.ALPACA"), from_iso("2024-03-11T20:01:00Z"))
    assert asyncio.run(run(session_only=True)) == (1, [closed])
    assert asyncio.run(run(session_only=False)) == (2, [])


def test_quotes_and_trades_keep_order_and_nanoseconds() -> None:
    async def run() -> None:
        async with (
            local_alpaca(rows=4, is_open=False) as world,
            running(world, "quotes+trades") as (_, heard),
        ):
            at = from_iso("2024-03-11T14:30:00.000000001Z")
            trade = {"i": 5, "x": "V", "p": 100.5, "s": 100, "c": ["@"], "z": "A"}
            quote = {"bx": "V", "bp": 100.4, "bs": 2, "ax": "Q", "ap": 100.6, "as": 3, "z": "A"}
            tell = world.server.tell_market
            tell("q", "AAPL", quote | {"t": at})
            tell("t", "AAPL", trade | {"t": at + 9})
            tell("t", "AAPL", trade | {"t": at + 9})
            tell("t", "AAPL", trade | {"t": at + 4, "i": 6})
            await world.until(lambda: len(heard) == 4)
            first, second, late = heard[1:]
            assert first == QuoteTick(
                instrument=AAPL.id, ts_event=at, ts_known=0, bid=100.4, ask=100.6, bid_size=2.0,
                ask_size=3.0, source="alpaca/iex:stream/A", ts_ingest=world.exchange.now,
            )  # fmt: skip
            assert second == TradeTick(
                AAPL.id, at + 9, 0, 100.5, 100.0, AggressorSide.UNKNOWN, "V/5",
                "alpaca/iex:stream/A", world.exchange.now,
            )  # fmt: skip
            assert isinstance(late, TradeTick)
            assert (late.ts_event, late.quality) == (at + 9, int(Quality.LATE))

    asyncio.run(run())


def test_change_of_the_only_connection_is_of_everything() -> None:
    """Then a session pauses; of one connection beside another only its instruments are told."""

    async def run() -> None:
        async with (
            local_alpaca(rows=4, is_open=False) as world,
            running(world) as (_, heard),
        ):
            assert [each.instruments for each in heard.changes] == [[]]
        async with (
            local_alpaca(make_minutes(AAPL, BTC), rows=4, is_open=False) as world,
            running(world) as (_, heard),
        ):
            await world.until(lambda: len(heard.changes) == 2, "both")
            told = sorted(each.instruments for each in heard.changes)
            assert told == [[AAPL.id], [BTC.id]]

    asyncio.run(run())


def test_silence_while_the_market_is_open_is_told_and_ends_with_data() -> None:
    async def run() -> None:
        async with (
            local_alpaca(rows=4, is_open=False) as world,
            running(world, silence_s=0.2) as (_, heard),
        ):
            await world.until(lambda: len(heard.changes) == 2, "silence")
            assert "no market data for 0.2 s" in heard.changes[1].reason
            while len(heard.changes) == 2:  # it connects again and again, and may miss a bar
                await world.play(1)
                await asyncio.sleep(0.05)
            assert [each.is_up for each in heard.changes][:3] == [True, False, True]

    asyncio.run(run())


def test_silence_outside_of_sessions_is_no_silence() -> None:
    async def run() -> None:
        async with local_alpaca(rows=4, is_open=False) as world:
            world.exchange.now = from_iso("2024-03-11T23:00:00Z")
            async with running(world, silence_s=0.1) as (_, heard):
                await asyncio.sleep(0.4)
                assert len(heard) == 1

    asyncio.run(run())


def test_wrong_keys_are_one_config_error() -> None:
    async def run() -> None:
        async with local_alpaca(rows=4, is_open=False) as world:
            with pytest.raises(ConfigError, match="refuses the keys") as caught:
                async with running(world, secret=SecretStr("not-the-secret")):
                    pass
            assert "not-the-secret" not in str(caught.value)

    asyncio.run(run())


def test_key_revoked_in_mid_session_is_told_and_the_feed_goes_on_trying() -> None:
    async def run() -> None:
        async with local_alpaca(rows=4, is_open=False) as world, running(world) as (_, heard):
            await world.server.revoke(KEY)
            await world.until(lambda: len(heard.changes) == 3, "why it is down")
            assert [each.is_up for each in heard.changes] == [True, False, False]
            assert "refuses the keys" in heard.changes[2].reason
            world.server._keys[KEY] = (SECRET, "me")  # pyright: ignore[reportPrivateUsage]
            await world.until(lambda: heard.changes[-1].is_up, "up with the key")

    asyncio.run(run())


def test_what_alpaca_does_not_stream_is_refused_by_name() -> None:
    async def run() -> None:
        async with local_alpaca(rows=4, is_open=False) as world:
            feed = AlpacaFeed(access(world), lambda: world.exchange.now)
            with pytest.raises(DataError, match="no live bars of 5m"):
                await feed.run(world.instruments, "5m", Heard().take)
            with pytest.raises(DataError, match="no depth"):
                await feed.run(world.instruments, "book", Heard().take)
            with pytest.raises(DataError, match="did you mean 'AAPL'"):
                await feed.define([InstrumentId("AAPLX.ALPACA")])
            with pytest.raises(ConfigError, match="no feed 'otc'"):
                await AlpacaFeed(access(world, feed="otc"), lambda: 0).run(
                    world.instruments, "1m", Heard().take
                )

    asyncio.run(run())


def test_pairs_and_equities_have_a_connection_each() -> None:
    async def run() -> None:
        timeline = make_minutes(AAPL, BTC)
        async with (
            local_alpaca(timeline, rows=4, is_open=False) as world,
            running(world) as (feed, heard),
        ):
            await world.until(lambda: len(heard.changes) == 2)
            await world.play(4)
            await world.until(lambda: len(heard.bars) == 4)
            assert [each.instruments for each in heard.changes] in (
                [[AAPL.id], [BTC.id]], [[BTC.id], [AAPL.id]],
            )  # fmt: skip
            (defined,) = await feed.define([BTC.id])
            assert (defined.tick_size, defined.lot_size) == (BTC.tick_size, BTC.lot_size)
            assert (defined.base_currency, defined.calendar) == ("BTC", "24/7")

    asyncio.run(run())


def test_session_that_raises_ends_the_feed_with_its_error() -> None:
    async def run() -> None:
        async with local_alpaca(rows=4, is_open=False) as world:
            feed = AlpacaFeed(access(world), lambda: world.exchange.now)

            heard = Heard()

            async def broken(event: FeedEvent) -> None:
                heard.append(event)
                if heard.bars:
                    raise KeyError("the session is broken")

            task = asyncio.create_task(feed.run(world.instruments, "1m", broken))
            await world.until(lambda: world.server.clients == 1)
            await asyncio.sleep(0.05)
            await world.play(1)
            with pytest.raises(KeyError, match="the session is broken"):
                await asyncio.wait_for(task, 30)

    asyncio.run(run())
