"""What a real venue, a live feed and an operator tell a session: its inputs on the tape.

In a backtest the market data is pinned and the venue answers inside the core. In paper and live
these arrive from outside, and each is the first event of the step that it caused. Running a tape
again means giving its inputs again, in their order.
"""

from __future__ import annotations

import re
from enum import Enum

import msgspec

from onetape.domain.instrument import InstrumentId
from onetape.domain.market import BookDelta, QuoteTick, TradeTick
from onetape.domain.orders import (
    LiquiditySide,
    OrderConditions,
    OrderType,
    RejectCode,
    Side,
    TimeInForce,
)

Tick = QuoteTick | TradeTick | BookDelta
"""What a feed tells besides bars."""


class BarClosed(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="market.bar"):
    """A bar as it came: the row of a live session. Times ns UTC, prices float64 in currency.

    `ts_known` is when the session took it; bars of one close time have the same. `quality` are
    `Quality` flags. `is_history` bars came before the session: they warm features and marks up,
    and no strategy hears them.
    """

    instrument: InstrumentId
    ts_open: int
    ts_close: int
    ts_known: int
    session_close: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    quality: int = 0
    is_history: bool = False
    source: str = ""
    ts_ingest: int = 0

    def known_at(self, ts: int) -> BarClosed:
        """The same bar, taken at `ts`."""
        return msgspec.structs.replace(self, ts_known=ts)


class TickHeard(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="market.tick"):
    """A quote, a print or a change of the depth as it came: a row of a live session on ticks.

    `tick.ts_known` is when the session took it; the changes of one update of the depth have the
    same. `session_close` (ns UTC) is the end of the trading session that it belongs to.
    `is_history` as of a `BarClosed`.
    """

    tick: Tick
    session_close: int
    is_history: bool = False

    @property
    def instrument(self) -> InstrumentId:
        """Of which instrument."""
        return self.tick.instrument

    @property
    def ts_known(self) -> int:
        """When the session took it, ns UTC."""
        return self.tick.ts_known

    @property
    def ts_close(self) -> int:
        """When it happened, ns UTC."""
        return self.tick.ts_event

    @property
    def quality(self) -> int:
        """What is doubtful about it, `Quality` flags."""
        return self.tick.quality

    def known_at(self, ts: int) -> TickHeard:
        """The same tick, taken at `ts`."""
        return msgspec.structs.replace(self, tick=msgspec.structs.replace(self.tick, ts_known=ts))


RowHeard = BarClosed | TickHeard
"""A row of a live session."""


class ConnectionPart(Enum):
    """What is connected."""

    FEED = "feed"
    VENUE = "venue"


class ConnectionChanged(msgspec.Struct, frozen=True, array_like=True, tag="connection.changed"):
    """A feed or a venue is there (again), or is gone; or an instrument of a feed fell silent.

    `instruments` are those concerned, none of them named: all. `reason` is for people.
    """

    part: ConnectionPart
    name: str
    is_up: bool
    reason: str
    instruments: list[InstrumentId] = []


_MANUAL = "@"
_OF_A_SESSION = re.compile(r"[0-9a-f]{8}-.+-(close)?[0-9]+", re.DOTALL)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def name_manual(venue_order_id: str) -> str:
    """Our client order id of an order that no session has given: the venue's own, marked.

    The mark alone says by what the order is addressed at its venue, so a new process needs no
    memory of it.
    """
    return _MANUAL + venue_order_id


def find_manual(client_order_id: str) -> str:
    """The venue's id in what `name_manual` made; empty for every other client order id."""
    return client_order_id[1:] if client_order_id.startswith(_MANUAL) else ""


def is_of_a_session(client_order_id: str) -> bool:
    """Whether a client order id has the form that every session gives, this one or another.

    The ids that venues make up may look so too, but for their lengths.
    """
    return bool(_OF_A_SESSION.fullmatch(client_order_id)) and not _UUID.fullmatch(client_order_id)


class ReportKind(Enum):
    """What a venue says of an order.

    | kind              | what                                                                 |
    | ----------------- | -------------------------------------------------------------------- |
    | `accepted`        | it has the order                                                     |
    | `rejected`        | it refused a new order, for good                                     |
    | `filled`          | an execution, partial or not                                         |
    | `canceled`        | off the book, at our wish or the venue's                             |
    | `expired`         | off the book: its time is over                                       |
    | `replaced`        | changed; `lots`, `limit_ticks`, `stop_ticks` are its new fields      |
    | `triggered`       | a stop met its price                                                 |
    | `cancel_rejected` | it refused a cancel                                                  |
    | `replace_rejected`| it refused a replace                                                 |
    | `unanswered`      | a command left, and nothing is known of it: no answer came in time   |
    | `not_found`       | asked for it, the venue says that it never had such an order         |
    """

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REPLACED = "replaced"
    TRIGGERED = "triggered"
    CANCEL_REJECTED = "cancel_rejected"
    REPLACE_REJECTED = "replace_rejected"
    UNANSWERED = "unanswered"
    NOT_FOUND = "not_found"


