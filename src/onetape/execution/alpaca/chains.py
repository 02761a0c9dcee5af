"""An order and the orders that replaced it at Alpaca.

Alpaca does not change an order: it makes a new one, with a new id and a new client order id, and
ends the old one as `replaced`. The new one counts its own fills from zero, and its quantity is its
own: a replacement whose quantity is not given has the old one's, filled part included (Alpaca-API
issue 165). So one order of ours is a chain of links at Alpaca:

| link | client order id at Alpaca | what is filled of our order when its own count is `f`     |
| ---- | ------------------------- | --------------------------------------------------------- |
| 0    | `ID`                      | `f`                                                       |
| n    | `ID-rN`                   | what the links before it have filled at their ends, + `f` |

The ids say which order of ours it is, so a chain is found again after a restart: from link 0 by its
client order id, then by `replaced_by`; or backwards by `replaces`.

A link whose client order id is not of a session was made by hand. One that replaces another belongs
to its chain all the same; one that replaces none begins a chain whose `ID` is Alpaca's own id of
it, marked (`name_manual`).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

import msgspec

from onetape.domain.instrument import Instrument
from onetape.domain.venue import find_manual, is_of_a_session, name_manual
from onetape.execution.alpaca.translation import to_lots
from onetape.execution.alpaca.wire import WireOrder

_LINK_ID = re.compile(r"^(.+)-r([1-9]\d*)$")

_REMEMBERED = 4_096

GetOrder = Callable[[str], Awaitable[WireOrder | None]]
"""Asks Alpaca for an order by its id; None when it has none."""


def to_link_id(client_order_id: str, number: int) -> str:
    """The client order id at Alpaca of link `number`."""
    return f"{client_order_id}-r{number}" if number else client_order_id


def from_link_id(link_id: str) -> tuple[str, int]:
    """Our client order id and the number of the link; empty and 0 where no session made the id."""
    match = _LINK_ID.match(link_id)
    identity, number = (match[1], int(match[2])) if match else (link_id, 0)
    is_ours = is_of_a_session(identity) or bool(find_manual(identity))
    return (identity, number) if is_ours else ("", 0)


class Chain(msgspec.Struct, kw_only=True):
    """The links that are known, by Alpaca's id, oldest first; `number` is the highest used."""

    client_order_id: str
    instrument: Instrument
    links: dict[str, WireOrder] = {}
    number: int = 0
    is_accepted: bool = False
    told_link: str = ""

    @property
    def current(self) -> WireOrder:
        """The link that stands for the order now."""
        return next(reversed(self.links.values()))

    def filled_before(self, order_id: str) -> int:
        """Lots that the links before this one have filled."""
        lots = 0
        for each in self.links.values():
            if each.id == order_id:
                break
            lots += to_lots(each.filled_qty, self.instrument)
        return lots

    def filled_with(self, link: WireOrder) -> int:
        """Lots of our order that were filled when Alpaca said this of the link."""
        return self.filled_before(link.id) + to_lots(link.filled_qty, self.instrument)

    @property
    def filled(self) -> int:
        """Lots of our order that are filled, as far as it is known."""
        return sum(to_lots(each.filled_qty, self.instrument) for each in self.links.values())

    def total(self, link: WireOrder) -> int:
        """Lots of our order: what the links before this one have filled, and its quantity."""
        return self.filled_before(link.id) + to_lots(link.qty, self.instrument)


class Chains:
    """The chains of an account's orders; `get_order` asks Alpaca for what is not known yet."""

    def __init__(self, get_order: GetOrder) -> None:
        self._get_order = get_order
        self._by_client_id: dict[str, Chain] = {}
        self._by_order_id: dict[str, Chain] = {}

    def find(self, client_order_id: str) -> Chain | None:
        """The chain of an order of ours, as far as it is known."""
        return self._by_client_id.get(client_order_id)

    def find_link(self, order_id: str) -> WireOrder | None:
        """A link of an order of ours, as far as it is known."""
        chain = self._by_order_id.get(order_id)
        return chain.links.get(order_id) if chain else None

    async def note(self, order: WireOrder, instrument: Instrument) -> Chain:
        """Remembers what Alpaca says of a link, and of the links before it.

        What is known never goes back: a later message may be older. A link that has links before it
        waits until their ends are known, because what they have filled counts in it.

        Raises:
            Refused, Unanswered: Alpaca was asked for more, and did not give it.
        """
        identity, number = from_link_id(order.client_order_id)
        before = await self._complete(order) if order.replaces else []
        # Nothing is awaited from here on, so that no other task sees half of it.
        if not identity:
            identity = self._name_by(before) if before else self._name_by([order])
        chain = self._by_client_id.get(identity)
        if chain is None:
            chain = Chain(client_order_id=identity, instrument=instrument, links={})
        for each in (*before, order):
            known = chain.links.get(each.id)
            if known is None or _is_newer(each, known):
                chain.links[each.id] = each
        chain.links = _sort_links(chain.links)
        chain.number = max(chain.number, number)
        self._by_client_id[identity] = chain
        self._by_order_id.update((each, chain) for each in chain.links)
        self._forget_oldest()
        return chain

    def _name_by(self, links: list[WireOrder]) -> str:
        """The client order id of the chain of these links, oldest first, none of them ours."""
        for each in links:
            known = self._by_order_id.get(each.id)
            identity = known.client_order_id if known else from_link_id(each.client_order_id)[0]
            if identity:
                return identity
        return name_manual(links[0].id)

    def _forget_oldest(self) -> None:
        """Keeps memory flat: an order that has ended can be asked for again."""
        if len(self._by_client_id) <= _REMEMBERED:
            return
        oldest = next(iter(self._by_client_id))
        chain = self._by_client_id.pop(oldest)
        if chain.current.is_open:
            self._by_client_id[oldest] = chain  # looked at again when all others were
            return
        for each in chain.links:
            self._by_order_id.pop(each, None)

    async def _complete(self, order: WireOrder) -> list[WireOrder]:
        """The links before `order`, oldest first; those not known to have ended are asked for."""
        found: list[WireOrder] = []
        before = order.replaces
        while before is not None:
            known = self.find_link(before)
            if known is None or known.is_open:
                known = await self._get_order(before)
                if known is None:
                    break
            found.append(known)
            before = known.replaces
        return found[::-1]

    async def follow(self, chain: Chain, order: WireOrder) -> WireOrder | None:
        """The link that has replaced `order`; None where Alpaca has none.

        Raises:
            Refused, Unanswered: Alpaca was asked for it, and did not give it.
        """
        if order.replaced_by is None:
            return None
        if order.replaced_by not in chain.links:
            link = await self._get_order(order.replaced_by)
            if link is not None:
                await self.note(link, chain.instrument)
        return chain.links.get(order.replaced_by)

    def drop_link(self, chain: Chain, order_id: str) -> None:
        """A replacement was refused: the order stands as it was."""
        if len(chain.links) > 1:
            chain.links.pop(order_id, None)


def _sort_links(links: dict[str, WireOrder]) -> dict[str, WireOrder]:
    """Each behind the one that it replaces; of two of them the one of the higher number last."""

    def place(link: WireOrder) -> tuple[int, int]:
        depth, before = 0, link.replaces
        while before is not None and before in links:
            depth, before = depth + 1, links[before].replaces
        return depth, from_link_id(link.client_order_id)[1]

    return dict(sorted(links.items(), key=lambda item: place(item[1])))


def _is_newer(order: WireOrder, known: WireOrder) -> bool:
    if order.is_open != known.is_open:
        return not order.is_open
    return float(order.filled_qty) >= float(known.filled_qty)
