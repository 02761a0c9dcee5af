"""The port of a live feed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec

from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.market import BookDelta, QuoteTick, TradeTick
from onetape.domain.venue import BarClosed, ConnectionChanged

FeedInput = BarClosed | QuoteTick | TradeTick | tuple[BookDelta, ...] | ConnectionChanged
"""What a session takes of a feed. Events of one instrument come in the order of their `ts_event`.

Changes of the depth that belong to one update come together.
"""


class PassedOver(msgspec.Struct, frozen=True):
    """A bar came that is not told: it lies outside of its instrument's sessions (ns UTC)."""

    instrument: InstrumentId
    ts_close: int


FeedEvent = FeedInput | PassedOver
"""What a feed says."""

History = Sequence[BarClosed] | Sequence[TradeTick]
"""What was before."""

Take = Callable[[FeedEvent], Awaitable[None]]
"""Takes it; waits while the session is behind."""


class Feed(Protocol):
    """Market data as it happens, of some instruments and one timeframe.

    Only closed bars are told, each once; one that was missed while the connection was down is
    fetched before the next, and told in order. `ts_ingest` is when it arrived (ns UTC, the feed's
    own clock); `ts_known` is 0 and set by the session. `source` says where it came from: stream or
    REST, and which tape of the provider.

    Attributes:
        name: Of the source, as provenance has it.
    """

    name: str

    async def define(self, instruments: Sequence[InstrumentId]) -> tuple[Instrument, ...]:
        """What the source says of instruments: tick, lot, calendar.

        Raises:
            DataError: One is unknown there (the nearest is named).
            SourceUnavailable: It can't be reached.
        """
        ...

    async def read_history(
        self, instruments: Sequence[Instrument], timeframe: str, bars: int
    ) -> History:
        """The newest `bars` closed bars of each, by close time and then instrument; to warm up.

        Of `trades` the newest prints of each, in time order. Of quotes and depth there is none.

        Raises:
            DataError: `run` would never tell such a timeframe.
            SourceUnavailable: It can't be reached.
        """
        ...

    async def run(self, instruments: Sequence[Instrument], timeframe: str, take: Take) -> None:
        """Connect, subscribe and tell, until canceled.

        Reconnects by itself with backoff and jitter, subscribes again, fills the gap from REST, and
        tells by `ConnectionChanged` when it is down, up, or silent for too long. `timeframe` may be
        `trades`, `quotes` or `book` as in a configuration, the latter two with `+trades`. Quotes
        that were missed can't be had any more: the next one is flagged `GAP_BEFORE`.

        Raises:
            ConfigError: The keys are wrong or lack a right.
            DataError: The source has no such timeframe or instrument.
        """
        ...
