"""What a local exchange is asked, what it answers, and what it says by itself: plain values."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from enum import Enum

import msgspec

from onetape.domain.instrument import InstrumentId
from onetape.domain.market import Bar, BookDelta, QuoteTick, TradeTick
from onetape.domain.orders import LiquiditySide, OrderType, Side, TimeInForce


class RefusalCode(Enum):
    """Why the exchange refuses a command. A protocol turns it into its own error."""

    UNKNOWN_SYMBOL = "unknown_symbol"
    HALTED = "halted"
    INCOMPLETE = "incomplete"
    UNSUPPORTED = "unsupported"
    LOT_SIZE = "lot_size"
    TICK_SIZE = "tick_size"
    MIN_NOTIONAL = "min_notional"
    NO_PRICE = "no_price"
    DUPLICATE_ID = "duplicate_id"
    INSUFFICIENT_BALANCE = "insufficient_balance"
    INSUFFICIENT_QUANTITY = "insufficient_quantity"
    SHORT_NOT_ALLOWED = "short_not_allowed"
    UNKNOWN_ORDER = "unknown_order"
    ORDER_CLOSED = "order_closed"
    QUANTITY_BELOW_FILLED = "quantity_below_filled"


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """A command that was refused; nothing has changed.

    Attributes:
        code: Why.
        message: For people.
        needed: What it would take, in units of `asset`; None where that says nothing.
        available: What is free of it.
        asset: Currency or symbol of both.
        order: The order that it is about, where there is one.
    """

    code: RefusalCode
    message: str
    needed: Decimal | None = None
    available: Decimal | None = None
    asset: str = ""
    order: PlacedOrder | None = None


class NewOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order as a client writes it: decimals, not yet on any grid.

    Attributes:
        symbol: The venue's string of the instrument.
        client_order_id: The client's; a protocol makes one where the client gives none.
        quantity: Units; 0 where `budget` says how much.
        budget: Money to spend (or to raise) at market, fees in that currency included.
        limit: Price of a limit, 0 where the type has none.
        stop: Price of a trigger, 0 where the type has none; a trailing one may leave it out.
        trail: How far a trailing stop stays behind, as a price.
        trail_ratio: The same as a share of the price.
        ts_expire: Of GTD, ns UTC.
        post_only: Canceled instead of taking.
        display: Units that others see of an iceberg; 0: all.
    """

    symbol: str
    client_order_id: str
    side: Side
    order_type: OrderType
    time_in_force: TimeInForce = TimeInForce.GTC
    quantity: Decimal = Decimal(0)
    budget: Decimal = Decimal(0)
    limit: Decimal = Decimal(0)
    stop: Decimal = Decimal(0)
    trail: Decimal = Decimal(0)
    trail_ratio: Decimal = Decimal(0)
    ts_expire: int = 0
    post_only: bool = False
    display: Decimal = Decimal(0)


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What a replace changes; None leaves a field as it is.

    `quantity` is the new total, filled units included. `client_order_id` is that of the order that
    takes its place, where the venue makes a new one.
    """

    quantity: Decimal | None = None
    limit: Decimal | None = None
    stop: Decimal | None = None
    client_order_id: str = ""


class PlacedStatus(Enum):
    """Where an order stands at the exchange."""

    NEW = "new"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REPLACED = "replaced"


OPEN_STATUSES = frozenset((PlacedStatus.NEW, PlacedStatus.PARTIALLY_FILLED))


class EndCause(Enum):
    """Why an order is off the book without being filled."""

    NONE = "none"
    CLIENT = "client"
    TIME_IN_FORCE = "time_in_force"
    NOT_AT_ONCE = "not_at_once"
    POST_ONLY = "post_only"
    BUDGET = "budget"
    FUNDS = "funds"
    LINKED = "linked"
    VENUE = "venue"


class PlacedOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order that the exchange has taken, as it was at one moment. Ticks, lots, minor units.

    Attributes:
        number: The exchange's own, rising from 1; ids of a protocol are made of it.
        request: As it was asked for.
        lots: In all; 0 while `budget` (minor) has not been sized.
        ts_created: Virtual time of receipt, ns UTC.
        ts_updated: Virtual time of the newest change.
        filled_notional: Minor units of the quote currency.
        fees_quote: Fees so far in the quote currency, minor units.
        fees_base: Fees so far in the base currency, 1e-8 units.
        is_triggered: Its stop has met its price.
        is_canceling: A cancel is on its way to the matching.
        replaces: Number of the order whose place it took; 0: none.
        replaced_by: Number of the order that took its place; 0: none.
        hold_asset: What it holds while it is open: a currency, or the id of an instrument whose
            lots it will close.
        hold_per_lot: How much of it each open lot holds: minor units, or 1 lot.
        hold_fee: Minor units held for the fee of the whole order.
    """

    number: int
    account: str
    client_order_id: str
    instrument: InstrumentId
    side: Side
    order_type: OrderType
    time_in_force: TimeInForce
    lots: int
    budget: int
    limit_ticks: int
    stop_ticks: int
    ts_created: int
    ts_updated: int
    request: NewOrder
    status: PlacedStatus = PlacedStatus.NEW
    filled_lots: int = 0
    filled_notional: int = 0
    fees_quote: int = 0
    fees_base: int = 0
    is_triggered: bool = False
    is_canceling: bool = False
    cause: EndCause = EndCause.NONE
    reason: str = ""
    replaces: int = 0
    replaced_by: int = 0
    hold_asset: str = ""
    hold_per_lot: int = 0
    hold_fee: int = 0

    @property
    def is_open(self) -> bool:
        """Whether it can still fill."""
        return self.status in OPEN_STATUSES

    @property
    def leaves(self) -> int:
        """Lots that may still fill; 0 when it is closed, and of an order sized at its fill."""
        return max(0, self.lots - self.filled_lots) if self.is_open else 0

    @property
    def held(self) -> int:
        """How much of `hold_asset` it holds now."""
        if not self.is_open:
            return 0
        if not self.lots and self.budget:
            return max(0, self.budget - self.filled_notional - self.fees_quote)
        return self.leaves * self.hold_per_lot + max(0, self.hold_fee - self.fees_quote)


