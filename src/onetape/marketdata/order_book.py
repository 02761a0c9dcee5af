"""The depth of a venue by price level, rebuilt from snapshots and numbered updates."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable, Iterator

import msgspec

from onetape.domain.errors import DataError
from onetape.domain.market import BookDelta
from onetape.domain.numbers import compute_ticks

Levels = Iterable[tuple[int, int]]
"""(price in ticks, size in lots) each; size 0 removes the level."""


def to_level(price: float, size: float, tick_size: float, lot_size: float) -> tuple[int, int]:
    """(ticks, lots) of a level as it came: the nearest tick, and the whole lots of its size.

    What is below a lot nobody can take. At Binance there is none of it: what an order leaves is
    whole steps, as its `LOT_SIZE` filter has it; data may be finer than its instrument's lot.
    """
    return round(price / tick_size), compute_ticks(size, lot_size, -1)


class OrderBook:
    """Price levels of one instrument, in whole ticks and lots.

    Attributes:
        update_id: The venue's number of the newest update that is in it; -1 before any.
    """

    __slots__ = ("_lots", "_prices", "update_id")

    def __init__(self) -> None:
        self.update_id = -1
        self._lots: dict[bool, dict[int, int]] = {True: {}, False: {}}
        self._prices: dict[bool, list[int]] = {True: [], False: []}

    def set_level(self, *, is_bid: bool, ticks: int, lots: int) -> None:
        """The size of a level is now `lots`; 0 removes it. O(levels) in the worst case.

        Raises:
            DataError: The size is negative.
        """
        sizes, prices = self._lots[is_bid], self._prices[is_bid]
        if lots < 0:
            raise DataError(f"a level of {lots} lots at {ticks} ticks",
                            remedy="the feed is damaged: ask for a snapshot")  # fmt: skip
        if lots:
            if ticks not in sizes:
                insort(prices, ticks)
            sizes[ticks] = lots
        elif sizes.pop(ticks, None) is not None:
            del prices[bisect_left(prices, ticks)]

    def apply(self, delta: BookDelta, tick_size: float, lot_size: float) -> None:
        """Follow a market event; raises like `set_level`."""
        ticks, lots = to_level(delta.price, delta.size, tick_size, lot_size)
        self.set_level(is_bid=delta.is_bid, ticks=ticks, lots=lots)
        self.update_id = max(self.update_id, delta.update_id)

    def replace(self, bids: Levels, asks: Levels, update_id: int) -> None:
        """Forget everything and take over a snapshot; raises like `set_level`."""
        self._lots = {True: {}, False: {}}
        self._prices = {True: [], False: []}
        self.update(bids, asks, update_id)

    def update(self, bids: Levels, asks: Levels, update_id: int) -> None:
        """Follow an update of several levels; raises like `set_level`."""
        for is_bid, levels in ((True, bids), (False, asks)):
            for ticks, lots in levels:
                self.set_level(is_bid=is_bid, ticks=ticks, lots=lots)
        self.update_id = update_id

    def best(self, *, is_bid: bool) -> tuple[int, int] | None:
        """(ticks, lots) of the best level of a side; None where it is empty."""
        prices = self._prices[is_bid]
        if not prices:
            return None
        ticks = prices[-1 if is_bid else 0]
        return ticks, self._lots[is_bid][ticks]

    def levels(self, *, is_bid: bool, count: int) -> list[tuple[int, int]]:
        """(ticks, lots) of the best `count` levels of a side, the best first."""
        prices = self._prices[is_bid]
        chosen = prices[: -count - 1 : -1] if is_bid else prices[:count]
        return [(ticks, self._lots[is_bid][ticks]) for ticks in chosen]

    def iterate(self, *, is_bid: bool) -> Iterator[tuple[int, int]]:
        """(ticks, lots) of every level of a side, the best first; the book must not change."""
        prices, lots = self._prices[is_bid], self._lots[is_bid]
        for ticks in reversed(prices) if is_bid else prices:
            yield ticks, lots[ticks]

    def lots_at(self, ticks: int, *, is_bid: bool) -> int:
        """Size of a level; 0 where there is none."""
        return self._lots[is_bid].get(ticks, 0)

    @property
    def is_crossed(self) -> bool:
        """Whether the best bid is at the best ask or above: such a book can't be."""
        bid, ask = self.best(is_bid=True), self.best(is_bid=False)
        return bid is not None and ask is not None and bid[0] >= ask[0]


class NumberedUpdate(msgspec.Struct, frozen=True):
    """Levels that changed in the venue's updates `first_id` to `last_id`."""

    first_id: int
    last_id: int
    bids: list[tuple[int, int]]
    asks: list[tuple[int, int]]


class BookSync:
    """A book that follows a stream of numbered updates and one snapshot asked for meanwhile.

    Updates before the snapshot wait. Then those that it holds already are dropped, the first that
    is used must overlap it, and each further one must follow the one before.
    Source: Binance, "How to manage a local order book correctly" (spot websocket streams).

    Attributes:
        book: The book; empty until the snapshot has come.
        gaps: How often the stream has left something out; then the book waits for a new snapshot.
    """

    def __init__(self) -> None:
        self.book = OrderBook()
        self.gaps = 0
        self._waiting: deque[NumberedUpdate] = deque()
        self._has_begun = False

    @property
    def is_synced(self) -> bool:
        """Whether the book is the venue's."""
        return self._has_begun

    def take_snapshot(self, bids: Levels, asks: Levels, update_id: int) -> None:
        """Begin anew with a snapshot, then follow what has waited."""
        self.book.replace(bids, asks, update_id)
        self._has_begun = True
        waiting, self._waiting = self._waiting, deque()
        for update in waiting:
            self.follow(update)

    def follow(self, update: NumberedUpdate) -> bool:
        """Follow an update; whether it is in the book now.

        An update that the book holds already changes nothing. After a gap updates wait for the next
        snapshot.
        """
        if not self._has_begun:
            self._waiting.append(update)
            return False
        known = self.book.update_id
        if update.last_id <= known:
            return False
        if update.first_id > known + 1:
            self.gaps += 1
            self._has_begun = False
            self._waiting.append(update)
            return False
        self.book.update(update.bids, update.asks, update.last_id)
        return True
