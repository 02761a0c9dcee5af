"""What an order is told before it leaves: by the venue, by its instrument, by every risk gate."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from onetape.domain.events import OrderDenied
from onetape.domain.instrument import Instrument
from onetape.domain.notional import compute_notional
from onetape.domain.numbers import E8, MAX_LOTS
from onetape.domain.orders import DenialCode, LiquiditySide, OrderIntent, Side, TimeInForce
from onetape.execution.gateway import Capabilities
from onetape.execution.oms import Oms, Order
from onetape.execution.simulated.fee_rules import compute_fill_fee
from onetape.risk.approval import RiskApproved
from onetape.risk.input import RiskInput
from onetape.risk.kill_switch import KillSwitch
from onetape.risk.shrinking import Shrinking
from onetape.runtime.margin_desk import MarginDesk
from onetape.runtime.market_state import MarketState
from onetape.runtime.order_claims import OrderClaims
from onetape.runtime.order_route import OrderRoute
from onetape.runtime.order_sizing import AT_FILL, compute_budget
from onetape.runtime.risk_audit import RiskAudit, describe
from onetape.runtime.risk_controls import RiskControls, name_pause
from onetape.runtime.runner import DeskLine, Runner
from onetape.runtime.step_log import StepLog

_TAKER = LiquiditySide.TAKER.value
_BUY, _SELL = Side
_RESTING = (TimeInForce.GTC, TimeInForce.DAY, TimeInForce.GTD)


class OrderCheck:
    """Prices an order at its worst and puts it before everybody who may refuse it.

    Asked are, in this order: what the venue can, whether the instrument still trades, rates and
    marks, conditions, the limits of the instrument, and the gates of account and strategy.

    Args:
        log: Tells the time, and takes what was shrunk.
        market: Where the marks come from.
        oms: The open orders.
        instruments: Those of the timeline, in its order, and their legs.
        route: What the venue can, and what has ended.
        claims: What is open already.
        kill_switch: Set: a strategy may only reduce.
        controls: What the session asks beyond the gates of each strategy; None: nothing.
        audit: Asks other limits beside them; None: nobody does.

    Attributes:
        margin: What measures margin; None: there is no agreement on it.
        lot_cost: The most that a lot of the last order that passed can cost, its share of the fee
            included, minor units.
    """

    __slots__ = (
        "_audit", "_claims", "_controls", "_is_single", "_kill_switch", "_log", "_market", "_oms",
        "_route", "lot_cost", "margin",
    )  # fmt: skip

    def __init__(
        self,
        log: StepLog,
        market: MarketState,
        oms: Oms,
        instruments: Sequence[Instrument],
        route: OrderRoute,
        claims: OrderClaims,
        kill_switch: KillSwitch,
        controls: RiskControls | None,
        audit: RiskAudit | None,
    ) -> None:
        self._log = log
        self._market = market
        self._oms = oms
        self._is_single = len(instruments) == 1
        self._route = route
        self._claims = claims
        self._kill_switch = kill_switch
        self._controls = controls
        self._audit = audit
        self.margin: MarginDesk | None = None
        self.lot_cost = 0

    def check(
        self,
        runner: Runner,
        line: DeskLine,
        intent: OrderIntent,
        client_order_id: str,
        side: Side,
        lots: int,
        replaced: Order | None,
    ) -> RiskApproved | OrderDenied:
        """The verdict on so many lots of an intent; leaves `lot_cost` behind when it passes.

        `replaced` no longer counts as open, unless it may fill beside what replaces it.
        """
        market, route = self._market, self._route
        reduce_only = intent.reduce_only
        gone = None if replaced is not None and route.fills_beside(replaced) else replaced
        if route.capabilities is not None:
            is_trimmed = replaced is gone and route.capabilities.trims(intent)
            refusal = self._refuse_at_venue(
                runner, line, intent, side, lots, gone, route.capabilities, is_trimmed=is_trimmed
            )
            if refusal is not None:
                return refusal
            reduce_only = reduce_only and is_trimmed  # nobody trims it: it counts as what it is
        if route.gone and line.instrument.id in route.gone:
            return deny(intent, route.gone[line.instrument.id], lots, 0, "lots")
        mark = market.mark_ticks(line.index)
        exchange, currency = line.exchange, ""
        if exchange is not None:
            currency = line.instrument.settlement_currency
            if not exchange.has_rate(currency):
                pair = exchange.pair_of(currency)
                return deny(intent, DenialCode.NO_RATE, 0, 1, f"bars of {pair}")
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
            coming = self._claims.coming_lots(intent.conditions.parent)
            whole = lots + (replaced.filled_lots if replaced is not None else 0)
            refusal = self._refuse_conditions(line, intent, whole, mark, coming)
            if refusal is not None:
                return refusal
            group = "" if replaced is not gone else intent.conditions.group
            if reduce_only:
                position += coming
        controls = self._controls
        shrinking: Shrinking | None = None
        if controls is not None and controls.shrinks and replaced is None:
            shrinking = self._shrinking(controls, runner, line, intent, side, dearest, position)
            reducible = -position * side_sign
            if reduce_only and 0 < reducible < lots:
                flips = deny(intent, DenialCode.REDUCE_ONLY, lots, reducible, "lots")
                shrinking.note(flips, lots, reducible)
                lots = reducible
        plain = 0 < lots <= MAX_LOTS >= abs(position + lots * side_sign) and dearest
        if not plain or line.is_picky or reduce_only:
            refusal = _refuse(intent, line.instrument, dearest, side, lots, position)
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
        at_fill = intent.basis in AT_FILL
        if at_fill and side_sign > 0:  # at a lower price it buys more, for all of its money
            notional = max(notional, compute_budget(runner, line, intent) - fee)
        peak = session_start = 0
        watch = runner.watch
        if watch is not None:
            watch.advance()
            peak = watch.peak
            session_start = watch.session_start
        buys = sells = bound = reducible = gross = net = 0
        if self._oms.open or reduce_only:
            buys, sells, bound, reducible = self._claims.count(
                runner, line, side_sign, gone, group, coming
            )
        if not self._is_single or runner.exchange is not None:
            gross, net = self._claims.other_instruments(runner, line, side_sign, replaced)
        now, equity = self._log.now, valuation.equity
        cash = runner.ledger.cash - runner.unsettled
        own = free = 0
        if runner.exchange is not None and runner.exchange.holds:
            own = notional + fee
            free = self._claims.free_cash(runner, line.instrument.settlement_currency, replaced)
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
        self.lot_cost = _share_cost(own or notional + fee, lots, at_fill=at_fill)
        if controls is None and self._audit is None:
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
        if self._audit is None:
            verdict = self._decide(runner, order, shrinking)
        else:
            other = None
            if self._audit.controls.shrinks and replaced is None:
                other = self._shrinking(
                    self._audit.controls, runner, line, intent, side, dearest, position
                )
            verdict = self._decide_beside(
                self._audit, runner, order, shrinking, other, is_replace=replaced is not None
            )
        if exchange is not None and isinstance(verdict, OrderDenied) and verdict.unit == currency:
            return msgspec.structs.replace(verdict, unit=exchange.home)
        return verdict

    def pause_code(self, strategy: str) -> DenialCode | None:
        """Why a strategy may only reduce; None: it may do more."""
        if self._kill_switch.active:
            return DenialCode.KILL_SWITCH
        controls = self._controls
        if controls is not None and strategy in controls.paused:
            return controls.code_of_pause(strategy)
        return None

    def _refuse_at_venue(
        self,
        runner: Runner,
        line: DeskLine,
        intent: OrderIntent,
        side: Side,
        lots: int,
        gone: Order | None,
        capabilities: Capabilities,
        *,
        is_trimmed: bool,
    ) -> OrderDenied | None:
        """What the venue can't carry; `is_trimmed`: it takes no position beyond flat by itself."""
        missing = capabilities.find_unsupported(intent)
        if missing:
            return deny(intent, DenialCode.UNSUPPORTED, 0, 0, missing)
        if intent.reduce_only and not is_trimmed:
            free = self._claims.unclaimed_lots(runner, line, side, gone)
            if lots > free:
                return deny(intent, DenialCode.REDUCE_ONLY, lots, free, "lots")
        return None

    def _refuse_conditions(
        self, line: DeskLine, intent: OrderIntent, whole: int, mark: int, coming: int
    ) -> OrderDenied | None:
        """What is wrong with the conditions of an order of `whole` lots, what has filled included.

        `coming` are the lots that its parent can bring.
        """
        conditions = intent.conditions
        if conditions is None:
            return None
        if intent.order_type.is_trailing and intent.stop_ticks <= 0:
            tick = line.instrument.tick_float
            width = (mark - intent.stop_ticks) * tick
            return deny(intent, DenialCode.TRAIL, width, mark * tick, "price")
        if conditions.parent and not coming:
            return deny(intent, DenialCode.PARENT_CLOSED, 0, 1, conditions.parent)
        return _refuse_display(intent, line.instrument, whole)

    def _decide(
        self, runner: Runner, order: RiskInput, shrinking: Shrinking | None
    ) -> RiskApproved | OrderDenied:
        """The verdict of the gates, with all that a session asks beyond those of the strategy."""
        controls = self._controls
        if controls is None:
            return runner.risk.check(order)
        verdict = controls.decide(runner, order, shrinking)
        if not self._kill_switch.active:
            verdict = name_pause(verdict, controls.code_of_pause(runner.name))
        self.lot_cost = _share_cost(
            order.currency_needed or order.notional + order.fee, order.lots,
            at_fill=order.intent.basis in AT_FILL,
        )  # fmt: skip
        return verdict

    def _decide_beside(
        self,
        audit: RiskAudit,
        runner: Runner,
        order: RiskInput,
        shrinking: Shrinking | None,
        other: Shrinking | None,
        *,
        is_replace: bool,
    ) -> RiskApproved | OrderDenied:
        """`_decide`, and what other limits would have said; `other` may shrink it under them."""
        lots = order.lots
        cut = shrinking.steps if shrinking is not None else []
        if other is not None:
            other.steps += cut
        is_paused = order.kill_active and not self._kill_switch.active
        theirs = audit.ask(runner, order, other, cut, is_paused=is_paused)
        verdict = self._decide(runner, order, shrinking)
        ours = describe(verdict, shrinking.steps if shrinking is not None else ())
        audit.take(order, lots, theirs, ours, is_replace=is_replace)
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
            return _refuse_display(intent, line.instrument, lots) or _refuse(
                intent, line.instrument, dearest, side, lots, position
            )

        return Shrinking(controls.shrinks, cost, refuse)


