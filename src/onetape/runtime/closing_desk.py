"""Takes strategies out of the market: cancels their orders and closes what they hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from onetape.domain.errors import InvariantBroken
from onetape.domain.events import OrderCancelPending, OrderDenied
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.legs import market_of
from onetape.domain.numbers import MAX_LOTS
from onetape.domain.orders import (
    OrderIntent,
    OrderStatus,
    OrderType,
    QuantityBasis,
    Side,
    TimeInForce,
)
from onetape.execution.oms import BEYOND_CANCEL, Oms
from onetape.risk.approval import RiskEngine
from onetape.risk.input import RiskInput
from onetape.runtime.order_route import OrderRoute
from onetape.runtime.runner import Runner
from onetape.runtime.step_log import StepLog

_CLOSE = "close"
"""What the id of an order of ours that closes a position has behind the prefix, then a number."""


class ClosingDesk:
    """Cancels and closes what breakers, operators and quarantines want gone, past every gate."""

    __slots__ = ("_instruments", "_log", "_numbers", "_oms", "_route", "_ungated")

    def __init__(
        self, log: StepLog, oms: Oms, instruments: Sequence[Instrument], route: OrderRoute
    ) -> None:
        self._log = log
        self._oms = oms
        self._route = route
        self._instruments = {each.id: each for each in instruments}
        self._numbers: dict[str, int] = {}
        self._ungated = RiskEngine(())

    def save(self) -> dict[str, int]:
        """How many orders have closed a position of each strategy."""
        return dict(self._numbers)

    def restore(self, state: Mapping[str, int]) -> None:
        """Go on where `state` was saved."""
        self._numbers = dict(state)

    def cancel_entries(self, runner: Runner, cause: int) -> None:
        """Ask for every order that is not protecting a position to be canceled."""
        for order in list(self._oms.open.values()):
            if order.strategy != runner.name or order.status in BEYOND_CANCEL:
                continue
            if runner.ledger.positions[order.instrument].lots * order.side >= 0:
                self._route.change(OrderCancelPending(order.client_order_id), order, cause)

    def cancel_orders(self, runner: Runner, cause: int, but: str = "") -> None:
        """Ask for every order of a strategy to be canceled, but those with ids that begin `but`."""
        for order in list(self._oms.open.values()):
            if (
                order.strategy == runner.name
                and order.status not in BEYOND_CANCEL
                and not (but and order.client_order_id.startswith(but))
            ):
                self._route.change(OrderCancelPending(order.client_order_id), order, cause)

    def cancel_each(self, orders: Iterable[str], cause: int) -> list[str]:
        """Ask for these to be canceled where that can be asked; returns those that are open."""
        there = [self._oms.open[each] for each in orders if each in self._oms.open]
        for order in there:
            if order.status not in BEYOND_CANCEL:
                self._route.change(OrderCancelPending(order.client_order_id), order, cause)
        return [each.client_order_id for each in there]

    def flatten(self, runner: Runner, cause: int) -> None:
        """Cancel every order of a strategy and close every position by a market order.

        Asked again it does what is still to do: a closing order that lives is left alone. What is
        halted waits until it trades again. Where the venue has no reduce-only an instrument
        also waits until the orders of the strategy there are gone: nobody trims the closing order,
        and a cancel and a fill may cross.
        """
        route = self._route
        mark = f"{runner.order_prefix}{_CLOSE}"
        closing = {
            each.instrument
            for each in self._oms.open.values()
            if each.strategy == runner.name
            and each.status is not OrderStatus.EMULATED  # gone as soon as its cancel is asked for
            and (not route.trims or each.client_order_id.startswith(mark))
        }
        self.cancel_orders(runner, cause, but=mark)
        for identity, position in list(runner.ledger.held.items()):
            is_open = identity not in closing and identity not in route.gone
            if is_open and market_of(identity) not in route.halted:
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
        instrument = self._instruments[identity]
        lots = min(abs(held), instrument.max_lots or MAX_LOTS, MAX_LOTS)
        side = Side.SELL if held > 0 else Side.BUY
        self._numbers[runner.name] = number = self._numbers.get(runner.name, 0) + 1
        client_order_id = f"{runner.order_prefix}{_CLOSE}{number}"
        intent = OrderIntent(
            runner.name, 0, identity, side, QuantityBasis.LOTS, lots, OrderType.MARKET,
            TimeInForce.GTC, reduce_only=True,
        )  # fmt: skip
        verdict = self._ungated.check(
            RiskInput(
                intent=intent, instrument=instrument, client_order_id=client_order_id,
                ts=self._log.now, side_sign=side.value, lots=lots, lot_notional=0, notional=0,
                equity=0, cash=0, session_start_equity=0, peak_equity=0, reduce_only=True,
                reducible_lots=lots, position_lots=held,
            )
        )  # fmt: skip
        if isinstance(verdict, OrderDenied):
            raise InvariantBroken(f"no gate was asked and {client_order_id} was denied")
        self._route.submit(verdict, 0, cause)
