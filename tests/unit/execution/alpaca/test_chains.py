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
        id=f"order-{number}", client_order_id=to_link_id("0123abcd-s-1", number), symbol="AAPL",
        side="buy", status="new" if number == last else status, qty="10", filled_qty=str(filled),
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
        chain = chains.find("0123abcd-s-1")
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
            one = WireOrder(id=f"order-{number}", client_order_id=f"0123abcd-s-{number}",
                            symbol="AAPL", side="buy", status=status, qty="1")  # fmt: skip
            await chains.note(one, SHARE)
        assert chains.find("0123abcd-s-7") is not None
        assert chains.find("0123abcd-s-4999") is not None
        assert chains.find("0123abcd-s-6") is None
        assert chains.find_link("order-6") is None
        assert sum(chains.find(f"0123abcd-s-{each}") is not None for each in range(5_000)) <= 4_097

    asyncio.run(run())


@given(
    st.from_regex(r"([0-9a-f]{8}-[a-z_]{1,8}-(close)?[0-9]{1,4})|@order-[0-9]", fullmatch=True),
    st.integers(0, 500),
)
def test_link_ids_say_whose_they_are(client_order_id: str, number: int) -> None:
    assert from_link_id(to_link_id(client_order_id, number)) == (client_order_id, number)


@pytest.mark.parametrize(
    "name",
    [
        "61e69015-8549-4bfd-b9c3-01e75843f47d",
        "61e69015-8549-4bfd-b9c3-012345678901",  # it has the form of ours, but for its lengths
        "my order 7",
        "order-7",
        "",
    ],
)
def test_ids_that_no_session_gave_are_nobodys(name: str) -> None:
    assert from_link_id(name) == ("", 0)


def by_hand(number: int, name: str = "", replaces: int | None = None, filled: int = 0) -> WireOrder:
    return WireOrder(
        id=f"order-{number}", client_order_id=name or f"made up {number}", symbol="AAPL",
        side="buy", status="new" if replaces is not None else "replaced", qty="10",
        filled_qty=str(filled), replaces=f"order-{replaces}" if replaces is not None else None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("first", "second", "identity"),
    [
        (by_hand(0), by_hand(1, replaces=0), "@order-0"),
        (by_hand(0), by_hand(1, "@order-0-r1", replaces=0), "@order-0"),
        (by_hand(0, "0123abcd-s-1"), by_hand(1, replaces=0), "0123abcd-s-1"),
        (by_hand(0, "0123abcd-s-1"), by_hand(1, "0123abcd-s-1-r1", replaces=0), "0123abcd-s-1"),
    ],
)
@pytest.mark.parametrize("knows_first", [True, False])
def test_what_was_replaced_by_hand_goes_on_as_the_same_order(
    first: WireOrder, second: WireOrder, identity: str, knows_first: bool
) -> None:
    first = msgspec.structs.replace(first, filled_qty="4")
    third = by_hand(2, replaces=1)

    async def get_order(order_id: str) -> WireOrder | None:
        return {"order-0": first, "order-1": second}[order_id]

    async def run() -> None:
        chains = Chains(get_order)
        if knows_first:
            assert (await chains.note(first, SHARE)).client_order_id == identity
        for each, number in ((second, 1), (third, 2)):
            chain = await chains.note(each, SHARE)
            assert chain.client_order_id == identity
            assert list(chain.links) == [f"order-{at}" for at in range(number + 1)]
            assert chain.total(chain.current) == 14

    asyncio.run(run())
