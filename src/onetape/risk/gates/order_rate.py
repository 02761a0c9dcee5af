"""Gate: the highest rate of orders."""

from __future__ import annotations

import msgspec

from onetape.domain.events import OrderDenied
from onetape.domain.instrument import Instrument
from onetape.domain.orders import DenialCode
from onetape.domain.rules import rule
from onetape.domain.timestamps import NS_PER_SECOND
from onetape.risk.gates.gate import make_denial
from onetape.risk.input import RiskInput

_LONG_AGO = -(2**62)


class OrderRate(msgspec.Struct):
    """Times (ns) of the last `max_orders` approved orders: a ring, its oldest at `oldest`."""

    max_orders: int
    window_ns: int
    times: list[int]
    oldest: int = 0


@rule
def has_order_room(ts: int, rate: OrderRate) -> bool:
    """Whether `check_order_rate` would pass an order at `ts`; counts nothing. Ours."""
    return ts - rate.times[rate.oldest] >= rate.window_ns


@rule
def check_order_rate(order: RiskInput, rate: OrderRate) -> bool:
    """Whether no window holds more than `max_orders` with this order; counts it if so. Ours."""
    ts = order.ts
    oldest = rate.oldest
    if ts - rate.times[oldest] < rate.window_ns:
        return False
    rate.times[oldest] = ts
    rate.oldest = (oldest + 1) % rate.max_orders
    return True


class OrderRateGate:
    """Refuses an order, reducing or not, when too many were approved in the window before it.

    Comes last and counts what passes: approved orders only. Time is engine time.

    Args:
        max_orders: Orders in any window, 1 at least.
        window_ns: Length of the window.
    """

    __slots__ = ("_rate",)

    code = DenialCode.ORDER_RATE
    check = staticmethod(check_order_rate)

    def __init__(self, max_orders: int, window_ns: int) -> None:
        self._rate = OrderRate(max_orders, window_ns, [_LONG_AGO] * max_orders)

    def save(self) -> OrderRate:
        """What it has counted; it counts on in there."""
        return self._rate

    def restore(self, state: OrderRate) -> None:
        """Go on where `state` was saved."""
        self._rate.times[:] = state.times
        self._rate.oldest = state.oldest

    def limit_for(self, instrument: Instrument) -> OrderRate:
        """One count for all instruments."""
        return self._rate

    def deny(self, order: RiskInput, limit: OrderRate) -> OrderDenied:
        """The orders that the window would hold against the limit."""
        unit = f"orders per {limit.window_ns / NS_PER_SECOND:g} s"
        return make_denial(order, self.code, limit.max_orders + 1, limit.max_orders, unit)
