"""Ports: what one stage may ask of another, named by role. Implementations live above."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

from onetape.domain.events import OrderReport, Payload, VenueCommand
from onetape.domain.instrument import InstrumentId
from onetape.domain.market import Bar


class AccountView(Protocol):
    """What a broker knows of its client: needed to size an order at the fill."""

    def equity_at(self, strategy: str, instrument: InstrumentId, ticks: int) -> int:
        """Equity with `instrument` marked at `ticks`, minor units of its quote currency."""
        ...

    def position_lots(self, strategy: str, instrument: InstrumentId) -> int:
        """Signed lots held."""
        ...


class StandingMarket(Protocol):
    """What stands at a venue at a row of the market data of one instrument, in ticks and lots.

    Attributes:
        row: The newest row that is in it; -1 before any.
        what: What that row is, a `TickKind`; -1 before any.
        is_late: Whether it was known later than it happened.
        is_whole: Whether no more of the same update follows.
        has_quotes: Whether the rows are more than prints.
    """

    row: int
    what: int
    is_late: bool
    is_whole: bool
    has_quotes: bool

    @property
    def has_levels(self) -> bool:
        """Whether it tells more than the best price of a side."""
        ...

    def step(self) -> None:
        """Go on by one row."""
        ...

    def trade(self) -> tuple[float, int, int]:
        """(price in ticks, lots, aggressor) of the newest row, a print."""
        ...

    def mark(self) -> float:
        """The mark, in ticks; not rounded."""
        ...

    def best(self, *, is_bid: bool) -> tuple[int, int] | None:
        """(ticks, lots) of the best level of a side; None where it is empty."""
        ...

    def levels(self, *, is_bid: bool) -> Iterable[tuple[int, int]]:
        """(ticks, lots) of a side, the best first; of a quote only that."""
        ...

    def lots_at(self, ticks: int, *, is_bid: bool) -> int | None:
        """Size of a level; None where that is not known."""
        ...

    def stamp(self, ticks: int, *, is_bid: bool) -> int:
        """The row that has told the size of a level; another row tells another size."""
        ...


class SimulatedExchange(Protocol):
    """A venue inside the core: it takes commands, meets market events, and answers with reports.

    Attributes:
        next_arrival: When the next command arrives, ns UTC; the largest int64 when none is due.
        active: How many orders and commands it holds.
    """

    next_arrival: int
    active: int

    def receive(self, commands: Sequence[VenueCommand], now: int) -> None:
        """Commands, one at least, leave us at `now`, in this order."""
        ...

    def arrive(
        self,
        ts: int,
        last_close: Callable[[InstrumentId], int],
        session_close: Callable[[InstrumentId], int],
    ) -> Iterable[OrderReport]:
        """Take every command that has arrived by `ts` and answer it; reports one at a time.

        A cancel or replace that arrives after `last_close`, the close of the newest known bar of
        the instrument, is answered by the next bar: only that tells whether the order has filled.
        `session_close` is the end of that bar's session, -1 before the first bar.
        """
        ...

    def cancel_all(
        self, instrument: InstrumentId, reason: str, strategy: str = ""
    ) -> Iterable[OrderReport]:
        """Take every order of an instrument off, those under way too; reports one at a time.

        With `strategy` only those of one strategy.
        """
        ...

    def on_bar(self, bar: Bar, account: AccountView) -> Iterable[OrderReport]:
        """Meet the orders of an instrument with its next bar.

        Reports are taken one at a time; no reports are an empty tuple.
        """
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


class EncodedSteps(NamedTuple):
    """Engine steps that are records already, in order, with their chain.

    Attributes:
        payload: Their bytes, one after the other.
        ends: Where each ends in `payload`.
        lengths: The length of each, as a little-endian uint32.
        digests: The digest of each, 32 bytes; that of the first follows what is on the tape.
        first_seqs: The seq of the first event of each.
        counts: How many events each has; at least one.
        times: Engine time of each, ns UTC.
    """

    payload: bytes
    ends: list[int]
    lengths: bytes
    digests: bytes
    first_seqs: list[int]
    counts: list[int]
    times: list[int]

    def cut(self, start: int, end: int) -> tuple[bytes, bytes, bytes]:
        """Bytes, lengths and digests of the records from the `start`-th to before the `end`-th."""
        first = self.ends[start - 1] if start else 0
        return (
            self.payload[first : self.ends[end - 1]],
            self.lengths[4 * start : 4 * end],
            self.digests[32 * start : 32 * end],
        )

    def behind(self, count: int) -> EncodedSteps:
        """All but the first `count`."""
        start = self.ends[count - 1]
        return EncodedSteps(
            self.payload[start:], [each - start for each in self.ends[count:]],
            self.lengths[4 * count :], self.digests[32 * count :], self.first_seqs[count:],
            self.counts[count:], self.times[count:],
        )  # fmt: skip


class EncodedTapeWriter(Protocol):
    """Where the records of a session go that writes them itself, in the bytes of the tape."""

    def append_encoded(self, steps: EncodedSteps) -> None:
        """Remember steps, in order."""
        ...

    def commit(self) -> None:
        """Make everything appended so far durable."""
        ...

    def check_over(self) -> None:
        """The session is over: raise where the tape holds more."""
        ...


class SnapshotKeeper(Protocol):
    """Where a session keeps its state, to go on from there."""

    def keep(self, rows: int, ts: int, state: bytes) -> None:
        """Keep the state after `rows` market events, at engine time `ts` (ns UTC).

        Everything appended to the tape so far is before it.
        """
        ...
