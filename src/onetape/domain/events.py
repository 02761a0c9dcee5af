"""The envelope of everything on the tape, and the payloads of the events that we make.

A payload is a frozen struct; its tag is the event type. Payloads stay small: what can be found by
`client_order_id` or by folding is not repeated.
"""

from __future__ import annotations

from enum import Enum
from typing import final

import msgspec

from onetape.domain.breakers import BreakerAction, BreakerKind
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.market import (
    BookDelta,
    ContractExpiry,
    CorporateAction,
    CorporateActionKind,
    FundingRate,
    MarkPrice,
    QuoteTick,
    SessionSettlement,
    TradeTick,
    TradingStatus,
)
from onetape.domain.orders import (
    CancelIntent,
    ConvertIntent,
    DenialCode,
    ExerciseIntent,
    LiquiditySide,
    OrderConditions,
    OrderIntent,
    OrderType,
    RejectCode,
    ReplaceIntent,
    Side,
    TimeInForce,
)
from onetape.domain.postings import PostingKind
from onetape.domain.venue import (
    BarClosed,
    ConnectionChanged,
    Discrepancy,
    OperatorCommand,
    SessionResumed,
    TickHeard,
    VenueReport,
    VenueSnapshot,
)

SCHEMA_VERSION = 1
"""Version of every payload below; a change that old readers can't read raises it."""


class DatasetPin(msgspec.Struct, frozen=True, kw_only=True):
    """Which market data a session read: catalog table, version, and the hash of the rows used."""

    instrument: InstrumentId
    timeframe: str
    table_version: int
    content_hash: str
    rows: int
    ts_first: int
    ts_last: int
    adjustment: str = "none"


class SessionStarted(
    msgspec.Struct, frozen=True, array_like=True, kw_only=True, tag="session.started"
):
    """First event of a tape: everything that the session ran on.

    `config` is the resolved configuration as canonical JSON, `instruments` the definitions of what
    it could trade, so that ticks and lots can be read without the catalog. `feature_versions` are
    those of each strategy's features, by strategy and name.
    """

    session: str
    mode: str
    config: str
    config_hash: str
    code_version: str
    strategy_versions: dict[str, str]
    seed: int
    datasets: list[DatasetPin]
    instruments: list[Instrument] = []
    feature_versions: dict[str, dict[str, str]] = {}


class SessionStopped(
    msgspec.Struct, frozen=True, array_like=True, kw_only=True, tag="session.stopped"
):
    """Last event of a complete tape."""

    reason: str
    market_events: int


class CapitalDeposited(msgspec.Struct, frozen=True, array_like=True, tag="account.deposited"):
    """Cash (minor units) given to a strategy's sub-ledger."""

    strategy: str
    currency: str
    amount: int


class OrderApproved(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="risk.approved"):
    """Every gate said yes. `lots` is what sizing made of the intent (an estimate at-fill)."""

    strategy: str
    intent: int
    client_order_id: str
    side: Side
    lots: int


@final
class OrderDenied(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="risk.denied"):
    """Our risk refused. `actual` broke `limit`, both in the unit that `unit` names."""

    strategy: str
    intent: int
    instrument: InstrumentId
    code: DenialCode
    actual: float
    limit: float
    unit: str


class OrderShrunk(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="risk.shrunk"):
    """A gate left `lots` of the `asked_lots`, instead of refusing the order.

    `actual` broke `limit`, both in the unit that `unit` names; what is left is asked again.
    """

    strategy: str
    intent: int
    instrument: InstrumentId
    code: DenialCode
    asked_lots: int
    lots: int
    actual: float
    limit: float
    unit: str


@final
class OrderSubmitted(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="order.submitted"):
    """The command to the venue, on the tape before it leaves. `lots` 0: sized at the fill."""

    client_order_id: str
    strategy: str
    instrument: InstrumentId
    side: Side
    order_type: OrderType
    time_in_force: TimeInForce
    lots: int
    limit_ticks: int
    stop_ticks: int
    ts_expire: int
    budget: int = 0
    budget_is_ratio: bool = False
    reduce_only: bool = False
    conditions: OrderConditions | None = None


class OrderAdopted(
    msgspec.Struct, frozen=True, gc=False, array_like=True, kw_only=True, tag="order.adopted"
):
    """An order that was given at the venue by hand belongs to a strategy from now on.

    No gate was asked, because it stands there already. Its `filled_lots` of before are nobody's.
    `breaks` is the limit that it would have been refused for, `actual` and `limit` in the unit that
    `unit` names; None: it keeps all of them.
    """

    client_order_id: str
    venue_order_id: str
    strategy: str
    instrument: InstrumentId
    side: Side
    order_type: OrderType
    time_in_force: TimeInForce
    lots: int
    filled_lots: int
    limit_ticks: int
    stop_ticks: int
    ts_expire: int = 0
    conditions: OrderConditions | None = None
    breaks: DenialCode | None = None
    actual: float = 0.0
    limit: float = 0.0
    unit: str = ""


