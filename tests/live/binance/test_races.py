"""A look, a replace and a cancel of one order that meet on their way to Binance."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from onetape.execution.binance.gateway import BinanceGateway
from onetape.marketdata.feeds.binance_client import NoAnswer
from tests.live.binance.test_commands import partly_filled_world
from tests.support.binance_live import K, World, cancel, order, replace, run, told

Step = Callable[[], Awaitable[None]]


class Meeting:
    """Runs something before or behind the n-th question of a kind; `lost` answers are lost."""

    def __init__(self, gateway: BinanceGateway) -> None:
        self.before: dict[tuple[str, str, int], Step] = {}
        self.behind: dict[tuple[str, str, int], Step] = {}
        self.lost: set[tuple[str, str, int]] = set()
        self.asked: dict[tuple[str, str], int] = {}
        self._ask = gateway._client.ask
        gateway._client.ask = self.ask  # type: ignore[method-assign]

    async def ask(self, method: str, path: str, *args: Any, **more: Any) -> Any:
        count = self.asked[method, path] = self.asked.get((method, path), 0) + 1
        key = (method, path, count)
        if key in self.before:
            await self.before[key]()
        answer: Any = None
        refusal: Exception | None = None
        try:
            answer = await self._ask(method, path, *args, **more)
        except Exception as error:  # noqa: BLE001 - raised again below
            refusal = error
        if key in self.behind:
            await self.behind[key]()
        if key in self.lost:
            raise NoAnswer("the answer is lost")
        if refusal is not None:
            raise refusal
        return answer


class Held:
    """Account events that wait until they are let go."""

    def __init__(self, gateway: BinanceGateway) -> None:
        self._on_event = gateway._stream._on_event
        self._waiting: list[dict[str, Any]] | None = None
        gateway._stream._on_event = self.hear

    def hold(self) -> None:
        self._waiting = []

    async def hear(self, event: dict[str, Any]) -> None:
        if self._waiting is None:
            await self._on_event(event)
        else:
            self._waiting.append(event)

    async def let_go(self) -> None:
        await asyncio.sleep(0.05)  # they have come by then
        waiting, self._waiting = self._waiting or [], None
        for each in waiting:
            await self._on_event(each)


@pytest.mark.parametrize("when", ["before", "behind"])
def test_cancel_meets_the_successor_of_a_replace_that_was_not_answered(when: str) -> None:
    """The order that was replaced is canceled; that is not the end of ours."""

    async def test() -> None:
        world = World()
        async with world.gateway() as gateway:
            meeting, held = Meeting(gateway), Held(gateway)
            one = order(1, limit=3_000_000)
            await gateway.submit(one)
            await world.until_kinds(K.ACCEPTED)
            held.hold()
            meeting.lost.add(("POST", "order/cancelReplace", 1))
            await gateway.replace(replace(one, limit=3_100_000), one)
            step = meeting.before if when == "before" else meeting.behind
            step["GET", "order", 1] = held.let_go  # what became of the order that was canceled?
            await gateway.cancel(cancel(one), one)
            await world.until_kinds(K.ACCEPTED, K.UNANSWERED, K.REPLACED, K.CANCELED)
            assert world.exchange.open_orders("me") == []

    run(test)


def test_replace_meets_the_successor_of_one_that_was_not_answered() -> None:
    async def test() -> None:
        world = World()
        async with world.gateway() as gateway:
            meeting, held = Meeting(gateway), Held(gateway)
            one = order(1, limit=3_000_000)
            await gateway.submit(one)
            await world.until_kinds(K.ACCEPTED)
            held.hold()
            meeting.lost.add(("POST", "order/cancelReplace", 1))
            await gateway.replace(replace(one, limit=3_100_000), one)
            meeting.behind["GET", "order", 1] = held.let_go
            await gateway.replace(replace(one, limit=3_200_000), one)
            await world.until_kinds(K.ACCEPTED, K.UNANSWERED, K.REPLACED, K.REPLACE_REJECTED)
            seen = await gateway.look("test", [one], 0)
            assert [each.limit_ticks for each in seen.orders] == [3_100_000]
            await gateway.cancel(cancel(one), one)
            assert world.exchange.open_orders("me") == []

    run(test)


def test_look_between_the_halves_of_a_replace_does_not_end_the_order() -> None:
    """A partly filled order is canceled and sent anew: between the two there is none."""

    async def test() -> None:
        world = partly_filled_world()
        async with world.gateway() as gateway:
            meeting = Meeting(gateway)
            one = order(1, limit=4_000_000, lots=150_000)
            await gateway.submit(one)
            await world.play()
            await world.until_kinds(K.ACCEPTED, K.FILLED)
            looks: list[asyncio.Task[Any]] = []

            async def look() -> None:
                looks.append(asyncio.create_task(gateway.look("test", [one], 0)))
                await asyncio.sleep(0.1)

            meeting.before["POST", "order", 2] = look
            await gateway.replace(replace(one, limit=3_900_000), one)
            seen = await looks[0]
            assert K.CANCELED not in told(seen)
            assert [each.limit_ticks for each in seen.orders] == [3_900_000]
            await world.until_kinds(K.ACCEPTED, K.FILLED, K.REPLACED)
            await gateway.cancel(cancel(one), one)
            assert world.exchange.open_orders("me") == []

    run(test)


def test_look_before_a_new_order_arrives_does_not_forget_it() -> None:
    """It may wait for the venue's limits while a look overtakes it."""

    async def test() -> None:
        world = World()
        async with world.gateway() as gateway:
            meeting = Meeting(gateway)
            one = order(1, limit=3_000_000)
            looks: list[asyncio.Task[Any]] = []

            async def look() -> None:
                looks.append(asyncio.create_task(gateway.look("test", [one], 0)))
                await asyncio.sleep(0.1)

            meeting.before["POST", "order", 1] = look
            await gateway.submit(one)
            assert told(await looks[0]) == []
            await gateway.cancel(cancel(one), one)
            await world.until_kinds(K.ACCEPTED, K.CANCELED)
            assert world.exchange.open_orders("me") == []

    run(test)
