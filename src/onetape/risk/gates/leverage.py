"""Gate: the highest leverage of a strategy."""

from __future__ import annotations

from onetape.domain.orders import DenialCode
from onetape.risk.gates.gross_exposure import GrossExposureGate


class LeverageGate(GrossExposureGate):
    """Refuses an order after which gross notional could be more than so many times equity.

    The comparison of gross exposure, told as leverage. Reducing orders pass.

    Args:
        limit: Largest multiple of the strategy's equity, 1e-8.
    """

    __slots__ = ()

    code = DenialCode.LEVERAGE
