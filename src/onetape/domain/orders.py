"""What a strategy wants (`OrderIntent`), what happens to it, and the words for both."""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import final

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
    """How an order meets the market; from STOP on an order waits for its trigger.

    A stop triggers where the market goes against the order (up for a buy), an if-touched order
    where it comes to it (down for a buy). A trailing stop follows the best price at a distance.
    """

    MARKET = 0
    LIMIT = 1
    STOP = 2
    STOP_LIMIT = 3
    MARKET_IF_TOUCHED = 4
    LIMIT_IF_TOUCHED = 5
    TRAILING_STOP = 6
    TRAILING_STOP_LIMIT = 7

    @property
    def has_limit(self) -> bool:
        """Whether a strategy gives a limit price with it; a trailing stop-limit makes its own."""
        return self in _WITH_LIMIT

    @property
    def has_trigger(self) -> bool:
        """Whether it waits for a price (`stop_ticks`)."""
        return self >= _STOP

    @property
    def is_trailing(self) -> bool:
        """Whether its trigger follows the market."""
        return self >= _TRAILING_STOP

    @property
    def triggered(self) -> OrderType:
        """What it becomes when it is triggered."""
        match self:
            case OrderType.STOP | OrderType.MARKET_IF_TOUCHED | OrderType.TRAILING_STOP:
                return OrderType.MARKET
            case OrderType.STOP_LIMIT | OrderType.LIMIT_IF_TOUCHED | OrderType.TRAILING_STOP_LIMIT:
                return OrderType.LIMIT
            case _:
                return self


_WITH_LIMIT = (OrderType.LIMIT, OrderType.STOP_LIMIT, OrderType.LIMIT_IF_TOUCHED)
_STOP, _TRAILING_STOP = OrderType.STOP, OrderType.TRAILING_STOP


class TimeInForce(IntEnum):
    """How long an order lives.

    AT_THE_OPEN and AT_THE_CLOSE orders take part in the next opening or closing of a session, and
    in nothing else.
    """

    GTC = 0
    DAY = 1
    GTD = 2
    IOC = 3
    FOK = 4
    AT_THE_OPEN = 5
    AT_THE_CLOSE = 6


class Contingency(IntEnum):
    """What the fill of an order does to the others of its group.

    | contingency | a fill                                                            |
    | ----------- | ----------------------------------------------------------------- |
    | NONE        | leaves them                                                       |
    | OCO         | cancels them: one cancels the other                               |
    | OUO         | takes as many lots from each of them: one updates the other       |
    """

    NONE = 0
    OCO = 1
    OUO = 2


class OrderConditions(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What only some orders have; zero or empty where it does not apply.

    Attributes:
        trail_ticks: How far a trailing stop stays behind the best price.
        trail_ratio_e8: The same as a share (1e-8) of that price, rounded up to a tick.
        offset_ticks: How far the limit of a trailing stop-limit is beyond its stop.
        post_only: Canceled instead of taking liquidity.
        parent: Client order id of the order whose fills this one waits for: what has filled there
            may fill here. It ends where the parent ends without a fill (one triggers the other).
        group: Name of the orders, of one strategy and instrument, that `contingency` binds.
        contingency: What a fill in the group does to the others.
        display_lots: How many lots of an iceberg others see; each slice of so many waits behind
            what is there when it is shown.
    """

    trail_ticks: int = 0
    trail_ratio_e8: int = 0
    offset_ticks: int = 0
    post_only: bool = False
    parent: str = ""
    group: str = ""
    contingency: Contingency = Contingency.NONE
    display_lots: int = 0


class OrderStatus(IntEnum):
    """Where an order stands; `execution/oms.py` holds the one table of moves between them.

    EMULATED is the newest, and open: snapshots and compiled code count the others by their value.
    """

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
    EMULATED = 11


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


@final
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
    conditions: OrderConditions | None = None


@final
class CancelIntent(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="intent.cancel"):
    """A strategy wants an order of its own canceled."""

    strategy: str
    intent: int
    client_order_id: str


@final
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


@final
class ExerciseIntent(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="intent.exercise"):
    """A strategy exercises `lots` of an American option that it holds, before its expiry."""

    strategy: str
    intent: int
    instrument: InstrumentId
    lots: int


@final
class ConvertIntent(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="intent.convert"):
    """A strategy wants `amount` (minor units of `source`) of its cash converted into `target`."""

    strategy: str
    intent: int
    source: str
    target: str
    amount: int


Intent = OrderIntent | CancelIntent | ReplaceIntent | ExerciseIntent | ConvertIntent


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
    PARENT_CLOSED = "parent_closed"
    DELISTED = "delisted"
    DISPLAY = "display"
    ACCOUNT_GROSS_EXPOSURE = "account_gross_exposure"
    ACCOUNT_NET_EXPOSURE = "account_net_exposure"
    ACCOUNT_LEVERAGE = "account_leverage"
    ACCOUNT_DAILY_LOSS = "account_daily_loss"
    ACCOUNT_DRAWDOWN = "account_drawdown"
    ACCOUNT_ORDER_RATE = "account_order_rate"
    BREAKER = "breaker"
    NO_RATE = "no_rate"
    EXPIRED = "expired"
    NOT_EXERCISABLE = "not_exercisable"
    NOT_LISTED = "not_listed"
    NOT_LOCATED = "not_located"
    UPTICK = "uptick"
    DAY_TRADES = "day_trades"
    TRAIL = "trail"
    PAUSED = "paused"
    UNSUPPORTED = "unsupported"
    NOT_A_MEMBER = "not_a_member"
    NO_CURRENCY = "no_currency"


class RejectCode(Enum):
    """Why a venue refused a command; `not_received`: it never had it, as was found out later."""

    UNKNOWN_ORDER = "unknown_order"
    ORDER_CLOSED = "order_closed"
    QUANTITY_BELOW_FILLED = "quantity_below_filled"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    UNSUPPORTED = "unsupported"
    HALTED = "halted"
    NOT_RECEIVED = "not_received"