class OrderAccepted(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="order.accepted"):
    """The venue has the order."""

    client_order_id: str
    venue_order_id: str


class OrderRejected(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="order.rejected"):
    """The venue refused the order."""

    client_order_id: str
    code: RejectCode
    reason: str


class OrderCancelRejected(
    msgspec.Struct, frozen=True, gc=False, array_like=True, tag="order.cancel_rejected"
):
    """The venue refused a cancel; the order stands as it was."""

    client_order_id: str
    code: RejectCode
    reason: str


class OrderReplaceRejected(
    msgspec.Struct, frozen=True, gc=False, array_like=True, tag="order.replace_rejected"
):
    """The venue refused a replace; the order stands as it was."""

    client_order_id: str
    code: RejectCode
    reason: str


class OrderFilled(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="order.filled"):
    """A fill. `lots` positive, `notional` and `fee` in minor units, `leaves` lots still open."""

    client_order_id: str
    strategy: str
    instrument: InstrumentId
    side: Side
    lots: int
    ticks: int
    notional: int
    fee: int
    liquidity: LiquiditySide
    leaves: int
    ts_fill: int


class OrderPartiallyFilled(OrderFilled, frozen=True, gc=False, array_like=True,
                           tag="order.partially_filled"):  # fmt: skip
    """A fill that leaves lots open."""


@final
class StrayFilled(OrderFilled, frozen=True, gc=False, array_like=True,
                  tag="order.filled_stray"):  # fmt: skip
    """A fill of an order that is closed here: the books take it, and the order stays closed."""


class OrderTriggered(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="order.triggered"):
    """A stop order met its stop price and lives on as its base type."""

    client_order_id: str
    stop_ticks: int


@final
class OrderCancelPending(
    msgspec.Struct, frozen=True, gc=False, array_like=True, tag="order.cancel_pending"
):
    """The cancel command, on the tape before it leaves."""

    client_order_id: str


class OrderCanceled(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="order.canceled"):
    """The order is off the book; `reason` says at whose wish.

    Of one that had to fill whole at once `wanted` are the lots that it asked for and `found` those
    that were there; both 0 for every other.
    """

    client_order_id: str
    reason: str
    wanted: int = 0
    found: int = 0


@final
class OrderReplacePending(
    msgspec.Struct, frozen=True, gc=False, array_like=True, tag="order.replace_pending"
):
    """The replace command, on the tape before it leaves. Zero leaves a field as it is."""

    client_order_id: str
    lots: int
    limit_ticks: int
    stop_ticks: int


class OrderReplaced(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="order.replaced"):
    """The venue has changed the order; these are its fields now."""

    client_order_id: str
    lots: int
    limit_ticks: int
    stop_ticks: int


class OrderReduced(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="order.reduced"):
    """The venue has taken lots from the order; `lots` is its new total, filled ones included."""

    client_order_id: str
    lots: int
    reason: str


class OrderExpired(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="order.expired"):
    """The order's time in force is over."""

    client_order_id: str
    reason: str


class OrderEmulated(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="order.emulated"):
    """The order is held by us, because its venue lacks what `lacking` names."""

    client_order_id: str
    lacking: str


class OrderReleased(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="order.released"):
    """An order that we held leaves for the venue, as a plain one of these fields."""

    client_order_id: str
    order_type: OrderType
    time_in_force: TimeInForce
    lots: int
    limit_ticks: int
    stop_ticks: int


class OrderUnknown(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="order.unknown"):
    """A command left and no answer came; counted at its worst until resolved."""

    client_order_id: str


class PositionChanged(
    msgspec.Struct, frozen=True, gc=False, array_like=True, tag="position.changed"
):
    """The books after a fill: signed lots, cost basis, cash, this fill's realized PnL (minor)."""

    strategy: str
    instrument: InstrumentId
    lots: int
    cost: int
    realized: int
    cash: int


class PositionOpened(PositionChanged, frozen=True, gc=False, array_like=True,
                     tag="position.opened"):  # fmt: skip
    """A position left flat."""


class PositionClosed(PositionChanged, frozen=True, gc=False, array_like=True,
                     tag="position.closed"):  # fmt: skip
    """A position returned to flat."""


