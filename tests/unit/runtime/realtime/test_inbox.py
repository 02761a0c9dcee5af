"""The inbox keeps the order, holds tellers back, and lets each of them have its turn."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.runtime.realtime.inbox import Inbox


def items(inbox: Inbox[str], most: int = 100) -> list[str]:
    return [item for _, item in inbox.take(most)]


@settings(max_examples=50, deadline=None)
@given(
    told=st.lists(st.lists(st.integers(), max_size=30), min_size=1, max_size=4),
    size=st.integers(1, 8),
    most=st.integers(1, 9),
)
def test_every_teller_is_heard_in_its_order(told: list[list[int]], size: int, most: int) -> None:
    async def run() -> list[tuple[int, int]]:
        inbox = Inbox[tuple[int, int]](size)

        async def tell(who: int) -> None:
            for each in told[who]:
                await inbox.put((who, each))

        tasks = [asyncio.create_task(tell(who)) for who in range(len(told))]
        heard: list[tuple[int, int]] = []
        while len(heard) < sum(map(len, told)):
            await inbox.wait(None)
            assert len(inbox) <= size
            heard += [item for _, item in inbox.take(most)]
        await asyncio.gather(*tasks)
        assert inbox.taken == len(heard)
        assert inbox.deepest <= size
        return heard

    heard = asyncio.run(run())
    for who, own in enumerate(told):
        assert [item for teller, item in heard if teller == who] == own


def test_a_teller_without_end_leaves_room_for_another() -> None:
    async def run() -> None:
        inbox = Inbox[str](3)

        async def tell_for_ever() -> None:
            while True:
                await inbox.put("bar")

        feed = asyncio.create_task(tell_for_ever())
        await asyncio.sleep(0)
        report = asyncio.create_task(inbox.put("report"))
        heard: list[str] = []
        for _ in range(4):
            await asyncio.sleep(0)
            heard += items(inbox)
        feed.cancel()
        assert report.done()
        assert heard.count("report") == 1
        assert inbox.held_back > 0

    asyncio.run(run())


def test_operators_do_not_wait_and_a_kill_comes_first() -> None:
    async def run() -> None:
        inbox = Inbox[str](2)
        await inbox.put("a")
        await inbox.put("b")
        waits = asyncio.create_task(inbox.put("c"))
        await asyncio.sleep(0)
        inbox.put_now("pause")
        inbox.put_first("kill")
        inbox.put_first("kill again")
        assert items(inbox, 1) == ["kill"]
        assert not waits.done()
        assert items(inbox, 2) == ["kill again", "a"]
        await asyncio.wait([waits])
        assert items(inbox) == ["b", "pause", "c"]
        assert inbox.deepest == 5

    asyncio.run(run())


def test_wait_ends_with_an_item_or_with_time() -> None:
    async def run() -> None:
        inbox = Inbox[str](2)
        await inbox.wait(0.001)
        assert len(inbox) == 0
        asyncio.get_running_loop().call_later(0.001, inbox.put_now, "x")
        await asyncio.wait_for(inbox.wait(None), 30)
        assert items(inbox) == ["x"]

    asyncio.run(run())
