"""The port of a real venue: what its adapter does for the realtime shell, and what it can.

An adapter lives at an async edge. It speaks the venue's protocol through a client library and turns
everything into our words and units. It decides nothing: whatever it learns it says, once or twice,
late or early, and the core makes sense of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec

from onetape.domain.events import OrderCancelPending, OrderReplacePending, OrderSubmitted
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.orders import (
    Contingency,
    OrderConditions,
    OrderIntent,
    OrderType,
    QuantityBasis,
    TimeInForce,
)
from onetape.domain.venue import ConnectionChanged, VenueReport, VenueSnapshot

Heard = VenueReport | ConnectionChanged
"""What a gateway says by itself."""

_TIMED = (TimeInForce.DAY, TimeInForce.GTD)
_RESTING = (TimeInForce.GTC, *_TIMED)

Hear = Callable[[Heard], Awaitable[None]]
"""Takes it; waits while the session is behind."""


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a venue can do with an order. What it can't is emulated or denied, never sent.

    Emulated is what waits here and leaves as a plain order: orders with a trigger, bound orders,
    and a time in force that ends at a time; see `onetape.execution.emulation`. What only a venue
    can see to is denied: not to take, to show a part, to meet an auction, to size at the fill.

    Attributes:
        order_types: Types that it holds itself.
        times_in_force: Of orders with and without a limit.
        can_replace: Whether it changes an order without a moment in which neither is there.
        has_lists: Whether it holds groups of orders (OCO, brackets).
        has_post_only: Whether it can refuse to take liquidity.
        has_iceberg: Whether it can show a part only.
        has_reduce_only: Whether it trims an order so that it takes no position beyond flat. Where
            it does not, such an order must fit beside everything else that is open of its side,
            unless it is held: then it is cut when it leaves.
        replaces_anew: Whether a replacement counts its quantity from its own start, so that what
            the order fills on the way comes on top: risk counts both.
        can_short: Whether a position may go below zero.
        has_fractions: Whether lots below one unit are whole to it for every order type.
        emulates: Whether what it lacks is emulated; on quotes and depth nothing is.
    """

    order_types: frozenset[OrderType]
    times_in_force: frozenset[TimeInForce]
    can_replace: bool = False
    has_lists: bool = False
    has_post_only: bool = False
    has_iceberg: bool = False
    has_reduce_only: bool = False
    replaces_anew: bool = False
    can_short: bool = False
    has_fractions: bool = False
    emulates: bool = True

    def find_unsupported(self, intent: OrderIntent) -> str:
        """What an order asks for that the venue has not and nobody emulates; empty: nothing."""
        terms = intent.conditions or OrderConditions()
        kind, time_in_force = intent.order_type, intent.time_in_force
        lacking = self.find_lacking(kind, time_in_force, terms)
        if lacking and not self.emulates:
            return f"{lacking}, which is not emulated on quotes or depth"
        asked = {
            "an order that is sized at its fill": intent.basis >= QuantityBasis.NOTIONAL_AT_FILL,
            kind.name.lower(): kind.triggered not in self.order_types,
            time_in_force.name.lower(): not self.has_time(time_in_force),
            f"{lacking} with {time_in_force.name.lower()}": bool(lacking)
            and time_in_force not in _RESTING,
            "post-only": terms.post_only and not self.has_post_only,
            "icebergs": bool(terms.display_lots) and not self.has_iceberg,
        }
        return next((what for what, is_missing in asked.items() if is_missing), "")

    def find_lacking(
        self, kind: OrderType, time_in_force: TimeInForce, terms: OrderConditions
    ) -> str:
        """Why an order can't be sent as it is and has to be emulated; empty: it can be sent."""
        is_bound = bool(terms.parent) or (
            bool(terms.group) and terms.contingency is not Contingency.NONE
        )
        if is_bound and not self.has_lists:
            return "order lists"
        if kind not in self.order_types:
            return kind.name.lower()
        return "" if time_in_force in self.times_in_force else time_in_force.name.lower()

    def trims(self, intent: OrderIntent) -> bool:
        """Whether a reduce-only order can't go beyond flat: by the venue, or held and cut by us."""
        terms = intent.conditions or OrderConditions()
        return self.has_reduce_only or bool(
            self.find_lacking(intent.order_type, intent.time_in_force, terms)
        )

    def has_time(self, time_in_force: TimeInForce) -> bool:
        """Whether an order may live so long: the venue ends it by itself, or we cancel it."""
        return time_in_force in self.times_in_force or (
            time_in_force in _TIMED and TimeInForce.GTC in self.times_in_force
        )


class VenueGateway(Protocol):
    """One account at one venue.

    Commands return when the venue has answered, or when it is clear that it has not: what came of
    them is told through `hear`, like everything else. A definite refusal is a `REJECTED` (or
    `..._REJECTED`) report; no answer in time, a lost connection behind the sending, or a 5xx is
    `UNANSWERED`, after which the session asks by `look`. A command is sent again only where the
    venue takes a client order id once, so that it can't act twice. Rate limits are waited for.

    Attributes:
        name: Of the venue, as in `SYMBOL.VENUE`.
        capabilities: What it can.
    """

    name: str
    capabilities: Capabilities

    async def define(self, instruments: Sequence[InstrumentId]) -> tuple[Instrument, ...]:
        """What the venue says of instruments: tick, lot, limits.

        Raises:
            DataError: One is unknown there (the nearest is named).
            VenueUnavailable: It can't be reached.
        """
        ...

    async def open(self, instruments: Sequence[Instrument], hear: Hear) -> None:
        """Log in, check the clock, and listen from now on; returns when reports would be heard.

        The gateway reconnects by itself, with backoff and jitter, and tells by `ConnectionChanged`
        when it is down and up again; whoever hears "up" asks by `look` what was missed.

        Raises:
            ConfigError: The keys are wrong or lack a right.
            VenueUnavailable: It can't be reached, or its clock is too far from ours.
        """
        ...

    async def submit(self, order: OrderSubmitted) -> None:
        """Send a new order under our client order id."""
        ...

    async def cancel(self, command: OrderCancelPending, order: OrderSubmitted) -> None:
        """Cancel an order; `order` is how it was submitted."""
        ...

    async def replace(self, command: OrderReplacePending, order: OrderSubmitted) -> None:
        """Change an order; `order` is how it was submitted."""
        ...

    async def look(
        self, reason: str, orders: Sequence[OrderSubmitted], since: int
    ) -> VenueSnapshot:
        """Ask for everything: open orders, what became of `orders`, fills since, positions, cash.

        Args:
            reason: Why; it stands in the snapshot.
            orders: Orders of ours that are open as far as we know.
            since: Fills from then on (ns UTC) are told, whatever order they are of.

        Raises:
            VenueUnavailable: It can't be reached.
        """
        ...

    async def close(self) -> None:
        """Stop listening and give back what is held; orders stay."""
        ...
