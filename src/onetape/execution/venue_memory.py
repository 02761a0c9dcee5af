"""What is remembered of a venue between two steps, so that nothing that it says counts twice."""

from __future__ import annotations

from enum import Enum

import msgspec

from onetape.domain.events import OrderAdopted
from onetape.domain.instrument import InstrumentId
from onetape.domain.orders import OrderStatus, Side
from onetape.domain.venue import ReportKind, VenueReport
from onetape.execution.oms import Order

OVERLAP_NS = 60_000_000_000
"""How far fills are asked for again behind the newest look but one: venues list them late."""

UNTIMED_MAX = 1_000
"""Closed orders, and executions of others, that are remembered where the venue says no times."""

_ENDS = (ReportKind.REJECTED, ReportKind.CANCELED, ReportKind.EXPIRED)
_ARRIVED = (OrderStatus.ACCEPTED, OrderStatus.PARTIALLY_FILLED)


class Drop(Enum):
    """Why something that a venue said changed nothing.

    | drop         | what                                                                      |
    | ------------ | ------------------------------------------------------------------------- |
    | `duplicate`  | it was said before                                                        |
    | `stale`      | newer things are known, or it is of an order that was forgotten           |
    | `foreign`    | of an order that is not ours; a fill counts for what no strategy holds    |
    | `unreadable` | a fill without lots, or that can't be told from another                   |
    """

    DUPLICATE = "duplicate"
    STALE = "stale"
    FOREIGN = "foreign"
    UNREADABLE = "unreadable"


class OrderTrack(msgspec.Struct):
    """What a venue has said of an order of ours, open or closed not long ago.

    Attributes:
        strategy: Whose it is.
        instrument: Of what.
        side: Which way.
        executions: Lots by execution id, all that were booked.
        booked_lots: Their sum.
        told_lots: The most that the venue has said is filled in all.
        has_arrived: The venue has, or had, the order.
        ending: The report that ended it, while fills are missing that came before.
        is_closed: The OMS has closed it.
        ts_last: The newest time of the venue that was said with it, ns UTC.
        ts_changed: The same of the newest answer to a replace.
        assumed_lots: What was ordered before a replace to more, when all of it had filled and the
            replace was unanswered: it was taken for done, so that the order stays open.
        adopted_lots: Of an adopted order what had filled before, nobody's; it is in `booked_lots`.
    """

    strategy: str
    instrument: InstrumentId
    side: Side
    executions: dict[str, int]
    booked_lots: int
    told_lots: int
    has_arrived: bool
    ending: VenueReport | None = None
    is_closed: bool = False
    ts_last: int = 0
    ts_changed: int = 0
    assumed_lots: int = 0
    adopted_lots: int = 0

    @property
    def is_filled_unless_replaced(self) -> bool:
        """Whether all is filled but what an unanswered replace may have added."""
        return 0 < self.assumed_lots == self.booked_lots


class ManualTrack(msgspec.Struct):
    """What a venue has said of an order that no session has given, and that nobody has adopted.

    `filled_lots` is the most that was counted or told as fills, `ts_last` (ns UTC) the newest time
    that was said with it; `is_closed`: it is off the book.
    """

    filled_lots: int = 0
    told_lots: int = 0
    ts_last: int = 0
    is_closed: bool = False

    def hear(self, report: VenueReport, ts: int, *, is_new: bool) -> None:
        """Follow a report of the venue; `is_new`: of a fill that was not heard before."""
        self.ts_last = max(self.ts_last, ts)
        if is_new:
            self.told_lots += report.lots
        self.filled_lots = max(self.filled_lots, self.told_lots, report.filled_lots)
        self.is_closed |= report.kind in _ENDS


class Suspect(msgspec.Struct):
    """A difference that a look has seen, and may be something that is only under way.

    `same` and `any` count the looks in a row that saw just this `difference`, and any at all;
    `look` numbers the newest of them. `told` is what was said of it on the tape, empty before;
    `blocks`: a person has to look.
    """

    difference: str
    same: int
    any: int
    look: int
    told: str = ""
    blocks: bool = False


class Expected(msgspec.Struct, frozen=True):
    """What a corporate action has booked here, and the venue may book later and otherwise rounded.

    Attributes:
        key: `position:` and an instrument, or `cash:` and a currency.
        late: The difference (theirs less ours) while the venue has not booked it: 1e-8 units of a
            position, minor units of cash.
        rounding: By how much at the most its booking may differ from ours, either way.
        ts_until: Until when it is waited for, ns UTC.
    """

    key: str
    late: int
    rounding: int
    ts_until: int


