"""Gate: the day from which an instrument is listed."""

from __future__ import annotations

from onetape.domain.events import OrderDenied
from onetape.domain.instrument import Instrument
from onetape.domain.orders import DenialCode
from onetape.domain.rules import rule
from onetape.risk.gates.gate import deny_moment
from onetape.risk.input import RiskInput


@rule
def check_listing(order: RiskInput, ts_listed: int) -> bool:
    """Whether the order comes at `ts_listed` (ns UTC) at the earliest. Ours."""
    return order.ts >= ts_listed


class ListingGate:
    """Refuses every order of an instrument before its `ts_listed`.

    An instrument without one is never refused. Time is engine time.
    """

    __slots__ = ()

    code = DenialCode.NOT_LISTED
    check = staticmethod(check_listing)

    def limit_for(self, instrument: Instrument) -> int | None:
        """When it is listed, ns UTC; None where nobody said."""
        return instrument.ts_listed

    def deny(self, order: RiskInput, limit: int) -> OrderDenied:
        """The time of the order against that of the listing."""
        return deny_moment(order, self.code, limit)
