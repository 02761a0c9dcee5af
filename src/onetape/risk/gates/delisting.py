"""Gate: the day after which an instrument is no longer listed."""

from __future__ import annotations

from onetape.domain.events import OrderDenied
from onetape.domain.instrument import Instrument
from onetape.domain.orders import DenialCode
from onetape.domain.rules import rule
from onetape.risk.gates.gate import deny_moment
from onetape.risk.input import RiskInput


@rule
def check_delisting(order: RiskInput, ts_delisted: int) -> bool:
    """Whether the order comes at `ts_delisted` (ns UTC) at the latest. Ours."""
    return order.ts <= ts_delisted


class DelistingGate:
    """Refuses every order of an instrument after its `ts_delisted`, reducing or not.

    An instrument without one is never refused here. A corporate action that ends an instrument
    refuses its orders before any gate is asked, with the same code. Time is engine time.
    """

    __slots__ = ()

    code = DenialCode.DELISTED
    check = staticmethod(check_delisting)

    def limit_for(self, instrument: Instrument) -> int | None:
        """Its last moment on the list, ns UTC; None where nobody said."""
        return instrument.ts_delisted

    def deny(self, order: RiskInput, limit: int) -> OrderDenied:
        """The time of the order against that of the delisting."""
        return deny_moment(order, self.code, limit)
