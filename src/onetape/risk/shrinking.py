"""Leaves of an order what a gate allows, instead of refusing it."""

from __future__ import annotations

from collections.abc import Callable

from onetape.domain.events import OrderDenied, OrderShrunk
from onetape.domain.orders import DenialCode, QuantityBasis
from onetape.risk.gates.gate import GateCheck
from onetape.risk.input import RiskInput, apply_worst_case


class Shrinking:
    """What may shrink one order, and what has.

    Args:
        codes: Refusals that shrink instead.
        cost: Notional, fee, the margin needed then and `currency_needed` (minor units) of so many
            lots of the order.
        refuse: What the instrument itself says to so many lots: its smallest order.

    Attributes:
        steps: What each gate left, in order: for the tape.
    """

    __slots__ = ("_cost", "codes", "refuse", "steps")

    def __init__(
        self,
        codes: frozenset[DenialCode],
        cost: Callable[[int], tuple[int, int, int, int]],
        refuse: Callable[[int], OrderDenied | None],
    ) -> None:
        self.codes = codes
        self._cost = cost
        self.refuse = refuse
        self.steps: list[OrderShrunk] = []

    def leave(self, order: RiskInput, check: GateCheck, denied: OrderDenied) -> int:
        """The most lots that pass `check`, by the gate's own rule; 0: it is to be refused.

        A gate that passes some lots passes fewer too: nothing that the rules compare grows when an
        order gets smaller. So halving finds the largest. `order` is left as it came. One that was
        to be sized at its fill may keep its lots: as lots it can't cost more than they do.
        """
        rule, limit, _ = check
        asked = order.lots
        passing, failing = 0, asked + (order.intent.basis >= QuantityBasis.NOTIONAL_AT_FILL)
        while failing - passing > 1:
            lots = (passing + failing) // 2
            self.resize(order, lots)
            apply_worst_case(order)
            if rule(order, limit):
                passing = lots
            else:
                failing = lots
        self.resize(order, asked)
        if passing:
            self.note(denied, asked, passing)
        return passing

    def note(self, denied: OrderDenied, asked: int, lots: int) -> None:
        """A refusal that became a smaller order."""
        self.steps.append(
            OrderShrunk(
                denied.strategy, denied.intent, denied.instrument, denied.code, asked, lots,
                denied.actual, denied.limit, denied.unit,
            )
        )  # fmt: skip

    def resize(self, order: RiskInput, lots: int) -> None:
        """Make `order` one of `lots`. What the venue was to size at the fill is sized now."""
        order.lots = lots
        order.notional, order.fee, order.margin_needed, order.currency_needed = self._cost(lots)
