"""What a strategy wants (`OrderIntent`), what happens to it, and the words for both."""

from __future__ import annotations

from enum import Enum, IntEnum

import msgspec

from onetape.domain.instrument import InstrumentId


class Side(IntEnum):
    """Buy or sell; the value is the sign of the position change."""

    BUY = 1
    SELL = -1


class PositionSide(Enum):
    """Which way a position stands."""

    LONG = "long"
    SHORT = "short"
    FLAT = "flat"


class LiquiditySide(IntEnum):
    """Whether a fill gave liquidity to the book or took it."""

    MAKER = 0
    TAKER = 1


class OrderType(IntEnum):
    """How an order meets the market. A stop order becomes its base type when it is triggered."""

    MARKET = 0
    LIMIT = 1
    STOP = 2
    STOP_LIMIT = 3


class TimeInForce(IntEnum):
    """How long an order lives."""

    GTC = 0
    DAY = 1
    GTD = 2
    IOC = 3
    FOK = 4


class OrderStatus(IntEnum):
    """Where an order stands; `execution/oms.py` holds the one table of moves between them."""

    SUBMITTED = 0
    ACCEPTED = 1
    PARTIALLY_FILLED = 2
    CANCEL_PENDING = 3
    REPLACE_PENDING = 4
    UNKNOWN = 5
    FILLED = 6
    CANCELED = 7
    EXPIRED = 8
    REJECTED = 9
    DENIED = 10


class QuantityBasis(IntEnum):
    """What `OrderIntent.amount` means.

    | basis            | amount                                                             |
    | ---------------- | ------------------------------------------------------------------ |
    | LOTS             | lots to trade                                                      |
    | TARGET_LOTS      | signed lots to hold afterwards                                     |
    | TARGET_WEIGHT    | signed share of strategy equity (1e-8) to hold, fees included,     |
    |                  | sized at the decision's mark, rounded toward zero                  |
    | NOTIONAL_AT_FILL | money (minor units) to spend, fees included, sized by the venue at |
    |                  | the fill price and rounded down                                    |
    | EQUITY_AT_FILL   | share of strategy equity (1e-8) to spend, fees included, sized at  |
    |                  | the fill price with the equity of that moment, rounded down        |
    """

    LOTS = 0
    TARGET_LOTS = 1
    TARGET_WEIGHT = 2
    NOTIONAL_AT_FILL = 3
    EQUITY_AT_FILL = 4


class OrderIntent(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="intent.order"):
    """What a strategy wants, before sizing and risk.

    `intent` counts from 1 within the strategy. Prices are ticks, zero where the type has none.
    `ts_expire` (ns UTC) belongs to GTD. For target bases `side` is BUY until sizing decides it.
    """

    strategy: str
    intent: int
    instrument: InstrumentId
    side: Side
    basis: QuantityBasis
    amount: int
    order_type: OrderType
    time_in_force: TimeInForce
    limit_ticks: int = 0
    stop_ticks: int = 0
    ts_expire: int = 0
    reduce_only: bool = False
    label: str = ""


class CancelIntent(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="intent.cancel"):
    """A strategy wants an order of its own canceled."""

    strategy: str
    intent: int
    client_order_id: str


class ReplaceIntent(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="intent.replace"):
    """A strategy wants an order of its own changed; zero leaves a field as it is.

    `lots` is the new total quantity, including what is filled already.
    """

    strategy: str
    intent: int
    client_order_id: str
    lots: int = 0
    limit_ticks: int = 0
    stop_ticks: int = 0


Intent = OrderIntent | CancelIntent | ReplaceIntent


class DenialCode(Enum):
    """Why our risk refused an intent. One value a gate, plus what sizing and the OMS refuse."""

    NOT_ALLOWED = "not_allowed"
    KILL_SWITCH = "kill_switch"
    ORDER_QUANTITY = "order_quantity"
    ORDER_NOTIONAL = "order_notional"
    ORDER_RATE = "order_rate"
    POSITION_QUANTITY = "position_quantity"
    POSITION_RATIO = "position_ratio"
    CONCENTRATION = "concentration"
    GROSS_EXPOSURE = "gross_exposure"
    NET_EXPOSURE = "net_exposure"
    LEVERAGE = "leverage"
    BUYING_POWER = "buying_power"
    DAILY_LOSS = "daily_loss"
    DRAWDOWN = "drawdown"
    NO_MARK = "no_mark"
    ZERO_QUANTITY = "zero_quantity"
    LOT_LIMITS = "lot_limits"
    MIN_NOTIONAL = "min_notional"
    REDUCE_ONLY = "reduce_only"
    UNKNOWN_ORDER = "unknown_order"
    ORDER_CLOSED = "order_closed"
    ALREADY_PENDING = "already_pending"
    NOT_REPLACEABLE = "not_replaceable"


class RejectCode(Enum):
    """Why a venue refused a command."""

    UNKNOWN_ORDER = "unknown_order"
    ORDER_CLOSED = "order_closed"
    QUANTITY_BELOW_FILLED = "quantity_below_filled"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    UNSUPPORTED = "unsupported"
