"""What the open orders of a strategy claim: lots, cash, and exposure when they fill."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.legs import index_of, names_of
from onetape.domain.notional import compute_notional
from onetape.domain.orders import OrderStatus, Side
from onetape.execution.oms import Oms, Order
from onetape.risk.input import compute_worst_lots
from onetape.runtime.currency_exchange import CurrencyExchange
from onetape.runtime.market_state import MarketState
from onetape.runtime.order_route import OrderRoute
from onetape.runtime.runner import DeskLine, Runner

_BUY, _SELL = Side
_EMULATED = OrderStatus.EMULATED

Leaves = dict[InstrumentId, int]
"""Lots that may still fill, by instrument."""


def sum_leaves(
    orders: Iterable[Order], strategy: str, but: Order | None = None
) -> tuple[Leaves, Leaves]:
    """What the buys and the sells of a strategy can still fill, `but` one, by instrument.

    Reduce-only orders are left out: alone they bring a position nearer to flat, and what else is
    open there has been counted with them when it was approved.
    """
    buys: Leaves = {}
    sells: Leaves = {}
    for each in orders:
        if each is but or each.reduce_only or each.strategy != strategy:
            continue
        side = buys if each.side is _BUY else sells
        side[each.instrument] = side.get(each.instrument, 0) + each.leaves
    return buys, sells


def find_dearest(
    orders: Iterable[Order], strategy: str, instrument: InstrumentId, *, is_inverse: bool
) -> int:
    """The price (ticks) of the orders of a strategy at which a lot of an instrument costs most.

    For what has no mark yet; 0 without such orders. An inverse contract costs the more, the lower
    the price.
    """
    prices = [
        each.limit_ticks or each.stop_ticks
        for each in orders
        if each.strategy == strategy and each.instrument == instrument and not each.reduce_only
    ]
    return (min if is_inverse else max)(filter(None, prices), default=0)


def compute_lot_notional(
    runner: Runner, name: InstrumentId, mark: int, orders: Iterable[Order]
) -> int:
    """Notional of a lot of an instrument, minor units: at its `mark` in ticks.

    Where there is none yet (0), at the dearest price of the open `orders` of the strategy.
    """
    position = runner.ledger.positions[name]
    is_inverse = position.inverse_factor != 0
    ticks = mark or find_dearest(orders, runner.name, name, is_inverse=is_inverse)
    if not ticks:
        return 0
    return compute_notional(1, ticks, position.factor, position.inverse_factor)


class OrderClaims:
    """Adds up what the open orders of one strategy claim."""

    __slots__ = ("_index", "_instruments", "_market", "_names", "_oms", "_route")

    def __init__(
        self, oms: Oms, market: MarketState, instruments: Sequence[Instrument], route: OrderRoute
    ) -> None:
        self._oms = oms
        self._market = market
        self._route = route
        self._instruments = {each.id: each for each in instruments}
        self._index = index_of(instruments)
        self._names = names_of(instruments)

    @property
    def orders(self) -> Iterable[Order]:
        """Every open order, oldest first, whosever it is."""
        return self._oms.open.values()

    def open_in(self, instrument: InstrumentId) -> list[str]:
        """The ids of all open orders in an instrument or its legs, oldest first."""
        names = self._names[instrument]
        return [each.client_order_id for each in self.orders if each.instrument in names]

    def count(
        self,
        runner: Runner,
        line: DeskLine,
        side_sign: int,
        replaced: Order | None,
        group: str,
        coming: int,
    ) -> tuple[int, int, int, int]:
        """What the strategy has open, beside a new order.

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
            trimmed = each.reduce_only and (self._route.trims or each.status is _EMULATED)
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
        brought = -coming * side_sign
        return buys, sells, bound, free + bound_together + (brought if brought > 0 else 0)

    def coming_lots(self, parent: str) -> int:
        """Signed lots that an order which leaves in this step can still bring; 0 without one."""
        order = self._oms.open.get(parent)
        if order is None or not any(
            each.client_order_id == parent for each in self._route.commands
        ):
            return 0
        return order.leaves * order.side

    def unclaimed_lots(
        self, runner: Runner, line: DeskLine, side: Side, replaced: Order | None
    ) -> int:
        """Lots of a position that no open order of this side but `replaced` could close already."""
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

    def free_cash(self, runner: Runner, currency: str, but: Order | None = None) -> int:
        """Settled cash of a currency that no open buy has bound, `but` one; minor units."""
        exchange = runner.exchange
        holds = exchange is not None and exchange.holds
        cash = runner.ledger.cash_in(currency)
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

    def other_instruments(
        self, runner: Runner, line: DeskLine, side_sign: int, replaced: Order | None
    ) -> tuple[int, int]:
        """Gross and net of the other instruments at their worst, as `RiskInput` says.

        That is what they are worth as they stand, and what their open orders could make of them.
        """
        if runner.exchange is not None:
            return self._others_at_home(runner, runner.exchange, line, side_sign, replaced)
        here = line.instrument.id
        position = line.position
        exposure = 0
        if position.lots:
            exposure = position.exposure(self._market.value_ticks(line.index, position.lots))
        gross = runner.valuation.gross - abs(exposure)
        net = runner.valuation.net - exposure
        buys, sells = sum_leaves(self._oms.open.values(), runner.name, replaced)
        ends = buys if side_sign > 0 else sells
        for name in {**buys, **sells}:
            if name == here:
                continue
            position = runner.ledger.positions[name]
            mark = self._market.mark_ticks(self._index[name])
            price = compute_lot_notional(runner, name, mark, self.orders)
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
        """`other_instruments` in home currency, each lot rounded up."""
        buys, sells = sum_leaves(self._oms.open.values(), runner.name, replaced)
        ends = buys if side_sign > 0 else sells
        gross = net = 0
        for name in {**runner.ledger.held, **buys, **sells}:
            if name == line.instrument.id:
                continue
            position, instrument = runner.ledger.positions[name], self._instruments[name]
            mark = self._market.mark_ticks(self._index[name])
            lot = compute_lot_notional(runner, name, mark, self.orders)
            lot = -exchange.to_home(instrument.settlement_currency, -lot)
            worst = compute_worst_lots(position.lots, buys.get(name, 0), sells.get(name, 0))
            gross += worst * lot
            net += (position.lots + side_sign * ends.get(name, 0)) * lot
        return gross, net
