"""From intent to command and from report to books: sizing, risk, OMS, ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onetape.domain.errors import InvariantBroken
from onetape.domain.events import (
    KillSwitchSet,
    OrderApproved,
    OrderCancelPending,
    OrderCancelRejected,
    OrderDenied,
    OrderFilled,
    OrderReplacePending,
    OrderReplaceRejected,
    OrderReport,
    VenueCommand,
)
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.numbers import E8, MAX_LOTS, compute_ratio_floor
from onetape.domain.orders import (
    CancelIntent,
    DenialCode,
    Intent,
    LiquiditySide,
    OrderIntent,
    OrderStatus,
    OrderType,
    QuantityBasis,
    ReplaceIntent,
    Side,
)
from onetape.execution.oms import Oms, Order
from onetape.execution.simulated.fees import (
    FeeSchedule,
    compute_affordable_lots,
    compute_order_fee,
)
from onetape.risk.approval import RiskApproved
from onetape.risk.input import RiskInput, compute_worst_lots
from onetape.risk.kill_switch import KillSwitch
from onetape.runtime.market_state import MarketState
from onetape.runtime.runner import Runner
from onetape.runtime.step_log import StepLog

S = OrderStatus
_AT_FILL = (QuantityBasis.NOTIONAL_AT_FILL, QuantityBasis.EQUITY_AT_FILL)
_CHANGING = (S.CANCEL_PENDING, S.REPLACE_PENDING)
_TAKER = LiquiditySide.TAKER
_LOTS = QuantityBasis.LOTS


class OrderDesk:
    """Takes intents and venue reports; holds the orders; writes every decision into the step.

    Attributes:
        commands: What the current step wants sent to the venue, in order.
    """

    __slots__ = (
        "_fees", "_index", "_input", "_instruments", "_is_single", "_kill_switch", "_log",
        "_market", "_oms", "_runners", "commands",
    )  # fmt: skip

    def __init__(
        self,
        log: StepLog,
        market: MarketState,
        oms: Oms,
        instruments: Sequence[Instrument],
        fees: Mapping[InstrumentId, FeeSchedule],
        runners: Mapping[str, Runner],
    ) -> None:
        self._log = log
        self._market = market
        self._oms = oms
        self._fees = fees
        self._runners = runners
        self._kill_switch = KillSwitch()
        self._instruments = {each.id: each for each in instruments}
        self._index = {each.id: at for at, each in enumerate(instruments)}
        self._is_single = len(instruments) == 1
        self._input: RiskInput | None = None
        self.commands: list[VenueCommand] = []

    def decide(self, runner: Runner, intent: Intent) -> OrderDenied | None:
        """Put an intent through sizing and risk; returns the refusal, if it is one."""
        if isinstance(intent, OrderIntent):
            return self._order(runner, intent)
        if isinstance(intent, CancelIntent):
            return self._cancel(runner, intent)
        return self._replace(runner, intent)

    def _order(self, runner: Runner, intent: OrderIntent) -> OrderDenied | None:
        side, lots = intent.side, intent.amount
        if intent.basis is not _LOTS:
            sized = self._size(runner, intent)
            if sized is None:
                return None  # the target is held already: nothing to decide
            side, lots = sized
        log = self._log
        origin = log.origin
        events = log.events
        seq = log.first_seq + len(events)
        events.append((intent, origin, log.cause))
        identity = f"{runner.order_prefix}{intent.intent}"
        verdict = self._check(runner, intent, identity, side, lots, None)
        if isinstance(verdict, OrderDenied):
            events.append((verdict, origin, seq))
            return verdict
        approved = OrderApproved(runner.name, intent.intent, identity, side, lots)
        events.append((approved, origin, seq))
        order, command = self._oms.submit(verdict, self._lot_cost(), origin)
        events.append((command, origin, seq + 1))
        order.causation_id = seq + 2
        self.commands.append(command)
        return None

    def _size(self, runner: Runner, intent: OrderIntent) -> tuple[Side, int] | None:
        """Side and lots of an intent that is not given in lots; None when its target is held.

        Without a mark it sizes to no lots, which `_refuse` tells apart.
        """
        basis = intent.basis
        amount = intent.amount
        if not self._market.mark_ticks(self._index[intent.instrument]):
            return intent.side, 0
        if basis is not QuantityBasis.TARGET_LOTS:
            budget = amount
            if basis is not QuantityBasis.NOTIONAL_AT_FILL:
                runner.valuation.refresh()
                budget = compute_ratio_floor(max(runner.valuation.equity, 0), abs(amount))
            lots = self._affordable(intent.instrument, budget)
            if basis in _AT_FILL:
                return intent.side, lots
            amount = lots if amount >= 0 else -lots
        held = runner.ledger.positions[intent.instrument].lots
        for order in self._oms.open.values():
            if (
                order.strategy == runner.name
                and order.instrument == intent.instrument
                and order.order_type is OrderType.MARKET
            ):
                held += order.leaves * order.side
        if amount == held:
            return None
        return (Side.BUY, amount - held) if amount > held else (Side.SELL, held - amount)

    def _affordable(self, instrument: InstrumentId, budget: int) -> int:
        mark = self._market.mark_ticks(self._index[instrument])
        factor = self._instruments[instrument].minor_per_tick_lot
        return compute_affordable_lots(self._fees[instrument], _TAKER, budget, mark, factor, 0)

    def _check(
        self,
        runner: Runner,
        intent: OrderIntent,
        client_order_id: str,
        side: Side,
        lots: int,
        replaced: Order | None,
    ) -> RiskApproved | OrderDenied:
        """What the instrument and every risk gate say. `replaced` no longer counts as open."""
        identity = intent.instrument
        instrument = self._instruments[identity]
        mark = self._market.mark_ticks(self._index[identity])
        dearest = intent.limit_ticks or max(mark, intent.stop_ticks)
        if side < 0:
            dearest = max(dearest, mark)
        position = runner.ledger.positions[identity].lots
        after = abs(position + lots * side)
        plain = 0 < lots <= MAX_LOTS >= after and dearest
        if not plain or instrument.is_picky or intent.reduce_only:
            refusal = self._refuse(intent, instrument, dearest, side, lots, position)
            if refusal is not None:
                return refusal
        valuation = runner.valuation
        if valuation.row != self._market.row:
            valuation.refresh()
        factor = instrument.minor_per_tick_lot
        notional = lots * dearest * factor
        lot_notional = (mark or dearest) * factor
        fee = compute_order_fee(self._fees[identity], _TAKER, lots, notional, 0)
        order = self._input
        if order is None:
            order = self._input = RiskInput(
                intent=intent, instrument=instrument, client_order_id="", ts=0, side_sign=0,
                lots=0, lot_notional=0, notional=0, equity=0, cash=0, session_start_equity=0,
                peak_equity=0,
            )  # fmt: skip
        order.intent = intent
        order.instrument = instrument
        order.client_order_id = client_order_id
        order.ts = self._log.now
        order.side_sign = int(side)
        order.lots = lots
        order.reduce_only = intent.reduce_only
        order.lot_notional = lot_notional
        order.notional = notional
        order.fee = fee
        order.position_lots = position
        order.equity = valuation.equity
        order.cash = runner.ledger.cash
        order.kill_active = self._kill_switch.active
        watch = runner.watch
        if watch is not None:
            watch.advance()
            order.peak_equity = watch.peak
            order.session_start_equity = watch.session_start
        if self._is_single:
            if self._oms.open or intent.reduce_only:
                self._add_open_orders(order, runner, replaced)
            else:
                order.open_buy_lots = order.open_sell_lots = order.open_buy_notional = 0
        else:
            self._add_open_orders(order, runner, replaced)
            self._add_other_instruments(order, runner, replaced)
        return runner.risk.check(order)

    def _lot_cost(self) -> int:
        """What a lot of the order that has just passed can cost, its share of the fee included."""
        order = self._input
        return -(-(order.notional + order.fee) // order.lots) if order is not None else 0

    def _add_open_orders(self, order: RiskInput, runner: Runner, replaced: Order | None) -> None:
        """Add what the strategy has open: in this instrument, and the cash that its buys bind."""
        here = order.instrument.id
        position = runner.ledger.positions[here].lots
        buys = sells = bound = 0
        to_cover = max(0, -position)
        to_close = max(0, position)
        for each in self._oms.open.values():
            if each is replaced or each.strategy != runner.name:
                continue
            leaves = each.leaves
            buying = each.side > 0
            if buying and not each.reduce_only:
                bound += leaves * each.worst_lot_cost
            if each.instrument != here:
                continue
            if each.reduce_only:  # takes the position to flat and not beyond
                if buying:
                    leaves = min(leaves, to_cover)
                    to_cover -= leaves
                else:
                    leaves = min(leaves, to_close)
                    to_close -= leaves
            if buying:
                buys += leaves
            else:
                sells += leaves
        order.open_buy_lots = buys
        order.open_sell_lots = sells
        order.open_buy_notional = bound
        order.reducible_lots = to_cover if order.side_sign > 0 else to_close

    def _add_other_instruments(
        self, order: RiskInput, runner: Runner, replaced: Order | None
    ) -> None:
        """Fill what the strategy's other instruments could become at their worst.

        Reduce-only orders are left out: alone they bring a position nearer to flat, and what else
        is open there has been counted with them when it was approved.
        """
        buys: dict[InstrumentId, int] = {}
        sells: dict[InstrumentId, int] = {}
        for each in self._oms.open.values():
            if each is replaced or each.reduce_only or each.strategy != runner.name:
                continue
            side = buys if each.side > 0 else sells
            side[each.instrument] = side.get(each.instrument, 0) + each.leaves
        ends = buys if order.side_sign > 0 else sells
        here = order.instrument.id
        gross = net = 0
        for name in {**runner.ledger.held, **buys, **sells}:
            if name == here:
                continue
            position = runner.ledger.positions[name]
            lots = position.lots
            price = self._market.mark_ticks(self._index[name]) * position.factor
            gross += compute_worst_lots(lots, buys.get(name, 0), sells.get(name, 0)) * price
            net += (lots + order.side_sign * ends.get(name, 0)) * price
        order.other_gross_notional = gross
        order.other_net_notional = net

    def _refuse(
        self,
        intent: OrderIntent,
        instrument: Instrument,
        reference: int,
        side: Side,
        lots: int,
        position: int,
    ) -> OrderDenied | None:
        """What the instrument itself forbids, whatever the limits of the account."""
        notional = lots * reference * instrument.minor_per_tick_lot
        if not reference:
            return self._denied(intent, DenialCode.NO_MARK, 0, 1, "bars")
        if lots <= 0:
            return self._denied(intent, DenialCode.ZERO_QUANTITY, lots, 1, "lots")
        most = min(instrument.max_lots or MAX_LOTS, MAX_LOTS)
        if lots > most:
            return self._denied(intent, DenialCode.LOT_LIMITS, lots, most, "lots")
        if lots < instrument.min_lots:
            return self._denied(intent, DenialCode.LOT_LIMITS, lots, instrument.min_lots, "lots")
        if notional < instrument.min_notional * E8:
            return self._denied(
                intent, DenialCode.MIN_NOTIONAL, notional / E8, float(instrument.min_notional),
                instrument.quote_currency,
            )  # fmt: skip
        if abs(position + lots * side) > MAX_LOTS:
            return self._denied(
                intent, DenialCode.LOT_LIMITS, abs(position) + lots, MAX_LOTS, "lots"
            )
        if intent.reduce_only and (position * side >= 0 or lots > abs(position)):
            return self._denied(intent, DenialCode.REDUCE_ONLY, lots, -position * side, "lots")
        return None

    def _denied(
        self, intent: OrderIntent, code: DenialCode, actual: float, limit: float, unit: str
    ) -> OrderDenied:
        return OrderDenied(
            intent.strategy, intent.intent, intent.instrument, code, actual, limit, unit
        )

    def _cancel(self, runner: Runner, intent: CancelIntent) -> OrderDenied | None:
        log = self._log
        seq = log.emit(intent, log.origin, log.cause)
        order = self._oms.open.get(intent.client_order_id)
        if order is None or order.strategy != runner.name or order.status is S.CANCEL_PENDING:
            return self._refuse_change(runner, intent, order, seq)
        self._command(OrderCancelPending(intent.client_order_id), order, seq)
        return None

    def _replace(self, runner: Runner, intent: ReplaceIntent) -> OrderDenied | None:
        log = self._log
        seq = log.emit(intent, log.origin, log.cause)
        order = self._oms.open.get(intent.client_order_id)
        if order is None or order.strategy != runner.name or order.status in _CHANGING:
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
        order.asked_lot_cost = self._lot_cost()
        self._command(changed, order, log.emit(approved, log.origin, seq))
        return None

    def _check_replacement(
        self, runner: Runner, intent: ReplaceIntent, order: Order, changed: OrderReplacePending
    ) -> RiskApproved | OrderDenied:
        """Risk of the order as it would be, instead of as it is."""
        as_new = OrderIntent(
            runner.name, intent.intent, order.instrument, order.side, QuantityBasis.LOTS,
            changed.lots - order.filled_lots, order.order_type, order.time_in_force,
            changed.limit_ticks, changed.stop_ticks, order.ts_expire, order.reduce_only,
        )  # fmt: skip
        has_limit = order.order_type in (OrderType.LIMIT, OrderType.STOP_LIMIT)
        has_stop = order.order_type in (OrderType.STOP, OrderType.STOP_LIMIT)
        if (
            not order.lots
            or (intent.limit_ticks and not has_limit)
            or (intent.stop_ticks and not has_stop)
        ):
            return self._denied(as_new, DenialCode.NOT_REPLACEABLE, 0, 0, order.order_type.name)
        return self._check(runner, as_new, order.client_order_id, order.side, as_new.amount, order)

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

    def cancel_entries(self, runner: Runner, cause: int) -> None:
        """Ask for every order that is not protecting a position to be canceled."""
        for order in list(self._oms.open.values()):
            lots = runner.ledger.positions[order.instrument].lots
            if (
                order.strategy == runner.name
                and lots * order.side >= 0
                and order.status is not S.CANCEL_PENDING
            ):
                self._command(OrderCancelPending(order.client_order_id), order, cause)

    def _command(
        self, command: OrderCancelPending | OrderReplacePending, order: Order, cause: int
    ) -> None:
        self._oms.move(order, command, self._log.emit(command, order.correlation_id, cause))
        self.commands.append(command)

    def settle(self, report: OrderReport, cause: int) -> Runner | None:
        """Follow a venue report through OMS and books; returns whose order it was.

        `cause` is the seq of the market event that made it; 0 when it answers a command.

        Raises:
            InvariantBroken: The report is for an unknown order or no legal move.
        """
        log = self._log
        order = self._oms.open.get(report.client_order_id)
        if order is None:
            if isinstance(report, OrderCancelRejected | OrderReplaceRejected):
                log.emit(report, 0, 0)  # it closed while a command of ours was under way
                return None
            raise InvariantBroken(f"{type(report).__name__} for unknown {report.client_order_id}")
        events = log.events
        seq = log.first_seq + len(events)
        origin = order.correlation_id
        events.append((report, origin, cause or order.causation_id))
        self._oms.move(order, report, seq)
        runner = self._runners[order.strategy]
        if isinstance(report, OrderFilled):
            events.append((runner.settle(report), origin, seq))
        return runner

    def apply_control(self, command: KillSwitchSet) -> None:
        """Follow an operator's command."""
        self._kill_switch.apply(command)

    def position_lots(self, strategy: str, instrument: InstrumentId) -> int:
        """Signed lots that a strategy holds: what its broker knows."""
        return self._runners[strategy].ledger.positions[instrument].lots

    def equity_at(self, strategy: str, instrument: InstrumentId, ticks: int) -> int:
        """Equity of a strategy with `instrument` marked at `ticks`: what its broker knows."""
        runner = self._runners[strategy]
        runner.valuation.refresh()
        position = runner.ledger.positions[instrument]
        mark = self._market.mark_ticks(self._index[instrument])
        return runner.valuation.equity + position.lots * position.factor * (ticks - mark)
