"""Gate: the kill switch."""

from __future__ import annotations

from onetape.domain.events import OrderDenied
from onetape.domain.orders import DenialCode
from onetape.domain.rules import rule
from onetape.risk.gates.gate import UniformGate, deny_lots
from onetape.risk.input import RiskInput


@rule
def check_kill_switch(order: RiskInput, max_lots: int) -> bool:
    """Whether the switch is off, or the worst-case position after the order `max_lots` at most.

    With 0 lots only reducing orders pass while it is set. Ours.
    """
    return not order.kill_active or order.end_lots <= max_lots


class KillSwitchGate(UniformGate):
    """Refuses everything that is not reducing while the kill switch is set."""

    __slots__ = ()

    code = DenialCode.KILL_SWITCH
    check = staticmethod(check_kill_switch)

    def __init__(self) -> None:
        super().__init__(0)

    def deny(self, order: RiskInput, limit: int) -> OrderDenied:
        """The worst-case position against none at all, in units."""
        return deny_lots(order, self.code, order.end_lots, limit)
