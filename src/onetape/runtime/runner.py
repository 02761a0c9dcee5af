"""One strategy inside a session: its callbacks, its context, its books, its features."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from onetape.domain.corporate_actions import ActionTerms
from onetape.domain.errors import StrategyError
from onetape.domain.events import (
    CashPosted,
    MarginStatusChanged,
    OrderEvent,
    OrderFilled,
    PositionAdjusted,
    PositionChanged,
    PositionSettled,
    SettlementKind,
)
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.legs import market_of, names_of, side_of
from onetape.domain.market import (
    ContractExpiry,
    CorporateAction,
    FundingRate,
    MarkPrice,
    SessionSettlement,
    TimeSlice,
    TradingStatus,
)
from onetape.domain.numbers import INT64_MAX
from onetape.domain.orders import Intent, LiquiditySide
from onetape.domain.postings import PostingKind
from onetape.domain.venue import ConnectionChanged
from onetape.execution.simulated.fee_rules import FeeSchedule, flat_ratio_e8
from onetape.marketdata.timeline import TimelineKind
from onetape.portfolio.ledger import NO_INSTRUMENT, Ledger, LedgerState, NewShares, Position
from onetape.risk.approval import RiskApproved, RiskEngine
from onetape.risk.gates.order_rate import OrderRate
from onetape.runtime.currency_exchange import CurrencyExchange
from onetape.runtime.equity_watch import EquityWatch, EquityWatchState
from onetape.runtime.feature_rows import FeatureRows
from onetape.runtime.market_state import Valuation
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy

STEP_CALLBACKS: dict[type, str] = {
    FundingRate: "on_funding",
    MarkPrice: "on_mark",
    SessionSettlement: "on_settlement",
    ContractExpiry: "on_expiry",
    TradingStatus: "on_status",
}
"""What hears of each contract step."""

_ROW_CALLBACKS: dict[TimelineKind, tuple[str, ...]] = {
    "bars": ("on_bar",),
    "trades": ("on_trade",),
    "quotes": ("on_quote", "on_trade"),
    "book": ("on_book", "on_trade"),
}


class DeskLine:
    """What an order of one strategy in one instrument needs, looked up once.

    Attributes:
        index: Position of the instrument in the timeline.
        fees: What the strategy pays there.
        taker_e8: The same as a `flat_ratio_e8`, where it is one.
        position: What it holds.
        approve: Its gates, as `RiskEngine.row_for` makes them.
        exchange: Its way into the currency of the books; None: it trades in that.
        leg: Which leg it is; None: longs and shorts are one position.
    """

    __slots__ = (
        "approve", "exchange", "factor", "fees", "index", "instrument", "inverse_factor",
        "is_picky", "leg", "position", "taker_e8",
    )  # fmt: skip

    def __init__(
        self,
        instrument: Instrument,
        index: int,
        fees: FeeSchedule,
        position: Position,
        approve: Callable[..., RiskApproved | None],
        exchange: CurrencyExchange | None = None,
    ) -> None:
        self.instrument = instrument
        self.factor = instrument.minor_per_tick_lot
        self.inverse_factor = instrument.inverse_factor
        self.is_picky = instrument.is_picky
        self.index = index
        self.fees = fees
        self.taker_e8 = flat_ratio_e8(fees, LiquiditySide.TAKER)
        self.position = position
        self.approve = approve
        self.exchange = exchange
        self.leg = side_of(instrument.id)


class RunnerState(msgspec.Struct, frozen=True, kw_only=True):
    """What a `Runner` remembers between two steps.

    `values` is the declared state of the strategy, `features` its feature row, compared when a
    session goes on. Whole numbers of the strategy beyond 64 bits are in `large`, as text.
    """

    intents: int
    currency: str
    quarantined: bool
    decided: list[int]
    rounds: int
    ts_rounds: int
    ledger: LedgerState
    watch: EquityWatchState | None
    order_rates: list[OrderRate]
    values: dict[str, bool | int | float | str]
    large: dict[str, str]
    features: bytes
    decided_to: int = 0


class Runner:
    """Binds a strategy to a session.

    A callback that the strategy does not override is None here, so that the loop never calls it.

    Args:
        name: Name of the strategy in this session.
        strategy: The user's object.
        context: Its window to the world.
        ledger: Its books.
        valuation: What the books are worth now.
        watch: Peak and session-start equity; None when no gate asks for them.
        columns: Its features by name, float64 of shape (rows,) in the order of the timeline.
        subscribed: Whether it wants the bars of each instrument (by position); None for all.
        order_prefix: What its client order ids begin with.
        risk: Its gates, which count for it alone.
        kind: What the rows of the timeline are.
        exchange: Its way between currencies; None: its books have only one.

    `on_row` is what hears each of them, `row_callback` its name in the class. `decided` holds the
    intent numbers that an overridden `generate_orders` has used, but those from 1 to `decided_to`,
    which it has used as well; `rounds` counts how often the
    strategy has been heard at the time `ts_rounds`. `lines` are those that the order desk has
    opened for it; `unsettled` are proceeds of sales (minor units) that a cash account may not spend
    yet, `unsettled_in` those in foreign currencies that are held.
    """

    __slots__ = (
        "_definitions", "_legs", "columns", "context", "decided", "decided_to", "exchange",
        "failure", "generate", "ledger", "lines", "name", "on_connection", "on_corporate_action",
        "on_margin", "on_order_update", "on_row", "on_slice", "on_step", "on_timer", "order_prefix",
        "quarantined", "risk", "rounds", "row_callback", "rows", "strategy", "subscribed",
        "ts_rounds", "unsettled", "unsettled_in", "valuation", "watch",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        strategy: Strategy,
        context: Context,
        ledger: Ledger,
        valuation: Valuation,
        watch: EquityWatch | None,
        columns: Mapping[str, npt.NDArray[np.float64]],
        instruments: Sequence[Instrument],
        subscribed: Sequence[bool] | None,
        order_prefix: str,
        risk: RiskEngine,
        kind: TimelineKind,
        exchange: CurrencyExchange | None = None,
    ) -> None:
        self.name = name
        self.strategy = strategy
        self.context = context
        self.ledger = ledger
        self.valuation = valuation
        self.watch = watch
        self.exchange = exchange
        self.unsettled = 0
        self.unsettled_in: dict[str, int] = {}
        self.columns = columns
        self.subscribed = subscribed
        self.order_prefix = order_prefix
        self.risk = risk
        self.quarantined = False
        self.failure: tuple[str, BaseException] | None = None
        self._definitions = {each.id: each for each in instruments}
        names = names_of(instruments)
        self._legs = {name: own for name, own in names.items() if own != (name,)}
        self.lines: dict[InstrumentId, DeskLine] = {}
        self.decided: set[int] = set()
        self.decided_to = 0
        self.rounds = 0
        self.ts_rounds = -1
        self.rows = FeatureRows(columns)
        market = strategy.on_market_event if self._overrides("on_market_event") else None
        heard = [each for each in _ROW_CALLBACKS[kind] if self._overrides(each)]
        self.row_callback = _ROW_CALLBACKS[kind][0]
        self.on_row: Callable[[Any, Context], None] | None = market
        if market is None and heard:
            self.on_row = getattr(strategy, self.row_callback)
            if len(_ROW_CALLBACKS[kind]) > 1:  # the rows are of several kinds
                self.row_callback = "on_market_event"
                self.on_row = strategy.on_market_event
        self.on_slice: Callable[[TimeSlice, Context], None] | None = None
        if kind == "bars":
            self.on_slice = market or (strategy.on_slice if self._overrides("on_slice") else None)
        self.on_order_update: Callable[[OrderEvent, Context], None] | None = (
            strategy.on_order_update if self._overrides("on_order_update") else None
        )
        self.on_corporate_action: Callable[[CorporateAction, Context], None] | None = market or (
            strategy.on_corporate_action if self._overrides("on_corporate_action") else None
        )
        self.on_step: dict[type, Callable[[Any, Context], None]] = {
            kind: market or getattr(strategy, name)
            for kind, name in STEP_CALLBACKS.items()
            if market is not None or self._overrides(name)
        }
        self.on_margin: Callable[[MarginStatusChanged, Context], None] | None = (
            strategy.on_margin if self._overrides("on_margin") else None
        )
        self.on_connection: Callable[[ConnectionChanged, Context], None] | None = (
            strategy.on_connection if self._overrides("on_connection") else None
        )
        self.on_timer: Callable[[str, Context], None] = strategy.on_timer
        self.generate: Callable[[Context], Sequence[Intent]] | None = (
            strategy.generate_orders if self._overrides("generate_orders") else None
        )

    def _overrides(self, callback: str) -> bool:
        return getattr(type(self.strategy), callback) is not getattr(Strategy, callback)

    def save(self, row: int) -> RunnerState:
        """What it remembers after the timeline's `row`, between two steps."""
        values = {name: getattr(self.strategy, name) for name in self.strategy.declared_state}
        large = {
            name: str(value)
            for name, value in values.items()
            if type(value) is int and not -INT64_MAX <= value <= INT64_MAX
        }
        return RunnerState(
            intents=self.context.intent_count,
            currency=self.ledger.currency,
            quarantined=self.quarantined,
            decided=sorted(self.decided),
            decided_to=self.decided_to,
            rounds=self.rounds,
            ts_rounds=self.ts_rounds,
            ledger=self.ledger.save(),
            watch=self.watch.save() if self.watch is not None else None,
            order_rates=self.risk.save(),
            values={name: value for name, value in values.items() if name not in large},
            large=large,
            features=self._feature_bytes(row),
        )

    def restore(self, state: RunnerState, row: int, heard_row: int) -> None:
        """Go on after `row`, where `state` was saved; `heard_row` is the last it was called with.

        Raises:
            StrategyError: The state or the features of the strategy are not those of then.
        """
        declared = self.strategy.declared_state
        values = state.values | {name: int(text) for name, text in state.large.items()}
        if values.keys() != declared.keys() or self._feature_bytes(row) != state.features:
            raise StrategyError(
                "its declared state or its features are not those of the snapshot",
                where=self.name,
                remedy="run it again from the start",
            )
        for name, value in values.items():
            setattr(self.strategy, name, value)
        self.ledger.restore(state.ledger)
        for identity, position in self.ledger.held.items():
            self._show(identity, position.lots)
        if self.watch is not None and state.watch is not None:
            self.watch.restore(state.watch)
        self.risk.restore(state.order_rates)
        self.context.intent_count = state.intents
        self.context.features = self.feature_row(heard_row) if heard_row >= 0 else None
        self.quarantined = state.quarantined
        self.decided, self.decided_to = set(state.decided), state.decided_to
        self.rounds, self.ts_rounds = state.rounds, state.ts_rounds

    def _feature_bytes(self, row: int) -> bytes:
        return np.array([each[row] for each in self.columns.values()], dtype="<f8").tobytes()

    def take_number(self, number: int) -> None:
        """Use a number of an intent, once.

        Numbers without a gap from 1 on are remembered by the last of them.

        Raises:
            StrategyError: It has been used.
        """
        if 1 <= number <= self.decided_to or number in self.decided:
            raise StrategyError(f"intent number {number} comes again")
        self.decided.add(number)
        while self.decided_to + 1 in self.decided:
            self.decided_to += 1
            self.decided.remove(self.decided_to)

    def wait_for(self, amount: int, currency: str = "") -> int:
        """So much more (or less) waits, of a currency or (empty) that of the books; all of it."""
        if not currency:
            self.unsettled += amount
            return self.unsettled
        self.unsettled_in[currency] = self.unsettled_in.get(currency, 0) + amount
        return self.unsettled_in[currency]

    def wants(self, index: int) -> bool:
        """Whether it is subscribed to the instrument at `index`."""
        return self.subscribed is None or self.subscribed[index]

    def hears(self, instrument: InstrumentId) -> bool:
        """Whether it is subscribed to `instrument`."""
        return instrument in self._definitions

    def settle(self, fill: OrderFilled) -> PositionChanged:
        """Post a fill and bring everything that looks at the books up to date."""
        if self.watch is not None:
            self.watch.advance()
        change = self.ledger.apply(fill)
        self.valuation.expire()
        definition = self._definitions[fill.instrument]
        self.context.units[fill.instrument] = definition.lots_to_float(change.lots)
        if self._legs:
            self._show(fill.instrument, change.lots)
        return change

    def _show(self, identity: InstrumentId, lots: int) -> None:
        """Have the strategy see a position; of a leg also what both legs come to."""
        units, definitions = self.context.units, self._definitions
        units[identity] = definitions[identity].lots_to_float(lots)
        market = market_of(identity)
        if market != identity:
            both = sum(self.ledger.positions[each].lots for each in self._legs[market])
            units[market] = definitions[market].lots_to_float(both)

    def adjust(
        self,
        action: CorporateAction,
        instrument: InstrumentId,
        terms: ActionTerms,
        mark_ticks: int,
        new: NewShares | None,
    ) -> PositionAdjusted | None:
        """Post a corporate action, if something of its instrument is held, or due.

        `instrument` is under which id it is held: its own, or that of a leg. `mark_ticks` is from
        before it, `new` what the position turns into or receives.
        """
        if self.watch is not None:
            self.watch.advance()
        change = self.ledger.adjust(instrument, action.kind, terms, mark_ticks, new, action.ts_pay)
        if change is None:
            return None
        self.valuation.expire()
        for identity, lots in ((change.instrument, change.lots), (change.other, change.other_lots)):
            if identity:
                self._show(identity, lots)
        return change

    def post(
        self,
        kind: PostingKind,
        amount: int,
        instrument: InstrumentId = NO_INSTRUMENT,
        reason: str = "",
        currency: str = "",
    ) -> CashPosted:
        """Book cash that moves without a fill; see `Ledger.post`."""
        if self.watch is not None:
            self.watch.advance()
        posted = self.ledger.post(kind, amount, instrument, reason, currency)
        if kind is PostingKind.TRANSFER and self.watch is not None:
            self.watch.transfer(amount)
        self.valuation.expire()
        return posted

    def settle_contract(
        self,
        instrument: InstrumentId,
        kind: SettlementKind,
        traded: int,
        ticks: int,
        notional: int,
        fee: int = 0,
    ) -> PositionSettled:
        """Post what happens to a position without an order; see `Ledger.settle`."""
        if self.watch is not None:
            self.watch.advance()
        settled = self.ledger.settle(instrument, kind, traded, ticks, notional, fee)
        self.valuation.expire()
        self._show(instrument, settled.lots)
        return settled

    def feature_rows(self, start: int, stop: int) -> Iterator[Any]:
        """Feature rows of the timeline's rows [start, stop)."""
        return self.rows.between(start, stop)

    def feature_row(self, row: int) -> Any:
        """The feature row of one row of the timeline; None when there are no features."""
        return self.rows.at(row)

    def place_of(self, error: BaseException) -> str:
        """`file:line` of the strategy's own code where `error` came from."""
        module = type(self.strategy).__module__
        place = ""
        for frame, line in traceback.walk_tb(error.__traceback__):
            if frame.f_globals.get("__name__") == module:
                place = f"{frame.f_code.co_filename.rpartition('/')[2]}:{line}"
        return place
