"""Ports: what one stage may ask of another, named by role. Implementations live above."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from onetape.domain.events import Event, Payload
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.market import BarBlock


class PortfolioView(Protocol):
    """Read-only books of one strategy (its sub-ledger) or of the whole account."""

    def position_lots(self, instrument: InstrumentId) -> int:
        """Signed lots held; 0 when flat."""
        ...

    def cash(self) -> int:
        """Cash in minor units; negative when borrowed."""
        ...

    def equity(self) -> int:
        """Cash plus positions at their marks, in minor units."""
        ...


class TapeWriter(Protocol):
    """Where a session's events go. The core never sees a file."""

    def append(
        self, first_seq: int, ts: int, market_index: int, events: Sequence[tuple[Payload, int, int]]
    ) -> None:
        """Remember the events of one engine step, in order.

        Args:
            first_seq: seq of the first event; the others follow without a gap.
            ts: Engine time of the step, ns UTC: `ts_event` and `ts_ingest` of every event.
            market_index: Row of the pinned timeline that the step processed; -1 when none.
            events: (payload, correlation_id, causation_id) each.
        """
        ...

    def commit(self) -> None:
        """Make everything appended so far durable."""
        ...


class TapeReader(Protocol):
    """Reads a tape in order."""

    def events(self, first_seq: int = 0) -> Iterator[Event]:
        """Every event with `seq >= first_seq`."""
        ...


class BarTimeline(Protocol):
    """All bars of a session, merged into one order: (ts_known, instrument order)."""

    instruments: Sequence[Instrument]

    def __len__(self) -> int: ...

    def blocks(self, rows: int, start: int = 0) -> Iterator[BarBlock]:
        """The bars from row `start` on, in blocks of up to `rows`."""
        ...
