"""The only mint of approvals: an order reaches a venue as `RiskApproved` or not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec

from onetape.domain.errors import InvariantBroken
from onetape.domain.events import OrderDenied
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.orders import OrderIntent, QuantityBasis, Side
from onetape.risk.account import AccountRisk
from onetape.risk.gate_row import build_gate_row
from onetape.risk.gates.gate import Gate, GateCheck, prepare_checks
from onetape.risk.gates.order_rate import OrderRate, OrderRateGate
from onetape.risk.input import RiskInput, apply_worst_case
from onetape.risk.shrinking import Shrinking

_MINT = object()
_force_setattr = msgspec.structs.force_setattr


class RiskApproved(msgspec.Struct, frozen=True, gc=False):
    """An order that passed every gate. Only `RiskEngine.check` can make one.

    `lots` is the quantity that was checked, an estimate where the venue sizes at the fill. `mint`
    is the key of this module at construction and None ever after, so an approval can't be copied
    into another one.

    Raises:
        InvariantBroken: Anything else tried to make one.
    """

    mint: object
    intent: OrderIntent
    lots: int
    side: Side
    client_order_id: str

    def __post_init__(self) -> None:
        if self.mint is not _MINT:
            raise InvariantBroken(
                f"an approval of {self.client_order_id!r} was made outside the risk package",
                remedy="send the order through RiskEngine.check",
            )
        _force_setattr(self, "mint", None)


class RiskEngine:
    """Asks every gate in a fixed order; the first refusal stands.

    Args:
        gates: The gates in the order of asking, as `build_gates` makes them. A gate that keeps
            state (the order rate) comes last, so an order that is denied leaves none.
    """

    __slots__ = ("_checks", "gates")

    def __init__(self, gates: Sequence[Gate[Any]]) -> None:
        self.gates = tuple(gates)
        self._checks: dict[InstrumentId, tuple[GateCheck, ...]] = {}

    def save(self) -> list[OrderRate]:
        """What the gates that count have counted; they count on in there."""
        return [gate.save() for gate in self.gates if isinstance(gate, OrderRateGate)]

    def restore(self, states: Sequence[OrderRate]) -> None:
        """Go on where `states` were saved, by an engine of the same gates."""
        counting = [gate for gate in self.gates if isinstance(gate, OrderRateGate)]
        for gate, state in zip(counting, states, strict=True):
            gate.restore(state)

    def check(self, order: RiskInput) -> RiskApproved | OrderDenied:
        """The verdict on `order`; fills its worst-case fields."""
        refused = self._refuse(order)
        return self._approve(order) if refused is None else refused[0]

    def decide(
        self,
        order: RiskInput,
        account: AccountRisk | None,
        of_account: RiskInput,
        shrinking: Shrinking | None,
    ) -> RiskApproved | OrderDenied:
        """The verdict of the account's gates and then of these, after shrinking where that is on.

        An order that was shrunk is asked from the first gate again: what leaves has passed all.

        Args:
            order: The order as its strategy has it.
            account: The gates over all strategies, if there are any.
            of_account: The same order with the sums of the account.
            shrinking: What may shrink the order; None: nothing.
        """
        while True:
            asked = of_account
            refused = account.refuse(asked) if account is not None else None
            if refused is None:
                asked = order
                refused = self._refuse(asked)
            if refused is None:
                if account is not None:
                    account.count(order)
                return self._approve(order)
            denied, check = refused
            if shrinking is None or check is None or denied.code not in shrinking.codes:
                return denied
            lots = shrinking.leave(asked, check, denied)
            if not lots:
                return denied
            too_small = shrinking.refuse(lots)
            if too_small is not None:
                return too_small
            shrinking.resize(order, lots)
            shrinking.resize(of_account, lots)
            if order.intent.basis >= QuantityBasis.NOTIONAL_AT_FILL:  # its budget was for more
                order.intent = msgspec.structs.replace(
                    order.intent, basis=QuantityBasis.LOTS, amount=lots
                )

    def find_breach(
        self, order: RiskInput, account: AccountRisk | None, of_account: RiskInput
    ) -> OrderDenied | None:
        """The first limit that an order breaks which stands at its venue already; None: none.

        It left by no wish of ours, so no order rate counts it, and no pause is asked.
        """
        refused = account.refuse(of_account) if account is not None else None
        if refused is not None and refused[1] is not None:
            return refused[0]
        apply_worst_case(order)
        instrument = order.instrument
        for rule, limit, gate in self._checks.get(instrument.id) or self._prepare(instrument):
            if not isinstance(gate, OrderRateGate) and not rule(order, limit):
                return gate.deny(order, limit)
        return None

    def _approve(self, order: RiskInput) -> RiskApproved:
        side = Side.BUY if order.side_sign > 0 else Side.SELL
        return RiskApproved(_MINT, order.intent, order.lots, side, order.client_order_id)

    def _refuse(self, order: RiskInput) -> tuple[OrderDenied, GateCheck | None] | None:
        """The first refusal and its gate; fills the worst-case fields, and counts what passes."""
        apply_worst_case(order)
        instrument = order.instrument
        for check in self._checks.get(instrument.id) or self._prepare(instrument):
            rule, limit, gate = check
            if not rule(order, limit):
                return gate.deny(order, limit), check
        return None

    def row_for(self, instrument: Instrument) -> Callable[..., RiskApproved | None]:
        """`check` as one function of `ROW_FIELDS`, for orders of `instrument`: the quick way.

        It gives None instead of a refusal, and leaves no trace then: `check` tells why, also where
        the source of the rules is not at hand and a row refuses everything.
        """
        gates = [(check, limit) for check, limit, _ in self._prepare(instrument)]
        try:
            return build_gate_row(gates, partial(RiskApproved, _MINT))
        except OSError:
            return _refuse

    def _prepare(self, instrument: Instrument) -> tuple[GateCheck, ...]:
        checks = self._checks[instrument.id] = prepare_checks(self.gates, instrument)
        return checks


def _refuse(*_: object) -> None:
    """The row of an installation without source files."""
