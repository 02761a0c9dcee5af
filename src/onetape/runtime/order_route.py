"""The way of orders to their venue: what trades there, what it can, what leaves in a step."""

from __future__ import annotations

from collections.abc import Sequence

from onetape.domain.events import (
    OrderApproved,
    OrderCancelPending,
    OrderReplacePending,
    VenueCommand,
)
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.legs import names_of
from onetape.domain.market import TradingStatus
from onetape.domain.orders import DenialCode, OrderStatus
from onetape.execution.gateway import Capabilities
from onetape.execution.oms import Oms, Order
from onetape.risk.approval import RiskApproved
from onetape.runtime.step_log import StepLog


class OrderRoute:
    """Sends commands: each moves its order, stands on the tape, and leaves when the tape has it.

    Attributes:
        commands: What the current step wants sent to the venue, in order.
        capabilities: What a real venue can; None: the simulated one can everything.
        halted: The instruments that their venue has halted, as far as we know.
        gone: The instruments that never trade again, and what orders for them are told.
    """

    __slots__ = ("_log", "_names", "_oms", "capabilities", "commands", "gone", "halted")

    def __init__(self, log: StepLog, oms: Oms, instruments: Sequence[Instrument]) -> None:
        self._log = log
        self._oms = oms
        self._names = names_of(instruments)
        self.commands: list[VenueCommand] = []
        self.capabilities: Capabilities | None = None
        self.halted: dict[InstrumentId, TradingStatus] = {}
        self.gone: dict[InstrumentId, DenialCode] = {}

    def submit(self, approved: RiskApproved, lot_cost: int, cause: int) -> None:
        """Send an order; `cause` is the seq of what asked for it.

        Args:
            approved: What risk has passed.
            lot_cost: The most that one of its lots can cost, minor units.
            cause: Seq of the intent, or of what else it answers.

        Raises:
            InvariantBroken: Its client order id is used twice.
        """
        log, intent = self._log, approved.intent
        events, origin = log.events, log.origin
        passed = log.first_seq + len(events)
        _, command = self._oms.submit(approved, lot_cost, origin, passed + 1)
        told = OrderApproved(
            intent.strategy, intent.intent, approved.client_order_id, approved.side, approved.lots
        )
        events += ((told, origin, cause), (command, origin, passed))
        self.commands.append(command)

    def change(
        self, command: OrderCancelPending | OrderReplacePending, order: Order, cause: int
    ) -> None:
        """Send a cancel or a replace of `order`; `cause` is the seq of what asked for it.

        Raises:
            InvariantBroken: The order can't move there.
        """
        self._oms.move(order, command, self._log.emit(command, order.correlation_id, cause))
        self.commands.append(command)

    @property
    def trims(self) -> bool:
        """Whether the venue takes no reduce-only order beyond flat."""
        return self.capabilities is None or self.capabilities.has_reduce_only

    def fills_beside(self, order: Order) -> bool:
        """Whether what an order fills while its replace is under way comes on top of that."""
        able = self.capabilities
        return able is not None and able.replaces_anew and order.status is not OrderStatus.EMULATED

    def leave(self, instrument: InstrumentId, code: DenialCode) -> None:
        """From now on orders of an instrument, or its legs, are denied with `code`.

        What is delisted stays so when it expires as well.
        """
        for name in self._names[instrument]:
            if self.gone.get(name) is not DenialCode.DELISTED:
                self.gone[name] = code

    def follow_status(self, status: TradingStatus) -> None:
        """Remember whether an instrument is halted; its venue refuses orders, not we."""
        if status.is_halted:
            self.halted[status.instrument] = status
        else:
            self.halted.pop(status.instrument, None)