class VenueMemory(msgspec.Struct):
    """Everything that is remembered of one account at one venue.

    Attributes:
        orders: Of ours, by client order id.
        dust: 1e-8 units below a lot that strategies hold beside their lots, by strategy and
            instrument; never negative.
        foreign: Executions of orders that are not ours, with the time of each (ns UTC).
        unallocated_units: What the account holds and no strategy does, 1e-8 units; an instrument is
            there from its first look on.
        unallocated_cash: The same of cash, minor units.
        suspects: Differences that are not explained, by what they are of.
        dropped: How much changed nothing, by `Drop`.
        wants_look: The venue must be asked: something is missing, or can't be believed by itself.
        looks: Number of the newest look.
        ts_newest: The newest time that the venue has said, ns UTC.
        ts_clean: When the newest look was that left no difference, by the venue's clock.
        ts_horizon: Fills before it are all known: a report of an older one, of an order that is not
            remembered, is stale.
        manual: Of orders that no session has given, by client order id.
        expected: What corporate actions have booked, as far as the venue may not have it yet.
    """

    orders: dict[str, OrderTrack] = {}
    dust: dict[str, dict[InstrumentId, int]] = {}
    foreign: dict[str, int] = {}
    unallocated_units: dict[InstrumentId, int] = {}
    unallocated_cash: dict[str, int] = {}
    suspects: dict[str, Suspect] = {}
    dropped: dict[str, int] = {}
    wants_look: bool = False
    looks: int = 0
    ts_newest: int = 0
    ts_clean: int = 0
    ts_horizon: int = 0
    manual: dict[str, ManualTrack] = {}
    expected: list[Expected] = []

    @property
    def is_blocked(self) -> bool:
        """Whether a difference stands that a person must look at: nothing may open anything."""
        return any(each.blocks for each in self.suspects.values())

    def track(self, order: Order) -> OrderTrack:
        """What is known of an open order."""
        known = self.orders.get(order.client_order_id)
        if known is None:
            arrived = bool(order.venue_order_id or order.filled_lots) or order.status in _ARRIVED
            known = self.orders[order.client_order_id] = OrderTrack(
                order.strategy, order.instrument, order.side, {}, order.filled_lots,
                order.filled_lots, arrived,
            )  # fmt: skip
        return known

    def adopt(self, event: OrderAdopted) -> None:
        """An order that was given by hand is one of ours from now on."""
        lots = event.filled_lots
        self.manual.pop(event.client_order_id, None)
        self.orders[event.client_order_id] = OrderTrack(
            event.strategy, event.instrument, event.side, {}, lots, lots, has_arrived=True,
            adopted_lots=lots,
        )  # fmt: skip

    def drop(self, why: Drop) -> None:
        """Count something that changed nothing."""
        self.dropped[why.value] = self.dropped.get(why.value, 0) + 1

    def forget(self, ts_look: int) -> None:
        """A look at `ts_look` (ns UTC) left no difference: what is older than the one before goes.

        What is told again is not older than `ts_horizon`, since that is what is asked for; orders
        and executions are kept until their newest report is older. So whatever is told again is
        remembered, and what is not remembered is told no more, or recognized by its time. Of a
        venue that never says the time the newest `UNTIMED_MAX` of each kind are remembered; what it
        tells again of older ones is foreign to us.
        """
        if not self.ts_newest:
            closed = [name for name, each in self.orders.items() if each.is_closed]
            for identity in closed[: max(0, len(closed) - UNTIMED_MAX)]:
                del self.orders[identity]
            for execution in list(self.foreign)[: max(0, len(self.foreign) - UNTIMED_MAX)]:
                del self.foreign[execution]
            for identity in list(self.manual)[: max(0, len(self.manual) - UNTIMED_MAX)]:
                del self.manual[identity]
            return
        self.ts_horizon = max(self.ts_horizon, self.ts_clean - OVERLAP_NS)
        self.ts_clean = max(self.ts_clean, ts_look)
        horizon = self.ts_horizon
        for identity in [
            name for name, each in self.orders.items() if each.is_closed and each.ts_last < horizon
        ]:
            del self.orders[identity]
        for execution in [name for name, ts in self.foreign.items() if ts < horizon]:
            del self.foreign[execution]
        for identity in [name for name, each in self.manual.items() if each.ts_last < horizon]:
            del self.manual[identity]