def deny(
    intent: OrderIntent, code: DenialCode, actual: float, limit: float, unit: str
) -> OrderDenied:
    """The refusal of an order, with its numbers."""
    return OrderDenied(intent.strategy, intent.intent, intent.instrument, code, actual, limit, unit)


def _share_cost(cost: int, lots: int, *, at_fill: bool) -> int:
    """What each of `lots` costs; rounded up, but where their number is an estimate of the cost."""
    return cost // lots if at_fill else -(-cost // lots)


def _refuse_display(intent: OrderIntent, instrument: Instrument, lots: int) -> OrderDenied | None:
    """An order of `lots` in all may not show what it is to show of them."""
    display = intent.conditions.display_lots if intent.conditions is not None else 0
    may_hide = intent.order_type.has_limit and intent.time_in_force in _RESTING
    if not display or (may_hide and instrument.min_lots <= display <= lots):
        return None
    return deny(intent, DenialCode.DISPLAY, display, lots, "lots")


def _refuse(
    intent: OrderIntent,
    instrument: Instrument,
    reference: int,
    side: Side,
    lots: int,
    position: int,
) -> OrderDenied | None:
    """What the instrument itself forbids, whatever the limits of the account."""
    if not reference:
        return deny(intent, DenialCode.NO_MARK, 0, 1, "bars")
    factor = instrument.minor_per_tick_lot
    notional = compute_notional(lots, reference, factor, instrument.inverse_factor)
    if lots <= 0:
        return deny(intent, DenialCode.ZERO_QUANTITY, lots, 1, "lots")
    most = min(instrument.max_lots or MAX_LOTS, MAX_LOTS)
    if lots > most:
        return deny(intent, DenialCode.LOT_LIMITS, lots, most, "lots")
    if lots < instrument.min_lots:
        return deny(intent, DenialCode.LOT_LIMITS, lots, instrument.min_lots, "lots")
    if notional < instrument.min_notional * E8:
        return deny(
            intent, DenialCode.MIN_NOTIONAL, notional / E8, float(instrument.min_notional),
            instrument.settlement_currency,
        )  # fmt: skip
    if abs(position + lots * side) > MAX_LOTS:
        return deny(intent, DenialCode.LOT_LIMITS, abs(position) + lots, MAX_LOTS, "lots")
    if intent.reduce_only and (position * side >= 0 or lots > abs(position)):
        return deny(intent, DenialCode.REDUCE_ONLY, lots, -position * side, "lots")
    return None