class Execution(msgspec.Struct, frozen=True, kw_only=True):
    """One fill. Ticks, lots, minor units of the quote currency.

    Attributes:
        number: The exchange's own, rising from 1 over all accounts: unique for ever.
        fee: In `fee_asset`: minor units, or 1e-8 units of the base currency.
        ts: Virtual time at which it was booked and told, ns UTC: what "since" goes by.
        ts_fill: When the fill model puts it, never later than `ts`.
        leaves: Lots of the order still open behind it.
        position_lots: Signed lots that the account held of the instrument behind it.
    """

    number: int
    order: int
    account: str
    client_order_id: str
    instrument: InstrumentId
    side: Side
    lots: int
    ticks: int
    notional: int
    fee: int
    fee_asset: str
    liquidity: LiquiditySide
    ts: int
    ts_fill: int
    leaves: int
    position_lots: int


class UpdateKind(Enum):
    """What happened to an order."""

    ACCEPTED = "accepted"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REPLACED = "replaced"
    REDUCED = "reduced"
    TRIGGERED = "triggered"
    CANCEL_REFUSED = "cancel_refused"
    REPLACE_REFUSED = "replace_refused"


class OrderUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """Something happened to an order: told to its account, and to nobody else.

    `order` is as it was right behind it; after a replace it is the one that holds the place now.
    `seq` rises by one with everything that the exchange says of orders. `replaced` is the order
    whose place was taken, where the venue makes a new one.
    """

    seq: int
    ts: int
    account: str
    kind: UpdateKind
    order: PlacedOrder
    execution: Execution | None = None
    replaced: PlacedOrder | None = None
    reason: str = ""


class MarketRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the replayed data, for everybody. `ends_slice`: no other row of its time follows."""

    row: int
    ts: int
    event: Bar | QuoteTick | TradeTick | BookDelta
    ends_slice: bool


Happening = OrderUpdate | MarketRow
Listener = Callable[[Happening], None]


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """Signed lots of a position, what they cost (minor units, same sign), lots held by orders."""

    lots: int
    cost: int
    held: int = 0


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """What an account has of a currency, in 1e-8 units, and how much of it open orders hold."""

    total: int
    held: int = 0

    @property
    def free(self) -> int:
        """What orders may still use."""
        return self.total - self.held


class Books(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the exchange knows of an account at `ts` (virtual time, ns UTC).

    `positions` are those of instruments that are no pairs of currencies; of pairs the balances of
    their base currencies tell it. `fees` is what was paid so far of each currency.
    """

    account: str
    ts: int
    balances: dict[str, Balance]
    positions: dict[InstrumentId, Holding]
    open_orders: tuple[PlacedOrder, ...]
    executions: tuple[Execution, ...]
    fees: dict[str, int]
