"""Orders and what replaced them, put together from whatever is told first."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import permutations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onetape.domain.instrument import make_equity
from onetape.execution.alpaca.chains import Chains, from_link_id, to_link_id
from onetape.execution.alpaca.wire import WireOrder

SHARE = make_equity("AAPL.ALPACA")


def link(number: int, filled: int, status: str = "replaced", *, last: int = 2) -> WireOrder:
    return WireOrder(
        id=f"order-{number}", client_order_id=to_link_id("s-1", number), symbol="AAPL", side="buy",
        status="new" if number == last else status, qty="10", filled_qty=str(filled),
        replaces=f"order-{number - 1}" if number else None,
        replaced_by=f"order-{number + 1}" if number < last else None,
    )  # fmt: skip


LINKS = [link(0, 3), link(1, 2), link(2, 1)]


def note(told: Sequence[WireOrder]) -> tuple[list[int], int, list[str]]:
    """Behind all of them: filled before each link, filled in all, and what had to be asked."""
    asked: list[str] = []

    async def get_order(order_id: str) -> WireOrder | None:
        asked.append(order_id)
        return next(each for each in LINKS if each.id == order_id)

    async def run() -> tuple[list[int], int, list[str]]:
        chains = Chains(get_order)
        for each in told:
            await chains.note(each, SHARE)
        chain = chains.find("s-1")
        assert chain is not None
        assert list(chain.links) == ["order-0", "order-1", "order-2"]
        assert chain.current.id == "order-2"
        assert chain.total(chain.current) == 15
        return [chain.filled_before(each.id) for each in LINKS], chain.filled, asked

    return asyncio.run(run())


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_links_are_in_their_order_whichever_is_told_first(order: tuple[int, ...]) -> None:
    before, filled, _ = note([LINKS[each] for each in order])
    assert (before, filled) == ([0, 3, 5], 6)


def test_the_newest_link_alone_leads_to_all_of_them() -> None:
    assert note([LINKS[2]]) == ([0, 3, 5], 6, ["order-1", "order-0"])


def test_an_older_message_takes_nothing_back() -> None:
    older = msgspec.structs.replace(LINKS[0], status="partially_filled", filled_qty="1")
    assert note([*LINKS, older])[1] == 6


def test_memory_stays_flat_and_open_orders_stay() -> None:
    async def get_order(order_id: str) -> WireOrder | None:
        raise AssertionError(order_id)

    async def run() -> None:
        chains = Chains(get_order)
        for number in range(5_000):
            status = "new" if number == 7 else "filled"
            one = WireOrder(id=f"order-{number}", client_order_id=f"s-{number}", symbol="AAPL",
                            side="buy", status=status, qty="1")  # fmt: skip
            await chains.note(one, SHARE)
        assert chains.find("s-7") is not None
        assert chains.find("s-4999") is not None
        assert chains.find("s-6") is None
        assert chains.find_link("order-6") is None
        assert sum(chains.find(f"s-{each}") is not None for each in range(5_000)) <= 4_097

    asyncio.run(run())


@given(st.from_regex(r"[a-z_]{1,8}-[0-9]{1,4}", fullmatch=True), st.integers(0, 500))
def test_link_ids_say_whose_they_are(client_order_id: str, number: int) -> None:
    assert from_link_id(to_link_id(client_order_id, number)) == (client_order_id, number)


def test_ids_that_alpaca_made_up_are_nobodys() -> None:
    assert from_link_id("61e69015-8549-4bfd-b9c3-01e75843f47d") == ("", 0)
