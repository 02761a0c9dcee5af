"""Gate: instruments that may be traded."""

from __future__ import annotations

from collections.abc import Collection

from onetape.domain.events import OrderDenied
from onetape.domain.instrument import Instrument
from onetape.domain.legs import market_of
from onetape.domain.orders import DenialCode
from onetape.risk.gates.gate import deny_lots
from onetape.risk.gates.order_quantity import check_order_quantity
from onetape.risk.input import RiskInput


class InstrumentGate:
    """Refuses every order, reducing or not, in an instrument that is not to be traded.

    A restricted instrument means no trading at all; to wind a position down, lift the restriction.

    Args:
        allowed: Ids of the only instruments to trade, or None for all.
        forbidden: Ids never to trade, also where allowed.
    """

    __slots__ = ("_allowed", "_forbidden")

    code = DenialCode.NOT_ALLOWED
    check = staticmethod(check_order_quantity)

    def __init__(self, allowed: Collection[str] | None, forbidden: Collection[str]) -> None:
        self._allowed = allowed
        self._forbidden = forbidden

    def limit_for(self, instrument: Instrument) -> int | None:
        """No lots at all where trading is not allowed, no limit elsewhere."""
        name = market_of(instrument.id)
        is_allowed = self._allowed is None or name in self._allowed
        return None if is_allowed and name not in self._forbidden else 0

    def deny(self, order: RiskInput, limit: int) -> OrderDenied:
        """The order's quantity against none at all, in units."""
        return deny_lots(order, self.code, order.lots, limit)