class PositionAdjusted(
    msgspec.Struct, frozen=True, gc=False, array_like=True, tag="position.adjusted"
):
    """The books after a corporate action: signed lots, cost basis, cash (minor units).

    `amount` is the cash that the action moved (received: positive); `realized` PnL of lots that it
    took, `income` a dividend. `receivable` is the change of what is to be paid at `ts_pay` (ns
    UTC). `received` lots of the instrument `other` came with `carried` of the cost, and it holds
    `other_lots` that cost `other_cost` behind it.
    """

    strategy: str
    instrument: InstrumentId
    kind: CorporateActionKind
    lots: int
    cost: int
    amount: int
    realized: int
    income: int
    cash: int
    receivable: int = 0
    ts_pay: int = 0
    other: InstrumentId = InstrumentId("")
    received: int = 0
    carried: int = 0
    other_lots: int = 0
    other_cost: int = 0


class CashPosted(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="account.posted"):
    """Cash that moved without a fill, and the cash of that currency then (minor units).

    `amount` is positive when it was received. `instrument` is empty where it is of none; `reason`
    is how the amount came about, for people.
    """

    strategy: str
    kind: PostingKind
    instrument: InstrumentId
    amount: int
    currency: str
    cash: int
    reason: str = ""


class SettlementKind(Enum):
    """What a contract's position was settled by.

    | kind          | what                                                                   |
    | ------------- | ---------------------------------------------------------------------- |
    | `variation`   | the end of a session: the gain of a future moves to cash               |
    | `final`       | expiry of a future                                                     |
    | `exercise`    | a long option is exercised                                             |
    | `assignment`  | a short option is exercised by its holder                              |
    | `worthless`   | an option expires out of the money                                     |
    | `lapsed`      | a long option expires in the money, and nothing covers its exercise    |
    | `delivery`    | the other leg of an exercise: the underlying is bought or sold         |
    | `liquidation` | the broker closes lots for want of margin                              |
    | `base_fee`    | a venue took its fee in lots: they are sold, and the fee is the price  |
    """

    VARIATION = "variation"
    FINAL = "final"
    EXERCISE = "exercise"
    ASSIGNMENT = "assignment"
    WORTHLESS = "worthless"
    LAPSED = "lapsed"
    DELIVERY = "delivery"
    LIQUIDATION = "liquidation"
    BASE_FEE = "base_fee"


class PositionSettled(
    msgspec.Struct, frozen=True, gc=False, array_like=True, tag="position.settled"
):
    """The books after a position changed without an order: signed lots and cost as they are now.

    `traded` is the signed change of lots, at `ticks` and with `notional`. `amount` is the cash that
    it moved before `fee` (received: positive), `realized` PnL of the lots that went.
    """

    strategy: str
    instrument: InstrumentId
    kind: SettlementKind
    traded: int
    ticks: int
    notional: int
    lots: int
    cost: int
    amount: int
    realized: int
    fee: int
    cash: int


class ContractAdjusted(
    msgspec.Struct, frozen=True, gc=False, array_like=True, tag="contract.adjusted"
):
    """What an action of its underlying made of an option: what a contract is exercised for now.

    `contracts` new ones stand for an old one. `strike` is minor units of a unit; `top / bottom`
    units of the underlying and `cash` minor units in lieu of fractions are delivered a lot.
    """

    instrument: InstrumentId
    underlying: InstrumentId
    kind: CorporateActionKind
    contracts: int
    strike: int
    top: int
    bottom: int
    cash: int


class MarginStatus(Enum):
    """Where an account stands against its maintenance margin.

    | status        | equity is                                                              |
    | ------------- | ---------------------------------------------------------------------- |
    | `sufficient`  | at least `call_ratio` times the requirement again                      |
    | `called`      | below that: a margin call                                              |
    | `liquidation` | below the requirement: orders are canceled and positions reduced       |
    | `bankrupt`    | below zero after everything was closed: the strategy owes the rest     |
    """

    SUFFICIENT = "sufficient"
    CALLED = "called"
    LIQUIDATION = "liquidation"
    BANKRUPT = "bankrupt"


class MarginStatusChanged(
    msgspec.Struct, frozen=True, gc=False, array_like=True, tag="account.margin"
):
    """A strategy's margin has another status; `instrument` is empty unless it is isolated.

    `equity` stands against `maintenance`, both in minor units.
    """

    strategy: str
    instrument: InstrumentId
    status: MarginStatus
    equity: int
    maintenance: int


class TimerFired(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="timer.fired"):
    """A timer that a strategy set has come due."""

    strategy: str
    name: str
    ts_due: int


class KillSwitchSet(msgspec.Struct, frozen=True, array_like=True, tag="control.kill_switch"):
    """An operator (or a breaker) stops, or allows again, everything that is not reducing."""

    active: bool
    reason: str


class CashSettling(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="account.settling"):
    """Proceeds of a sale wait for their settlement (`amount` positive), or have settled (negative).

    `unsettled` is all of `currency` that a strategy waits for then, minor units.
    """

    strategy: str
    instrument: InstrumentId
    amount: int
    currency: str
    unsettled: int


