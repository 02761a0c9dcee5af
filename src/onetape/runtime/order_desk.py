"""From intent to command and from report to books: the desk that every order goes over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from onetape.domain.errors import InvariantBroken
from onetape.domain.events import (
    KillSwitchSet,
    OrderAdopted,
    OrderApproved,
    OrderCancelPending,
    OrderCancelRejected,
    OrderDenied,
    OrderFilled,
    OrderReplacePending,
    OrderReplaceRejected,
    OrderReport,
    StrayFilled,
    TransferOrdered,
    TransferRefused,
)
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.legs import index_of, is_closing
from onetape.domain.market import CorporateAction, TradingStatus
from onetape.domain.orders import (
    CancelIntent,
    ConvertIntent,
    DenialCode,
    OrderIntent,
    OrderStatus,
    QuantityBasis,
    ReplaceIntent,
)
from onetape.domain.postings import PostingKind
from onetape.execution.oms import BEYOND_CANCEL, FILLS, Oms, Order
from onetape.execution.simulated.fee_rules import FeeSchedule
from onetape.risk.approval import RiskApproved
from onetape.risk.kill_switch import KillSwitch
from onetape.runtime.bookkeeper import Bookkeeper
from onetape.runtime.closing_desk import ClosingDesk
from onetape.runtime.conversion_desk import ConversionDesk
from onetape.runtime.market_state import MarketState
from onetape.runtime.order_check import OrderCheck, deny
from onetape.runtime.order_claims import OrderClaims
from onetape.runtime.order_route import OrderRoute
from onetape.runtime.order_sizing import size_intent
from onetape.runtime.risk_audit import RiskAudit
from onetape.runtime.risk_controls import BREAKERS, RiskControls, RiskControlsState
from onetape.runtime.runner import DeskLine, Runner
from onetape.runtime.step_log import StepLog

_BEYOND_CHANGE = (OrderStatus.REPLACE_PENDING, *BEYOND_CANCEL)
_LOTS = QuantityBasis.LOTS


class DeskState(msgspec.Struct, frozen=True):
    """What an `OrderDesk` holds between two steps."""

    orders: list[Order]
    kill_active: bool
    kill_reason: str
    controls: RiskControlsState | None = None
    closings: dict[str, int] = {}


class OrderDesk:
    """Takes intents and venue reports; writes every decision into the step.

    An intent is sized (`order_sizing`), checked (`OrderCheck`, which asks `OrderClaims` what is
    open already) and sent (`OrderRoute`). A report moves its order and, where it is a fill, the
    books (`Bookkeeper`).

    Attributes:
        books: Posts what moves them.
        claims: What open orders claim.
        check: What an order is told before it leaves.
        closing: Takes strategies out of the market.
        route: The way to the venue.
        is_cash_account: Whether what is bought must be paid from cash.
        allows_short: Whether an exercise may hand over shares that are not held.
        conversions: Converts held cash where a strategy asks for it; without a multiple of equity
            it borrows nothing.
    """

    __slots__ = (
        "_controls", "_fees", "_index", "_instruments", "_kill_switch", "_log", "_market", "_oms",
        "_runners", "allows_short", "books", "check", "claims", "closing", "conversions",
        "is_cash_account", "route",
    )  # fmt: skip

    def __init__(
        self,
        log: StepLog,
        market: MarketState,
        oms: Oms,
        instruments: Sequence[Instrument],
        fees: Mapping[InstrumentId, FeeSchedule],
        runners: Mapping[str, Runner],
        *,
        controls: RiskControls | None = None,
        audit: RiskAudit | None = None,
        is_cash_account: bool = True,
        allows_short: bool = False,
    ) -> None:
        self.is_cash_account = is_cash_account
        self.allows_short = allows_short and not is_cash_account
        self._log = log
        self._controls = controls
        self._market = market
        self._oms = oms
        self._fees = fees
        self._runners = runners
        self._kill_switch = KillSwitch()
        self._instruments = {each.id: each for each in instruments}
        self._index = index_of(instruments)
        watching = (controls, audit.controls if audit is not None else None)
        self.books = Bookkeeper(
            log, market, instruments, runners, [each for each in watching if each is not None]
        )
        self.route = OrderRoute(log, oms, instruments)
        self.claims = OrderClaims(oms, market, instruments, self.route)
        self.check = OrderCheck(
            log, market, oms, instruments, self.route, self.claims, self._kill_switch, controls,
            audit,
        )  # fmt: skip
        self.closing = ClosingDesk(log, oms, instruments, self.route)
        self.conversions = ConversionDesk(log, self.claims, self.check, None)

    def save(self) -> DeskState:
        """Open orders, oldest first, and the kill switch."""
        switch = self._kill_switch
        controls = self._controls.save() if self._controls is not None else None
        return DeskState(
            list(self._oms.open.values()), switch.active, switch.reason, controls,
            self.closing.save(),
        )  # fmt: skip

    def restore(self, state: DeskState) -> None:
        """Go on where `state` was saved."""
        self._oms.open.update((each.client_order_id, each) for each in state.orders)
        self._kill_switch.active = state.kill_active
        self._kill_switch.reason = state.kill_reason
        self.closing.restore(state.closings)
        if self._controls is not None and state.controls is not None:
            self._controls.restore(state.controls)

    # What strategies ask for.

    def decide(
        self, runner: Runner, intent: OrderIntent | CancelIntent | ReplaceIntent | ConvertIntent
    ) -> OrderDenied | None:
        """Put an intent through sizing and risk; returns the refusal, if it is one."""
        if type(intent) is OrderIntent:
            return self._order(runner, intent)
        if type(intent) is CancelIntent:
            return self._cancel(runner, intent)
        if type(intent) is ConvertIntent:
            return self.conversions.convert(runner, intent)
        return self._replace(runner, intent)

    def _order(self, runner: Runner, intent: OrderIntent) -> OrderDenied | None:
        line = runner.lines.get(intent.instrument) or self._open_line(runner, intent.instrument)
        side, lots = intent.side, intent.amount
        if intent.basis is not _LOTS:
            sized = size_intent(runner, line, intent, self._market, self._oms.open.values())
            if sized is None:
                return None  # the target is held already: nothing to decide
            side, lots = sized
        if line.leg is not None and is_closing(line.leg, side) and not intent.reduce_only:
            intent = msgspec.structs.replace(intent, reduce_only=True)
        log, check = self._log, self.check
        events = log.events
        seq = log.first_seq + len(events)
        events.append((intent, log.origin, log.cause))
        identity = f"{runner.order_prefix}{intent.intent}"
        verdict = check.check(runner, line, intent, identity, side, lots, None)
        if type(verdict) is OrderDenied:
            log.emit(verdict, log.origin, seq)
            return verdict
        self.route.submit(verdict, check.lot_cost, seq)
        return None

    def _open_line(self, runner: Runner, identity: InstrumentId) -> DeskLine:
        instrument = self._instruments[identity]
        is_foreign = instrument.settlement_currency != runner.ledger.currency
        line = runner.lines[identity] = DeskLine(
            instrument, self._index[identity], self._fees[identity],
            runner.ledger.positions[identity], runner.risk.row_for(instrument),
            runner.exchange if is_foreign else None,
        )  # fmt: skip
        return line

    def _cancel(self, runner: Runner, intent: CancelIntent) -> OrderDenied | None:
        log = self._log
        seq = log.emit(intent, log.origin, log.cause)
        identity = intent.client_order_id
        order = self._oms.open.get(identity)
        if order is None or order.strategy != runner.name or order.status in BEYOND_CANCEL:
            return self._refuse_change(runner, intent, order, seq)
        self.route.change(OrderCancelPending(identity), order, seq)
        return None

    def _replace(self, runner: Runner, intent: ReplaceIntent) -> OrderDenied | None:
        log = self._log
        seq = log.emit(intent, log.origin, log.cause)
        order = self._oms.open.get(intent.client_order_id)
        is_mine = order is not None and order.strategy == runner.name
        if order is None or not is_mine or order.status in _BEYOND_CHANGE or order.asked_lots:
            return self._refuse_change(runner, intent, order, seq)
        changed = OrderReplacePending(
            intent.client_order_id, intent.lots or order.lots,
            intent.limit_ticks or order.limit_ticks, intent.stop_ticks or order.stop_ticks,
        )  # fmt: skip
        verdict = self._check_replacement(runner, intent, order, changed)
        if isinstance(verdict, OrderDenied):
            log.emit(verdict, log.origin, seq)
            return verdict
        approved = OrderApproved(
            runner.name, intent.intent, order.client_order_id, order.side, verdict.lots
        )
        order.asked_lots = changed.lots
        order.asked_lot_cost = self.check.lot_cost
        if self.route.fills_beside(order):
            order.beside_lots = order.lots - order.filled_lots
        self.route.change(changed, order, log.emit(approved, log.origin, seq))
        return None

    def _check_replacement(
        self, runner: Runner, intent: ReplaceIntent, order: Order, changed: OrderReplacePending
    ) -> RiskApproved | OrderDenied:
        """Risk of the order as it would be, instead of as it is."""
        as_new = OrderIntent(
            runner.name, intent.intent, order.instrument, order.side, QuantityBasis.LOTS,
            changed.lots - order.filled_lots, order.order_type, order.time_in_force,
            changed.limit_ticks, changed.stop_ticks, order.ts_expire, order.reduce_only,
            conditions=order.conditions,
        )  # fmt: skip
        has_limit = order.order_type.has_limit
        has_stop = order.order_type.has_trigger
        if (
            not order.lots
            or (intent.limit_ticks and not has_limit)
            or (intent.stop_ticks and not has_stop)
        ):
            return deny(as_new, DenialCode.NOT_REPLACEABLE, 0, 0, order.order_type.name)
        line = runner.lines.get(order.instrument) or self._open_line(runner, order.instrument)
        return self.check.check(
            runner, line, as_new, order.client_order_id, order.side, as_new.amount, order
        )

    def _refuse_change(
        self, runner: Runner, intent: CancelIntent | ReplaceIntent, order: Order | None, seq: int
    ) -> OrderDenied:
        number = intent.client_order_id.removeprefix(runner.order_prefix)
        if order is not None and order.strategy == runner.name:
            code = DenialCode.ALREADY_PENDING
        elif number.isdecimal() and int(number) < intent.intent:
            code = DenialCode.ORDER_CLOSED
        else:
            code = DenialCode.UNKNOWN_ORDER
        denied = OrderDenied(
            runner.name, intent.intent, InstrumentId(""), code, 0, 0, intent.client_order_id
        )
        self._log.emit(denied, self._log.origin, seq)
        return denied

    # What venues report.

    def adopt(self, found: OrderAdopted, cause: int) -> tuple[Runner, OrderAdopted]:
        """Take over an order that stands at the venue; returns whose it is now, and what was told.

        No gate can refuse it any more, so what it breaks is told with it. From now on it counts as
        every open order does. `cause` is the seq of the look that found it.

        Raises:
            InvariantBroken: Its id is taken, or nothing of it is open.
        """
        runner, log = self._runners[found.strategy], self._log
        line = runner.lines.get(found.instrument) or self._open_line(runner, found.instrument)
        breach, told = self.check.find_breach(runner, line, found), found
        if breach is not None:
            told = msgspec.structs.replace(
                found, breaks=breach.code, actual=breach.actual, limit=breach.limit,
                unit=breach.unit,
            )  # fmt: skip
        seq = log.emit(told, log.origin, cause)
        self._oms.adopt(told, self.check.lot_cost, log.origin, seq)
        return runner, told

    def has_price(self, instrument: InstrumentId) -> bool:
        """Whether an instrument has a mark, so that it can be said what an order costs."""
        return self._market.mark_ticks(self._index[instrument]) > 0

    def settle(self, report: OrderReport | StrayFilled, cause: int) -> Runner | None:
        """Follow a venue report through OMS and books; returns whose order it was.

        None where a cancel or replace of a closed order was refused: that answers a command.
        A stray fill goes to the books alone. `cause` is the seq of the market event that made it; 0
        when it answers a command.

        Raises:
            InvariantBroken: The report is for an unknown order or no legal move.
        """
        log = self._log
        if type(report) is StrayFilled:
            runner = self._runners[report.strategy]
            seq = log.emit(report, log.origin, cause)
            self.books.take_fill(runner, report, log.origin, seq)
            return runner
        order = self._oms.open.get(report.client_order_id)
        if order is None:
            if isinstance(report, OrderCancelRejected | OrderReplaceRejected):
                log.emit(report, 0, 0)  # it closed while a command of ours was under way
                return None
            raise InvariantBroken(f"{type(report).__name__} for unknown {report.client_order_id}")
        origin = order.correlation_id
        seq = log.emit(report, origin, cause or order.causation_id)
        self._oms.move(order, report, seq)
        runner = self._runners[order.strategy]
        if type(report) in FILLS and isinstance(report, OrderFilled):
            is_first = order.filled_lots - order.adopted_lots == report.lots
            self.books.take_fill(runner, report, origin, seq, is_first=is_first)
        return runner

    # What operators, breakers and the venue order.

    def apply_control(self, command: KillSwitchSet) -> None:
        """Follow an operator's command."""
        self._kill_switch.apply(command)

    def pause(self, strategies: Iterable[str], by: str = BREAKERS) -> None:
        """From now on these strategies may only reduce what they hold; `by` pauses no others."""
        if self._controls is not None:
            self._controls.pause(by, frozenset(strategies))

    @property
    def is_killed(self) -> bool:
        """Whether the kill switch is set."""
        return self._kill_switch.active

    def pausers(self, strategy: str) -> list[str]:
        """Who pauses a strategy besides the kill switch."""
        return self._controls.pausers(strategy) if self._controls is not None else []

    def is_paused(self, strategy: str) -> bool:
        """Whether a strategy may only reduce what it holds."""
        return self.check.pause_code(strategy) is not None

    def transfer(self, order: TransferOrdered, cause: int) -> None:
        """Move capital from one strategy to another, or refuse to; `cause` is the seq of `order`.

        Raises:
            InvariantBroken: A balance becomes too large.
        """
        log, source = self._log, self._runners[order.source]
        free = self.claims.free_cash(source, source.ledger.currency)
        margin = self.check.margin
        if margin is not None:  # what backs positions and orders stays
            needed, power = margin.compute_needs(source, self.claims.orders)
            free = min(free, power - needed)
        if order.amount > free:
            log.emit(TransferRefused(order.source, order.target, order.amount, free), cause, cause)
            return
        log.origin = log.cause = cause
        for name, amount, way in (
            (order.source, -order.amount, f"to {order.target}"),
            (order.target, order.amount, f"from {order.source}"),
        ):
            self.books.post(name, PostingKind.TRANSFER, amount, reason=way)

    def adjust(self, action: CorporateAction, cause: int) -> None:
        """A corporate action: its instrument may be gone behind it.

        Raises:
            InvariantBroken: A position or a balance becomes too large.
        """
        self.books.adjust(action, cause)
        self.end(action)

    def end(self, action: CorporateAction) -> None:
        """From a delisting, merger or change of symbol on orders of the instrument are denied."""
        if action.kind.ends:
            self.route.leave(action.instrument, DenialCode.DELISTED)

    # What a broker knows of its client.

    @property
    def halted(self) -> Mapping[InstrumentId, TradingStatus]:
        """The instruments that their venue has halted, as far as we know; it lives on."""
        return self.route.halted

    def position_lots(self, strategy: str, instrument: InstrumentId) -> int:
        """Signed lots that a strategy holds: what its broker knows."""
        return self._runners[strategy].ledger.positions[instrument].lots

    def equity_at(self, strategy: str, instrument: InstrumentId, ticks: int) -> int:
        """Equity of a strategy with `instrument` marked at `ticks`, in its quote currency."""
        runner = self._runners[strategy]
        runner.valuation.refresh()
        position = runner.ledger.positions[instrument]
        mark = self._market.value_ticks(self._index[instrument], position.lots)
        equity = runner.valuation.equity
        if runner.exchange is not None:
            currency = self._instruments[instrument].settlement_currency
            equity = runner.exchange.from_home(currency, equity)
        if not position.lots:
            return equity
        return equity + position.worth(ticks) - position.worth(mark)