class VenueReport(
    msgspec.Struct, frozen=True, array_like=True, gc=False, kw_only=True, tag="venue.report"
):
    """One thing that a venue said of one order, in our units; it may come twice, late or early.

    Attributes:
        kind: What.
        client_order_id: Ours, also where the venue knows the order by another id since a replace;
            of an order that no session has given what `name_manual` makes of the venue's.
        venue_order_id: The venue's.
        instrument: Which.
        side: Which way.
        ts_venue: When, by the venue's clock, ns UTC; 0 where it does not say.
        execution_id: Of a fill: unique at the venue for ever, so that a second one is known.
        lots: Of this execution; of a replace the new total, filled ones included.
        ticks: Price of the execution. Venues fill between our ticks only when they improve on them;
            then it is rounded against us and `price` is what they said.
        price: What the venue said, currency; what it is better than `ticks` is booked as a rebate.
        filled_lots: Filled lots of the order behind it, in all; -1 where the venue doesn't say.
        fee: Minor units of the instrument's settlement currency; negative is a rebate.
        fee_units: Where the fee was taken in the base currency: how much, in 1e-8 units, and
            `fee` is 0.
        liquidity: Of an execution.
        limit_ticks: Of a replace.
        stop_ticks: Of a replace.
        code: Of a refusal; of a cancel `not_received`: the order was canceled before it had left.
        reason: For people, as the venue says it.
    """

    kind: ReportKind
    client_order_id: str
    instrument: InstrumentId
    side: Side = Side.BUY
    venue_order_id: str = ""
    ts_venue: int = 0
    execution_id: str = ""
    lots: int = 0
    ticks: int = 0
    price: str = ""
    filled_lots: int = -1
    fee: int = 0
    fee_units: int = 0
    liquidity: LiquiditySide = LiquiditySide.TAKER
    limit_ticks: int = 0
    stop_ticks: int = 0
    code: RejectCode = RejectCode.UNSUPPORTED
    reason: str = ""


class VenueOrder(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """An order that is open at the venue; `client_order_id` as of a `VenueReport`.

    Of an order that no session has given `time_in_force`, `ts_expire` (ns UTC, of GTD) and
    `conditions` are told too. `problem` says what it has that no order of ours can have; empty:
    nothing, so a session may take it over.
    """

    client_order_id: str
    venue_order_id: str
    instrument: InstrumentId
    side: Side
    order_type: OrderType
    lots: int
    filled_lots: int
    limit_ticks: int = 0
    stop_ticks: int = 0
    time_in_force: TimeInForce = TimeInForce.GTC
    ts_expire: int = 0
    conditions: OrderConditions | None = None
    problem: str = ""


class VenuePosition(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """What the venue says that the account holds: signed lots, and the rest below a lot.

    `rest_units` (1e-8 of a unit, signed like the position) is what is left beside whole lots.
    """

    instrument: InstrumentId
    lots: int
    rest_units: int = 0


class VenueBalance(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """Cash of one currency at the venue, what open orders hold included, in minor units."""

    currency: str
    amount: int


class VenueSnapshot(msgspec.Struct, frozen=True, array_like=True, kw_only=True, tag="venue.state"):
    """What the venue says of the account, asked for at start, on reconnect and now and then.

    Attributes:
        name: Which venue.
        reason: Why it was asked.
        ts_venue: Its clock, ns UTC; 0 where it does not say.
        orders: What is open there, ours or not.
        reports: What became of orders of ours that we asked about and that are not open there, and
            every fill since the time that we asked for; each may be known already.
        positions: What it holds, for every instrument of the session; an absent one is flat.
        balances: Its cash.
    """

    name: str
    reason: str
    ts_venue: int
    orders: list[VenueOrder]
    reports: list[VenueReport]
    positions: list[VenuePosition]
    balances: list[VenueBalance]


class OperatorAction(Enum):
    """What an operator wants.

    | action    | what                                                                  |
    | --------- | --------------------------------------------------------------------- |
    | `pause`   | strategies may only reduce what they hold                             |
    | `resume`  | they may open again                                                   |
    | `flatten` | paused; every order is canceled and every position closed             |
    | `stop`    | paused; the session ends, orders canceled or kept by configuration    |
    """

    PAUSE = "pause"
    RESUME = "resume"
    FLATTEN = "flatten"
    STOP = "stop"


class OperatorCommand(msgspec.Struct, frozen=True, array_like=True, tag="control.operator"):
    """An operator's command; `strategy` is empty for all. The kill switch is a `KillSwitchSet`."""

    action: OperatorAction
    strategy: str
    reason: str


class SessionResumed(msgspec.Struct, frozen=True, array_like=True, tag="session.resumed"):
    """The process began anew behind this place of the tape, with this code."""

    code_version: str
    strategy_versions: dict[str, str]


class DiscrepancyKind(Enum):
    """How the venue's books differ from ours.

    | kind            | what                                                  | resolution        |
    | --------------- | ----------------------------------------------------- | ----------------- |
    | `missed_report` | it did something to an order, and we had not heard it | told now          |
    | `lost_order`    | it never had an order that we sent                    | rejected          |
    | `foreign_order` | an order that is not ours; see `OnDifference`         | by policy         |
    | `position`      | it holds other lots of an instrument                  | nobody's, or none |
    | `cash`          | it has other cash                                     | nobody's, or none |
    """

    MISSED_REPORT = "missed_report"
    LOST_ORDER = "lost_order"
    FOREIGN_ORDER = "foreign_order"
    POSITION = "position"
    CASH = "cash"


class Discrepancy(msgspec.Struct, frozen=True, array_like=True, kw_only=True, tag="venue.differs"):
    """One difference between the venue and our books, and what was done about it.

    `ours` and `theirs` are lots of a position or minor units of cash, else 0. Where
    `is_resolved` is false a person has to look, and nothing opens anything until then.
    """

    kind: DiscrepancyKind
    instrument: InstrumentId
    client_order_id: str
    ours: int
    theirs: int
    is_resolved: bool
    resolution: str
    currency: str = ""