class BreakerTripped(msgspec.Struct, frozen=True, array_like=True, tag="risk.breaker_tripped"):
    """A circuit breaker tripped: `actual` broke `limit`, both in the unit that `unit` names.

    `breaker` is its place in the configuration; `strategy` is empty for the account, `instrument`
    where it is not about data. `ts_rearm` (ns UTC) is when it re-arms by time, 0 when it does not.
    """

    breaker: int
    kind: BreakerKind
    strategy: str
    instrument: InstrumentId
    action: BreakerAction
    actual: float
    limit: float
    unit: str
    ts_rearm: int


class BreakerRearmed(msgspec.Struct, frozen=True, array_like=True, tag="risk.breaker_rearmed"):
    """A circuit breaker that had tripped looks again, and counts anew from here."""

    breaker: int
    kind: BreakerKind
    strategy: str
    instrument: InstrumentId


class TransferOrdered(
    msgspec.Struct, frozen=True, gc=False, array_like=True, tag="control.transfer"
):
    """Capital (minor units) is to go from one strategy to another."""

    source: str
    target: str
    amount: int


class TransferRefused(
    msgspec.Struct, frozen=True, gc=False, array_like=True, tag="account.transfer_refused"
):
    """The source has not as much cash that binds nothing (`free`); nothing has moved."""

    source: str
    target: str
    amount: int
    free: int


@final
class SignalRecorded(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="signal"):
    """A number a strategy wants remembered (score, probability, regime)."""

    strategy: str
    name: str
    value: float


class FeatureDrifted(msgspec.Struct, frozen=True, array_like=True, tag="feature.drifted"):
    """A feature is distributed otherwise than it was; see `onetape.features.drift`.

    `other` is the second feature of a correlation, else empty. `value` was above `threshold`.
    `reference` and `recent` count values in the bins between the inner `edges`.
    """

    strategy: str
    instrument: InstrumentId
    feature: str
    other: str
    statistic: str
    value: float
    threshold: float
    edges: list[float]
    reference: list[int]
    recent: list[int]


class StrategyQuarantined(
    msgspec.Struct, frozen=True, array_like=True, tag="failure.strategy_quarantined"
):
    """A strategy raised and takes no further part; everybody else goes on."""

    strategy: str
    callback: str
    error: str
    where: str


OrderReport = (
    OrderAccepted
    | OrderRejected
    | OrderFilled
    | OrderPartiallyFilled
    | OrderTriggered
    | OrderCancelPending
    | OrderCanceled
    | OrderCancelRejected
    | OrderReplacePending
    | OrderReplaced
    | OrderReplaceRejected
    | OrderReduced
    | OrderExpired
    | OrderUnknown
    | OrderEmulated
    | OrderReleased
)
"""What can happen to an order that has been submitted."""

VenueCommand = OrderSubmitted | OrderCancelPending | OrderReplacePending
"""What leaves for a venue."""

OrderEvent = OrderDenied | OrderReport | StrayFilled | OrderAdopted
"""What `Strategy.on_order_update` receives."""

PositionEvent = PositionChanged | PositionOpened | PositionClosed

Payload = (
    SessionStarted
    | SessionStopped
    | CapitalDeposited
    | OrderIntent
    | CancelIntent
    | ReplaceIntent
    | ExerciseIntent
    | ConvertIntent
    | OrderApproved
    | OrderShrunk
    | OrderSubmitted
    | OrderEvent
    | PositionEvent
    | PositionAdjusted
    | CashPosted
    | CashSettling
    | TransferOrdered
    | TransferRefused
    | PositionSettled
    | ContractAdjusted
    | MarginStatusChanged
    | TimerFired
    | KillSwitchSet
    | BreakerTripped
    | BreakerRearmed
    | SignalRecorded
    | FeatureDrifted
    | StrategyQuarantined
    | QuoteTick
    | TradeTick
    | BookDelta
    | FundingRate
    | MarkPrice
    | SessionSettlement
    | ContractExpiry
    | CorporateAction
    | TradingStatus
    | BarClosed
    | TickHeard
    | ConnectionChanged
    | VenueReport
    | VenueSnapshot
    | Discrepancy
    | OperatorCommand
    | SessionResumed
)


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a tape, as readers see it.

    `seq` is the identity within a tape. `correlation_id` is the seq of the market event or command
    that started the chain, `causation_id` the seq of the direct cause; 0 means none. Market data of
    a backtest is pinned, not copied: it takes its seq but stands in the catalog, not on the tape.
    """

    seq: int
    ts_event: int
    ts_ingest: int
    type: str
    source: str
    payload: Payload
    correlation_id: int
    causation_id: int
    version: int = SCHEMA_VERSION
