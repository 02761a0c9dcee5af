"""From intent to command and from report to books: sizing, risk, OMS, ledger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from onetape.domain.corporate_actions import compute_terms
from onetape.domain.errors import InvariantBroken
from onetape.domain.events import (
    CashPosted,
    KillSwitchSet,
    OrderApproved,
    OrderCancelPending,
    OrderCancelRejected,
    OrderDenied,
    OrderFilled,
    OrderReplacePending,
    OrderReplaceRejected,
    OrderReport,
    PositionSettled,
    SettlementKind,
    StrayFilled,
    TransferOrdered,
    TransferRefused,
    VenueCommand,
)
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.legs import index_of, is_closing, leg_of, market_of, names_of, side_of
from onetape.domain.market import CorporateAction, TradingStatus
from onetape.domain.notional import compute_notional
from onetape.domain.numbers import E8, MAX_LOTS, compute_ratio_floor
from onetape.domain.orders import (
    CancelIntent,
    ConvertIntent,
    DenialCode,
    LiquiditySide,
    OrderIntent,
    OrderStatus,
    OrderType,
    QuantityBasis,
    ReplaceIntent,
    Side,
    TimeInForce,
)
from onetape.domain.postings import PostingKind
from onetape.execution.gateway import Capabilities
from onetape.execution.oms import Oms, Order
from onetape.execution.simulated.fee_rules import (
    FeeSchedule,
    compute_affordable_lots,
    compute_fill_fee,
)
from onetape.execution.venue_reports import BaseFee
from onetape.portfolio.adjusted_marks import new_share_ticks
from onetape.portfolio.currency_ledger import CurrencyLedger
from onetape.portfolio.ledger import NO_INSTRUMENT, NewShares
from onetape.risk.approval import RiskApproved, RiskEngine
from onetape.risk.input import RiskInput, compute_worst_lots
from onetape.risk.kill_switch import KillSwitch
from onetape.risk.shrinking import Shrinking
from onetape.runtime.conversion_desk import ConversionDesk
from onetape.runtime.currency_exchange import CurrencyExchange
from onetape.runtime.margin_desk import MarginDesk
from onetape.runtime.market_state import MarketState
from onetape.runtime.risk_audit import RiskAudit, describe
from onetape.runtime.risk_controls import (
    BREAKERS,
    RiskControls,
    RiskControlsState,
    name_pause,
)
from onetape.runtime.runner import DeskLine, Runner
from onetape.runtime.settlement import Settlement
from onetape.runtime.step_log import StepLog

S = OrderStatus
_AT_FILL = (QuantityBasis.NOTIONAL_AT_FILL, QuantityBasis.EQUITY_AT_FILL)
_ENDING = (S.CANCEL_PENDING, S.UNKNOWN)
"""Of an unknown order nothing can be asked before the venue has said what it is."""
_CHANGING = (S.REPLACE_PENDING, *_ENDING)
_TAKER = LiquiditySide.TAKER.value
_BUY, _SELL = Side
_LOTS = QuantityBasis.LOTS
_RESTING = (TimeInForce.GTC, TimeInForce.DAY, TimeInForce.GTD)
_CLOSE = "close"
"""What the id of an order of ours that closes a position has behind the prefix, then a number."""


class DeskState(msgspec.Struct, frozen=True):
    """What an `OrderDesk` holds between two steps."""

    orders: list[Order]
    kill_active: bool
    kill_reason: str
    controls: RiskControlsState | None = None
    closings: dict[str, int] = {}


class OrderDesk:
    """Takes intents and venue reports; holds the orders; writes every decision into the step.

    Attributes:
        commands: What the current step wants sent to the venue, in order.
        halted: The instruments that their venue has halted, as far as we know.
        is_cash_account: Whether what is bought must be paid from cash.
        margin: What measures margin; None: there is no agreement on it.
        capabilities: What a real venue can; None: the simulated one can everything.
        settlement: Keeps the proceeds of sales until they settle; None: they do at once.
        conversions: Converts held cash where a strategy asks for it; without a multiple of equity
            it borrows nothing.
    """

    __slots__ = (
        "_all", "_audit", "_closings", "_controls", "_ended", "_expired", "_fees", "_index",
        "_instruments", "_is_single", "_kill_switch", "_log", "_lot_cost", "_market", "_names",
        "_oms", "_runners", "_ungated", "capabilities", "commands", "conversions", "halted",
        "is_cash_account", "margin", "settlement",
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
    ) -> None:
        self.is_cash_account = is_cash_account
        self.margin: MarginDesk | None = None
        self._log = log
        self._controls = controls
        self._audit = audit
        self._market = market
        self._oms = oms
        self._fees = fees
        self._runners = runners
        self._kill_switch = KillSwitch()
        self._all = instruments
        self._instruments = {each.id: each for each in instruments}
        self._index = index_of(instruments)
        self._names = names_of(instruments)
        self._is_single = len(instruments) == 1
        self._lot_cost = 0
        self._ended: set[InstrumentId] = set()
        self._closings: dict[str, int] = {}
        self._ungated = RiskEngine(())
        self._expired: set[InstrumentId] = set()
        self.halted: dict[InstrumentId, TradingStatus] = {}
        self.commands: list[VenueCommand] = []
        self.settlement: Settlement | None = None
        self.conversions = ConversionDesk(log, self, None)
        self.capabilities: Capabilities | None = None

    def save(self) -> DeskState:
        """Open orders, oldest first, and the kill switch."""
        switch = self._kill_switch
        controls = self._controls.save() if self._controls is not None else None
        return DeskState(
            list(self._oms.open.values()), switch.active, switch.reason, controls,
            dict(self._closings),
        )  # fmt: skip

    def restore(self, state: DeskState) -> None:
        """Go on where `state` was saved."""
        self._oms.open.update((each.client_order_id, each) for each in state.orders)
        self._kill_switch.active = state.kill_active
        self._kill_switch.reason = state.kill_reason
        self._closings = dict(state.closings)
        if self._controls is not None and state.controls is not None:
            self._controls.restore(state.controls)

    def decide(
        self, runner: Runner, intent: OrderIntent | CancelIntent | ReplaceIntent | ConvertIntent
    ) -> OrderDenied | None:
        """Put an intent through sizing and risk; returns the refusal, if it is one."""
        if isinstance(intent, OrderIntent):
            return self._order(runner, intent)
        if isinstance(intent, CancelIntent):
            return self._cancel(runner, intent)
        if isinstance(intent, ConvertIntent):
            return self.conversions.convert(runner, intent)
        return self._replace(runner, intent)

    def _order(self, runner: Runner, intent: OrderIntent) -> OrderDenied | None:
        line = runner.lines.get(intent.instrument) or self._open_line(runner, intent.instrument)
        side, lots = intent.side, intent.amount
        if intent.basis is not _LOTS:
            sized = self._size(runner, intent, line)
            if sized is None:
                return None  # the target is held already: nothing to decide
            side, lots = sized
        if line.leg is not None and is_closing(line.leg, side) and not intent.reduce_only:
            intent = msgspec.structs.replace(intent, reduce_only=True)
        log = self._log
        origin = log.origin
        events = log.events
        seq = log.first_seq + len(events)
        events.append((intent, origin, log.cause))
        number = intent.intent
        identity = f"{runner.order_prefix}{number}"
        verdict = self._check(runner, line, intent, identity, side, lots, None)
        if isinstance(verdict, OrderDenied):
            events.append((verdict, origin, seq))
            return verdict
        passed = log.first_seq + len(events)
        _, command = self._oms.submit(verdict, self._lot_cost, origin, passed + 1)
        approved = OrderApproved(runner.name, number, identity, side, verdict.lots)
        events += ((approved, origin, seq), (command, origin, passed))
        self.commands.append(command)
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

    def _size(self, runner: Runner, intent: OrderIntent, line: DeskLine) -> tuple[Side, int] | None:
        """Side and lots of an intent that is not given in lots; None when its target is held.

        Without a mark it sizes to no lots, which `_refuse` tells apart.
        """
        basis = intent.basis
        amount = intent.amount
        mark = self._market.mark_ticks(line.index)
        if not mark:
            return intent.side, 0
        if basis is not QuantityBasis.TARGET_LOTS:
            currency = line.instrument.settlement_currency
            if line.exchange is not None and not line.exchange.has_rate(currency):
                return intent.side, 0
            budget = self._budget(runner, intent, line)
            price, factor = mark, line.factor
            if line.inverse_factor:
                price, factor = 1, compute_notional(1, mark, 0, line.inverse_factor)
            lots = compute_affordable_lots(line.fees, _TAKER, budget, price, factor, 0)
            if basis in _AT_FILL:
                return intent.side, lots
            amount = lots if amount >= 0 else -lots
        held = line.position.lots
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

    def _budget(self, runner: Runner, intent: OrderIntent, line: DeskLine) -> int:
        """What an intent that names money or a share of the equity may cost with its fee, now.

        In minor units of the instrument's currency.
        """
        if intent.basis is QuantityBasis.NOTIONAL_AT_FILL:
            return intent.amount
        runner.valuation.refresh()
        budget = compute_ratio_floor(max(runner.valuation.equity, 0), abs(intent.amount))
        if line.exchange is None:
            return budget
        return line.exchange.from_home(line.instrument.settlement_currency, budget)

    def _check(
        self,
        runner: Runner,
        line: DeskLine,
        intent: OrderIntent,
        client_order_id: str,
        side: Side,
        lots: int,
        replaced: Order | None,
    ) -> RiskApproved | OrderDenied:
        """What the instrument and every risk gate say.

        `replaced` no longer counts as open, unless it may fill beside what replaces it. Leaves
        behind what a lot of an order that passes can cost, its share of the fee included.
        """
        market = self._market
        reduce_only = intent.reduce_only
        gone = None if replaced is not None and self._fills_beside(replaced) else replaced
        is_beside = replaced is not gone
        if self.capabilities is not None:
            missing = self.capabilities.find_unsupported(intent)
            if missing:
                return self._denied(intent, DenialCode.UNSUPPORTED, 0, 0, missing)
            if reduce_only and (is_beside or not self.capabilities.trims(intent)):
                free = self._count_unclaimed(runner, line, side, gone)
                if lots > free:
                    return self._denied(intent, DenialCode.REDUCE_ONLY, lots, free, "lots")
                reduce_only = False  # nobody there trims it: it counts as what it is
        if self._ended and line.instrument.id in self._ended:
            return self._denied(intent, DenialCode.DELISTED, lots, 0, "lots")
        if self._expired and line.instrument.id in self._expired:
            return self._denied(intent, DenialCode.EXPIRED, lots, 0, "lots")
        mark = market.mark_ticks(line.index)
        exchange, currency = line.exchange, ""
        if exchange is not None:
            currency = line.instrument.settlement_currency
            if not exchange.has_rate(currency):
                pair = exchange.pair_of(currency)
                return self._denied(intent, DenialCode.NO_RATE, 0, 1, f"bars of {pair}")
        side, side_sign = (_BUY, 1) if side > 0 else (_SELL, -1)
        dearest = intent.limit_ticks or intent.stop_ticks
        if dearest < mark and (side_sign < 0 or not intent.limit_ticks):
            dearest = mark
        if line.inverse_factor:  # worth the more, the lower the price
            own = intent.limit_ticks or intent.stop_ticks
            dearest = min(own, mark) if own and mark else own or mark
        position = line.position.lots
        coming, group = 0, ""
        if intent.conditions is not None:
            if intent.order_type.is_trailing and intent.stop_ticks <= 0:
                tick = line.instrument.tick_float
                width = (mark - intent.stop_ticks) * tick
                return self._denied(intent, DenialCode.TRAIL, width, mark * tick, "price")
            group = "" if is_beside else intent.conditions.group
            coming = self._coming_lots(intent.conditions.parent)
            if intent.conditions.parent and not coming:
                return self._denied(
                    intent, DenialCode.PARENT_CLOSED, 0, 1, intent.conditions.parent
                )
            display = intent.conditions.display_lots
            whole = lots + (replaced.filled_lots if replaced is not None else 0)
            if display and not self._may_hide(intent, display, whole, line.instrument):
                return self._denied(intent, DenialCode.DISPLAY, display, whole, "lots")
            if reduce_only:
                position += coming
        controls = self._controls
        shrinking: Shrinking | None = None
        if controls is not None and controls.shrinks and replaced is None:
            shrinking = self._shrinking(controls, runner, line, intent, side, dearest, position)
            reducible = -position * side_sign
            if reduce_only and 0 < reducible < lots:
                flips = self._denied(intent, DenialCode.REDUCE_ONLY, lots, reducible, "lots")
                shrinking.note(flips, lots, reducible)
                lots = reducible
        plain = 0 < lots <= MAX_LOTS >= abs(position + lots * side_sign) and dearest
        if not plain or line.is_picky or reduce_only:
            refusal = self._refuse(intent, line.instrument, dearest, side, lots, position)
            if refusal is not None:
                return refusal
        valuation = runner.valuation
        if valuation.row != market.row:
            valuation.refresh()
        notional = compute_notional(lots, dearest, line.factor, line.inverse_factor)
        taker_e8 = line.taker_e8
        if taker_e8 is not None:
            fee = -(-notional * taker_e8 // E8)
        else:
            fee = compute_fill_fee(
                line.fees, side_sign, _TAKER, 0, 0, lots, notional, 0, self._log.now
            )
        at_fill = intent.basis in _AT_FILL
        if at_fill and side_sign > 0:  # at a lower price it buys more, for all of its money
            notional = max(notional, self._budget(runner, intent, line) - fee)
        peak = session_start = 0
        watch = runner.watch
        if watch is not None:
            watch.advance()
            peak = watch.peak
            session_start = watch.session_start
        buys = sells = bound = reducible = gross = net = 0
        if self._oms.open or reduce_only:
            buys, sells, bound, reducible = self._open_orders(
                runner, line, side_sign, gone, group, coming
            )
        if runner.exchange is not None:
            gross, net = self._others_at_home(runner, runner.exchange, line, side_sign, replaced)
        elif not self._is_single:
            gross, net = self._other_instruments(runner, line, side_sign, replaced)
        now, equity = self._log.now, valuation.equity
        cash = runner.ledger.cash - runner.unsettled
        own = free = 0
        if runner.exchange is not None and runner.exchange.holds:
            own = notional + fee
            free = self.free_cash(runner, line.instrument.settlement_currency, replaced)
        lot_notional = (mark or dearest) * line.factor
        if line.inverse_factor:
            lot_notional = compute_notional(1, mark or dearest, 0, line.inverse_factor)
        if exchange is not None:
            notional = -exchange.to_home(currency, -notional)
            lot_notional = -exchange.to_home(currency, -lot_notional)
            fee = -exchange.to_home(currency, -fee) + exchange.compute_cost(notional)
        kill_active = self._kill_switch.active
        if controls is not None and runner.name in controls.paused:
            kill_active = True
        needed = power = 0
        if self.margin is not None:
            others = [each for each in self._oms.open.values() if each is not gone]
            signed = 0 if reduce_only else lots * side_sign
            needed, power = self.margin.compute_needs(
                runner, others, line.instrument.id, signed, dearest
            )
        cost = own or notional + fee
        self._lot_cost = cost // lots if at_fill else -(-cost // lots)
        audit = self._audit
        if controls is None and audit is None:
            approved = line.approve(
                intent, side, client_order_id, now, side_sign, lots, lot_notional, notional, equity,
                cash, session_start, peak, reduce_only, reducible, fee, position, buys, sells,
                gross, net, bound, kill_active, needed, power, own, free,
            )  # fmt: skip
            if approved is not None:
                return approved
        order = RiskInput(
            intent=intent, instrument=line.instrument, client_order_id=client_order_id, ts=now,
            side_sign=side_sign, lots=lots, lot_notional=lot_notional, notional=notional,
            equity=equity, cash=cash, session_start_equity=session_start, peak_equity=peak,
            reduce_only=reduce_only, reducible_lots=reducible, fee=fee, position_lots=position,
            open_buy_lots=buys, open_sell_lots=sells, other_gross_notional=gross,
            other_net_notional=net, open_buy_notional=bound, kill_active=kill_active,
            margin_needed=needed, margin_power=power, currency_needed=own, currency_free=free,
        )  # fmt: skip
        other = None
        if audit is not None:
            cut = shrinking.steps if shrinking is not None else []
            asked = None
            if audit.controls.shrinks and replaced is None:
                asked = self._shrinking(
                    audit.controls, runner, line, intent, side, dearest, position
                )
                asked.steps += cut
            is_paused = kill_active and not self._kill_switch.active
            other = audit.ask(runner, order, asked, cut, is_paused=is_paused)
        if controls is None:
            verdict = runner.risk.check(order)
        else:
            verdict = self._decide(controls, runner, order, shrinking)
        if audit is not None and other is not None:
            run = describe(verdict, shrinking.steps if shrinking is not None else ())
            audit.take(order, lots, other, run, is_replace=replaced is not None)
        if exchange is not None and isinstance(verdict, OrderDenied) and verdict.unit == currency:
            return msgspec.structs.replace(verdict, unit=exchange.home)
        return verdict

    def _may_hide(
        self, intent: OrderIntent, display: int, lots: int, instrument: Instrument
    ) -> bool:
        """Whether an order of `lots` in all may show just `display` of them."""
        return (
            intent.order_type.has_limit
            and intent.time_in_force in _RESTING
            and instrument.min_lots <= display <= lots
        )

    def _decide(
        self,
        controls: RiskControls,
        runner: Runner,
        order: RiskInput,
        shrinking: Shrinking | None,
    ) -> RiskApproved | OrderDenied:
        """The verdict with all that a session asks beyond the gates of the strategy."""
        verdict = controls.decide(runner, order, shrinking)
        if not self._kill_switch.active:
            verdict = name_pause(verdict, controls.code_of_pause(runner.name))
        cost = order.currency_needed or order.notional + order.fee
        at_fill = order.intent.basis in _AT_FILL
        self._lot_cost = cost // order.lots if at_fill else -(-cost // order.lots)
        return verdict

    def _shrinking(
        self,
        controls: RiskControls,
        runner: Runner,
        line: DeskLine,
        intent: OrderIntent,
        side: Side,
        dearest: int,
        position: int,
    ) -> Shrinking:
        """What may shrink an order: what fewer lots of it cost, and what the instrument says."""

        def cost(lots: int) -> tuple[int, int, int, int]:
            notional = compute_notional(lots, dearest, line.factor, line.inverse_factor)
            now = self._log.now
            fee = compute_fill_fee(line.fees, side, _TAKER, 0, 0, lots, notional, 0, now)
            holds = runner.exchange is not None and runner.exchange.holds
            own = notional + fee if holds else 0
            exchange = line.exchange
            if exchange is not None:
                currency = line.instrument.settlement_currency
                notional = -exchange.to_home(currency, -notional)
                fee = -exchange.to_home(currency, -fee) + exchange.compute_cost(notional)
            needed = 0
            if self.margin is not None:
                signed = 0 if intent.reduce_only else lots * side
                needed, _ = self.margin.compute_needs(
                    runner, list(self._oms.open.values()), line.instrument.id, signed, dearest
                )
            return notional, fee, needed, own

        def refuse(lots: int) -> OrderDenied | None:
            display = intent.conditions.display_lots if intent.conditions is not None else 0
            if display and not self._may_hide(intent, display, lots, line.instrument):
                return self._denied(intent, DenialCode.DISPLAY, display, lots, "lots")
            return self._refuse(intent, line.instrument, dearest, side, lots, position)

        return Shrinking(controls.shrinks, cost, refuse)

    def _coming_lots(self, parent: str) -> int:
        """Signed lots that an order which leaves in this step can still bring; 0 without one."""
        order = self._oms.open.get(parent)
        if order is None or not any(each.client_order_id == parent for each in self.commands):
            return 0
        return order.leaves * order.side

    def _open_orders(
        self,
        runner: Runner,
        line: DeskLine,
        side_sign: int,
        replaced: Order | None,
        group: str,
        coming: int,
    ) -> tuple[int, int, int, int]:
        """What the strategy has open.

        Args:
            runner: Whose orders.
            line: Where the new order goes.
            side_sign: Which way it goes.
            replaced: An order that no longer counts.
            group: Name of the group of the new order. The others of it don't count, and what they
                reduce it may reduce too: they can't all fill.
            coming: Signed lots that its parent can bring.

        Returns:
            Leaves of its buys and of its sells in this instrument, the cash that all its buys bind,
            and what a reduce-only order of this side could still reduce. Where the venue has no
            reduce-only those that are there count as all others do.
        """
        trims = self.capabilities is None or self.capabilities.has_reduce_only
        here = line.instrument.id
        name = runner.name
        position = line.position.lots
        buys = sells = bound = 0
        to_cover = -position if position < 0 else 0
        to_close = position if position > 0 else 0
        bound_together = 0
        for each in self._oms.open.values():
            if each is replaced or each.strategy != name:
                continue
            leaves = each.leaves
            buying = each.side is _BUY
            trimmed = each.reduce_only and (trims or each.status is S.EMULATED)
            if buying and not trimmed:
                bound += leaves * each.worst_lot_cost
            if each.instrument != here:
                continue
            if each.reduce_only:  # one that is trimmed takes the position to flat and not beyond
                left = to_cover if buying else to_close
                reducing = min(leaves, left)
                if buying:
                    to_cover -= reducing
                else:
                    to_close -= reducing
                leaves = reducing if trimmed else leaves
            if group and each.conditions is not None and each.conditions.group == group:
                bound_together = max(bound_together, leaves if each.reduce_only else 0)
                continue
            if buying:
                buys += leaves
            else:
                sells += leaves
        free = to_cover if side_sign > 0 else to_close
        return buys, sells, bound, free + bound_together + max(0, -coming * side_sign)

    def _count_unclaimed(
        self, runner: Runner, line: DeskLine, side: Side, replaced: Order | None
    ) -> int:
        """Lots of a position that no open order of this side could close already."""
        free = -line.position.lots * side
        for each in self._oms.open.values():
            if (
                each is not replaced
                and each.strategy == runner.name
                and each.instrument == line.instrument.id
                and each.side * side > 0
            ):
                free -= each.leaves
        return max(0, free)

    def _other_instruments(
        self, runner: Runner, line: DeskLine, side_sign: int, replaced: Order | None
    ) -> tuple[int, int]:
        """Gross and net of the other instruments at their worst, as `RiskInput` says.

        That is what they are worth as they stand, and what their open orders could make of them.
        Reduce-only orders are left out: alone they bring a position nearer to flat, and what else
        is open there has been counted with them when it was approved.
        """
        here = line.instrument.id
        position = line.position
        exposure = 0
        if position.lots:
            exposure = position.exposure(self._market.value_ticks(line.index, position.lots))
        gross = runner.valuation.gross - abs(exposure)
        net = runner.valuation.net - exposure
        buys: dict[InstrumentId, int] = {}
        sells: dict[InstrumentId, int] = {}
        for each in self._oms.open.values():
            if each is replaced or each.reduce_only or each.strategy != runner.name:
                continue
            if each.instrument != here:
                side = buys if each.side is _BUY else sells
                side[each.instrument] = side.get(each.instrument, 0) + each.leaves
        ends = buys if side_sign > 0 else sells
        for name in {**buys, **sells}:
            position = runner.ledger.positions[name]
            mark = self._market.mark_ticks(self._index[name])
            price = runner.lot_notional(name, mark, self._oms.open.values())
            worst = compute_worst_lots(position.lots, buys.get(name, 0), sells.get(name, 0))
            gross += (worst - abs(position.lots)) * price
            net += side_sign * ends.get(name, 0) * price
        return gross, net

    def _others_at_home(
        self,
        runner: Runner,
        exchange: CurrencyExchange,
        line: DeskLine,
        side_sign: int,
        replaced: Order | None,
    ) -> tuple[int, int]:
        """`_other_instruments` in home currency, each lot rounded up."""
        sides: dict[InstrumentId, list[int]] = {each: [0, 0] for each in runner.ledger.held}
        for each in self._oms.open.values():
            if each is not replaced and not each.reduce_only and each.strategy == runner.name:
                sides.setdefault(each.instrument, [0, 0])[each.side is _SELL] += each.leaves
        gross = net = 0
        for name, (buys, sells) in sides.items():
            if name == line.instrument.id:
                continue
            position, instrument = runner.ledger.positions[name], self._instruments[name]
            mark = self._market.mark_ticks(self._index[name])
            lot = runner.lot_notional(name, mark, self._oms.open.values())
            lot = -exchange.to_home(instrument.settlement_currency, -lot)
            gross += compute_worst_lots(position.lots, buys, sells) * lot
            net += (position.lots + (buys if side_sign > 0 else -sells)) * lot
        return gross, net

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
        if not reference:
            return self._denied(intent, DenialCode.NO_MARK, 0, 1, "bars")
        factor = instrument.minor_per_tick_lot
        notional = compute_notional(lots, reference, factor, instrument.inverse_factor)
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
                instrument.settlement_currency,
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
        identity = intent.client_order_id
        order = self._oms.open.get(identity)
        if order is None or order.strategy != runner.name or order.status in _ENDING:
            return self._refuse_change(runner, intent, order, seq)
        self._command(OrderCancelPending(identity), order, seq)
        return None

    def _replace(self, runner: Runner, intent: ReplaceIntent) -> OrderDenied | None:
        log = self._log
        seq = log.emit(intent, log.origin, log.cause)
        order = self._oms.open.get(intent.client_order_id)
        is_mine = order is not None and order.strategy == runner.name
        if order is None or not is_mine or order.status in _CHANGING or order.asked_lots:
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
        order.asked_lot_cost = self._lot_cost
        if self._fills_beside(order):
            order.beside_lots = order.lots - order.filled_lots
        self._command(changed, order, log.emit(approved, log.origin, seq))
        return None

    def _fills_beside(self, order: Order) -> bool:
        """Whether what an order fills while its replace is under way comes on top of that."""
        able = self.capabilities
        return able is not None and able.replaces_anew and order.status is not S.EMULATED

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
            return self._denied(as_new, DenialCode.NOT_REPLACEABLE, 0, 0, order.order_type.name)
        line = runner.lines.get(order.instrument) or self._open_line(runner, order.instrument)
        return self._check(
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

    def cancel_entries(self, runner: Runner, cause: int) -> None:
        """Ask for every order that is not protecting a position to be canceled."""
        for order in list(self._oms.open.values()):
            if order.strategy != runner.name or order.status in _ENDING:
                continue
            if runner.ledger.positions[order.instrument].lots * order.side >= 0:
                self._command(OrderCancelPending(order.client_order_id), order, cause)

    def cancel_orders(self, runner: Runner, cause: int, but: str = "") -> None:
        """Ask for every order of a strategy to be canceled, but those with ids that begin `but`."""
        for order in list(self._oms.open.values()):
            if (
                order.strategy == runner.name
                and order.status not in _ENDING
                and not (but and order.client_order_id.startswith(but))
            ):
                self._command(OrderCancelPending(order.client_order_id), order, cause)

    def open_in(self, instrument: InstrumentId) -> list[str]:
        """The ids of all open orders in an instrument, oldest first."""
        names = self._names[instrument]
        return [each.client_order_id for each in self._oms.open.values()
                if each.instrument in names]  # fmt: skip

    def cancel_each(self, orders: Iterable[str], cause: int) -> list[str]:
        """Ask for these to be canceled where that can be asked; returns those that are open."""
        there = [self._oms.open[each] for each in orders if each in self._oms.open]
        for order in there:
            if order.status not in _ENDING:
                self._command(OrderCancelPending(order.client_order_id), order, cause)
        return [each.client_order_id for each in there]

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
        controls = self._controls
        return self._kill_switch.active or (controls is not None and strategy in controls.paused)

    def flatten(self, runner: Runner, cause: int) -> None:
        """Cancel every order of a strategy and close every position by a market order.

        Asked again it does what is still to do: a closing order that lives is left alone. What is
        halted waits until it trades again. Where the venue has no reduce-only an instrument
        also waits until the orders of the strategy there are gone: nobody trims the closing order,
        and a cancel and a fill may cross.
        """
        mark = f"{runner.order_prefix}{_CLOSE}"
        trims = self.capabilities is None or self.capabilities.has_reduce_only
        closing = {
            each.instrument
            for each in self._oms.open.values()
            if each.strategy == runner.name
            and each.status is not S.EMULATED  # gone as soon as its cancel is asked for
            and (not trims or each.client_order_id.startswith(mark))
        }
        self.cancel_orders(runner, cause, but=mark)
        for identity, position in list(runner.ledger.held.items()):
            is_open = identity not in closing | self._ended | self._expired
            if is_open and market_of(identity) not in self.halted:
                self._close(runner, identity, position.lots, cause)

    def is_closing(self, runner: Runner, client_order_id: str) -> bool:
        """Whether an order is one that closes a position of a strategy."""
        return client_order_id.startswith(f"{runner.order_prefix}{_CLOSE}")

    def is_flat(self, runner: Runner) -> bool:
        """Whether a strategy holds nothing, and no order of it could change that."""
        return not runner.ledger.held and not any(
            each.strategy == runner.name for each in self._oms.open.values()
        )

    def _close(self, runner: Runner, identity: InstrumentId, held: int, cause: int) -> None:
        """A market order that brings a position to flat, which no limit may refuse.

        It comes from risk itself and only reduces, so no gate is asked. The venue never lets
        it take the position beyond flat, or nothing else is open there when it leaves.
        """
        log = self._log
        instrument = self._instruments[identity]
        lots = min(abs(held), instrument.max_lots or MAX_LOTS, MAX_LOTS)
        side = _SELL if held > 0 else _BUY
        self._closings[runner.name] = number = self._closings.get(runner.name, 0) + 1
        client_order_id = f"{runner.order_prefix}{_CLOSE}{number}"
        intent = OrderIntent(
            runner.name, 0, identity, side, _LOTS, lots, OrderType.MARKET, TimeInForce.GTC,
            reduce_only=True,
        )  # fmt: skip
        verdict = self._ungated.check(
            RiskInput(
                intent=intent, instrument=instrument, client_order_id=client_order_id, ts=log.now,
                side_sign=side.value, lots=lots, lot_notional=0, notional=0, equity=0, cash=0,
                session_start_equity=0, peak_equity=0, reduce_only=True, reducible_lots=lots,
                position_lots=held,
            )
        )  # fmt: skip
        if isinstance(verdict, OrderDenied):
            raise InvariantBroken(f"no gate was asked and {client_order_id} was denied")
        approved = OrderApproved(runner.name, 0, client_order_id, side, lots)
        seq = log.emit(approved, log.origin, cause)
        _, command = self._oms.submit(verdict, 0, log.origin, seq + 1)
        log.emit(command, log.origin, seq)
        self.commands.append(command)

    def _command(
        self, command: OrderCancelPending | OrderReplacePending, order: Order, cause: int
    ) -> None:
        self._oms.move(order, command, self._log.emit(command, order.correlation_id, cause))
        self.commands.append(command)

    def settle(self, report: OrderReport | StrayFilled, cause: int) -> Runner | None:
        """Follow a venue report through OMS and books; returns whose order it was.

        A stray fill goes to the books alone. `cause` is the seq of the market event that made it; 0
        when it answers a command.

        Raises:
            InvariantBroken: The report is for an unknown order or no legal move.
        """
        log = self._log
        if isinstance(report, StrayFilled):
            runner = self._runners[report.strategy]
            self._book(runner, report, log.origin, log.emit(report, log.origin, cause))
            return runner
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
            self._book(runner, report, origin, seq, is_first=order.filled_lots == report.lots)
        return runner

    def _book(
        self, runner: Runner, fill: OrderFilled, origin: int, seq: int, *, is_first: bool = True
    ) -> None:
        """Take a fill that stands on the tape at `seq` to the books; `is_first`: of its order."""
        if self._controls is not None:
            self._controls.hear(fill, is_first=is_first)
        if self._audit is not None:
            self._audit.controls.hear(fill, is_first=is_first)
        self._log.events.append((runner.settle(fill), origin, seq))
        if runner.exchange is not None:
            currency = self._instruments[fill.instrument].settlement_currency
            self._convert(runner, runner.exchange, currency, origin, seq)
        if self.settlement is not None:
            instrument = self._instruments[fill.instrument]
            if not instrument.is_margined:  # only what is realized moves cash, at once
                self.settlement.take(runner, fill, instrument.settlement_currency, seq)

    def pay_in_lots(self, fee: BaseFee, cause: int) -> PositionSettled:
        """Book a fee that a venue took in lots; `cause` is the seq of the report that told it.

        Raises:
            InvariantBroken: The books don't balance afterwards.
        """
        settled = self._runners[fee.strategy].settle_contract(
            fee.instrument, SettlementKind.BASE_FEE, fee.traded, fee.ticks, fee.notional, fee.fee
        )
        self._log.emit(settled, self._log.origin, cause)
        return settled

    def sweep(self, runner: Runner, instrument: InstrumentId, cause: int) -> None:
        """Convert what `cause` moved in the currency of `instrument`, unless it stays."""
        if runner.exchange is not None:
            currency = self._instruments[instrument].settlement_currency
            self._convert(runner, runner.exchange, currency, self._log.origin, cause)

    def sweep_all(self, runner: Runner, cause: int) -> None:
        """Convert all foreign cash, what is held too."""
        if runner.exchange is not None:
            for currency in runner.exchange.currencies:
                self._convert(
                    runner, runner.exchange, currency, self._log.origin, cause, is_forced=True
                )

    def _convert(
        self,
        runner: Runner,
        exchange: CurrencyExchange,
        currency: str,
        origin: int,
        cause: int,
        *,
        is_forced: bool = False,
    ) -> None:
        """Bring foreign cash to zero: two postings, one in each currency."""
        if currency == exchange.home:
            return
        sweep = exchange.quote_sweep(currency, is_forced=is_forced)
        if sweep is None:
            return
        foreign, home, reason = sweep
        pair = exchange.pair_of(currency)
        for amount, name in ((foreign, currency), (home, exchange.home)):
            posted = runner.post(PostingKind.FX_CONVERSION, amount, pair, reason, name)
            self._log.emit(posted, origin, cause)

    def adjust(self, action: CorporateAction, cause: int) -> None:
        """Post a corporate action to the books of every strategy, and adjust marks by it.

        Raises:
            InvariantBroken: A position or a balance becomes too large.
        """
        log, market, index = self._log, self._market, self._index[action.instrument]
        new = None
        if action.new_instrument:
            definition = self._instruments[action.new_instrument]
            ticks = new_share_ticks(self._all, action, market.mark_ticks)
            new = NewShares(definition.id, ticks)
            terms = compute_terms(action, self._instruments[action.instrument], definition)
        else:
            terms = compute_terms(action, self._instruments[action.instrument])
        mark_ticks = market.mark_ticks(index)
        for runner, name in self._holdings(action.instrument):
            change = runner.adjust(action, name, terms, mark_ticks, _of_leg(new, name))
            if change is not None:
                seq = log.emit(change, log.origin, cause)
                if runner.exchange is not None:
                    currency = self._instruments[action.instrument].settlement_currency
                    self._convert(runner, runner.exchange, currency, log.origin, seq)
        for at in market.adjust(action):
            for runner in self._runners.values():
                runner.valuation.expire()
                if runner.watch is not None:
                    runner.watch.adjust_mark(at, market.mark_ticks(at))
            if self._controls is not None:
                self._controls.adjust_mark(at, market.mark_ticks(at))
            if self._audit is not None:
                self._audit.controls.adjust_mark(at, market.mark_ticks(at))
        self.end(action)

    def post(
        self,
        strategy: str,
        kind: PostingKind,
        amount: int,
        instrument: InstrumentId = NO_INSTRUMENT,
        reason: str = "",
        currency: str = "",
    ) -> CashPosted:
        """Book cash that moves without a fill, on the tape in the current step.

        Args:
            strategy: Whose books.
            kind: Why it moves; says the account.
            amount: Minor units, received: positive.
            instrument: On whose account; empty where it is of none.
            reason: How the amount came about, for people.
            currency: Of `amount`; empty: that of the instrument, or else of the books.

        Raises:
            InvariantBroken: A balance becomes too large.
        """
        runner, log = self._runners[strategy], self._log
        posted = runner.post(kind, amount, instrument, reason, currency)
        seq = log.emit(posted, log.origin, log.cause)
        if runner.exchange is not None:
            self._convert(runner, runner.exchange, posted.currency, log.origin, seq)
        return posted

    def transfer(self, order: TransferOrdered, cause: int) -> None:
        """Move capital from one strategy to another, or refuse to; `cause` is the seq of `order`.

        Raises:
            InvariantBroken: A balance becomes too large.
        """
        log, source = self._log, self._runners[order.source]
        free = self.free_cash(source, source.ledger.currency)
        needs = self.margin_needs(source)
        if needs is not None:  # what backs positions and orders stays
            needed, power = needs
            free = min(free, power - needed)
        if order.amount > free:
            log.emit(TransferRefused(order.source, order.target, order.amount, free), cause, cause)
            return
        log.origin = log.cause = cause
        for name, amount, way in (
            (order.source, -order.amount, f"to {order.target}"),
            (order.target, order.amount, f"from {order.source}"),
        ):
            self.post(name, PostingKind.TRANSFER, amount, reason=way)

    def cash_in(self, runner: Runner, currency: str) -> int:
        """Cash of a currency that the books have, minor units."""
        ledger = runner.ledger
        return ledger.cash_in(currency) if isinstance(ledger, CurrencyLedger) else ledger.cash

    def free_cash(self, runner: Runner, currency: str, but: Order | None = None) -> int:
        """Settled cash of a currency that no open buy has bound, `but` one; minor units."""
        exchange = runner.exchange
        holds = exchange is not None and exchange.holds
        cash = self.cash_in(runner, currency)
        if currency == runner.ledger.currency:
            cash -= runner.unsettled
        else:
            cash -= runner.unsettled_in.get(currency, 0)
        return cash - sum(
            each.leaves * each.worst_lot_cost
            for each in self._oms.open.values()
            if each.strategy == runner.name
            and each is not but
            and each.side is _BUY
            and not each.reduce_only
            and (not holds or self._instruments[each.instrument].settlement_currency == currency)
        )

    def margin_needs(self, runner: Runner) -> tuple[int, int] | None:
        """Initial margin of everything at its worst, and what backs it; None without margin."""
        if self.margin is None:
            return None
        return self.margin.compute_needs(runner, self._oms.open.values(), NO_INSTRUMENT, 0, 0)

    def compute_owed_margin(self, owed: int) -> int:
        """What owing so much in currencies must be backed with, on margin."""
        return 0 if self.margin is None else self.margin.compute_owed_margin(owed)

    def pause_code(self, strategy: str) -> DenialCode | None:
        """Why a strategy may only reduce; None: it may do more."""
        if self._kill_switch.active:
            return DenialCode.KILL_SWITCH
        controls = self._controls
        if controls is not None and strategy in controls.paused:
            return controls.code_of_pause(strategy)
        return None

    def end(self, action: CorporateAction) -> None:
        """From a delisting, merger or change of symbol on orders of the instrument are denied."""
        if action.kind.ends:
            self._ended.update(self._names[action.instrument])

    def _holdings(self, instrument: InstrumentId) -> Iterator[tuple[Runner, InstrumentId]]:
        """Every strategy with each id under which it may hold an instrument."""
        for runner in self._runners.values():
            for name in self._names[instrument]:
                yield runner, name

    def free_lots(self, runner: Runner, instrument: InstrumentId) -> int:
        """Lots that a strategy holds and has not for sale; 0 where it is short."""
        free = runner.ledger.positions[instrument].lots
        for each in self._oms.open.values():
            if (
                each.strategy == runner.name
                and each.instrument == instrument
                and each.side is _SELL
                and not each.reduce_only
            ):
                free -= each.leaves
        return max(0, free)

    def expire(self, instrument: InstrumentId) -> None:
        """From an expiry on every order of the instrument is denied."""
        self._expired.update(self._names[instrument])

    def follow_status(self, status: TradingStatus) -> None:
        """Remember whether an instrument is halted; its venue refuses orders, not this desk."""
        if status.is_halted:
            self.halted[status.instrument] = status
        else:
            self.halted.pop(status.instrument, None)

    def apply_control(self, command: KillSwitchSet) -> None:
        """Follow an operator's command."""
        self._kill_switch.apply(command)

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


def _of_leg(new: NewShares | None, name: InstrumentId) -> NewShares | None:
    """What a leg turns into is the same leg of the new instrument."""
    leg = side_of(name)
    if new is None or leg is None:
        return new
    return NewShares(leg_of(new.instrument, leg), new.ticks)
