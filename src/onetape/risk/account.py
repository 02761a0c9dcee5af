"""The gates of the account: asked before those of a strategy, counting after them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from onetape.domain.events import OrderDenied
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.risk.gates.gate import Gate, GateCheck, prepare_checks
from onetape.risk.gates.order_rate import OrderRate, OrderRateGate, has_order_room
from onetape.risk.input import RiskInput, apply_worst_case


class AccountRisk:
    """Asks the gates over the sum of the strategies.

    The order rate counts approved orders only, and an order that passes here may still be refused
    by its strategy's own gates: so it is only looked at first, and counted by `count` at the end.

    Args:
        gates: The gates in the order of asking, as `build_account_gates` makes them.
    """

    __slots__ = ("_checks", "_gates", "_rate")

    def __init__(self, gates: Sequence[Gate[Any]]) -> None:
        self._rate = next((each for each in gates if isinstance(each, OrderRateGate)), None)
        self._gates = tuple(each for each in gates if each is not self._rate)
        self._checks: dict[InstrumentId, tuple[GateCheck, ...]] = {}

    def save(self) -> OrderRate | None:
        """What the order rate has counted; it counts on in there. None without that limit."""
        return self._rate.save() if self._rate is not None else None

    def restore(self, state: OrderRate | None) -> None:
        """Go on where `state` was saved, by the same gates."""
        if self._rate is not None and state is not None:
            self._rate.restore(state)

    def refuse(self, order: RiskInput) -> tuple[OrderDenied, GateCheck | None] | None:
        """The first refusal and its gate (None: the order rate, which no smaller order passes).

        `order` has the sums of the account in its equity and in its other exposures.
        """
        apply_worst_case(order)
        for check in self._checks.get(order.instrument.id) or self._prepare(order.instrument):
            rule, limit, gate = check
            if not rule(order, limit):
                return gate.deny(order, limit), check
        if self._rate is not None and not has_order_room(order.ts, self._rate.save()):
            return self._rate.deny(order, self._rate.save()), None
        return None

    def count(self, order: RiskInput) -> None:
        """`order` has passed every gate and leaves."""
        if self._rate is not None:
            self._rate.check(order, self._rate.save())

    def _prepare(self, instrument: Instrument) -> tuple[GateCheck, ...]:
        checks = self._checks[instrument.id] = prepare_checks(self._gates, instrument)
        return checks
