"""Features of quotes and trades: spread, imbalance, order flow.

They read the columns of a timeline of quotes, with the trade prints between them, where the best
bid and ask stand on every row. A side that is empty has a size of 0.
"""

from __future__ import annotations

import math
from typing import Literal

from onetape.domain.rules import rule
from onetape.features.estimator import Estimator, State, Window
from onetape.features.sums import SumState, update_sum
from onetape.features.volume import FlowState, update_flow

NAN = math.nan
INFINITY = math.inf


class SpreadState(State):
    """State of `QuotedSpread`: nothing but its unit."""

    in_bps: int


@rule
def update_spread(state: SpreadState, bid: float, ask: float) -> float:
    """Ask less bid; NaN where one is missing."""
    if not (bid > 0.0 and ask > 0.0) or abs(bid) == INFINITY or abs(ask) == INFINITY:
        return NAN
    if state.in_bps == 1:
        return (ask - bid) / (0.5 * (ask + bid)) * 10_000.0
    return ask - bid


class QuotedSpread(Estimator, frozen=True):
    """Best ask less best bid, in basis points of the middle (`output` `"bps"`) or as a price.

    NaN policy: NaN where a side is empty, not finite or not positive.
    """

    output: Literal["bps", "price"] = "bps"

    update = staticmethod(update_spread)

    @property
    def warm_up(self) -> int:
        """1."""
        return 1

    def start_state(self) -> SpreadState:
        """The unit."""
        return SpreadState(in_bps=int(self.output == "bps"))


class SizesState(State):
    """State of features that remember nothing."""

    unused: int = 0


@rule
def update_imbalance(
    state: SizesState,  # noqa: ARG001
    bid_size: float,
    ask_size: float,
) -> float:
    """The share of the sizes that stands at the bid, less that at the ask."""
    total = bid_size + ask_size
    if not total > 0.0 or abs(total) == INFINITY or min(bid_size, ask_size) < 0.0:
        return NAN
    return (bid_size - ask_size) / total


class QuoteImbalance(Estimator, frozen=True):
    """Size at the best bid less that at the best ask, as a share of both: -1 to 1.

    Cao, Hansch, Wang (2009), "The Information Content of an Open Limit-Order Book".

    NaN policy: NaN where both sides are empty, or a size is negative or not finite.
    """

    update = staticmethod(update_imbalance)

    @property
    def warm_up(self) -> int:
        """1."""
        return 1

    def start_state(self) -> SizesState:
        """Nothing."""
        return SizesState()


@rule
def update_micro_price(
    state: SizesState,  # noqa: ARG001
    bid: float,
    ask: float,
    bid_size: float,
    ask_size: float,
) -> float:
    """The middle, drawn to the side with the smaller size."""
    total = bid_size + ask_size
    if (
        not (bid > 0.0 and ask > 0.0 and bid_size > 0.0 and ask_size > 0.0)
        or abs(total) == INFINITY
    ):
        return NAN
    if abs(bid) == INFINITY or abs(ask) == INFINITY:
        return NAN
    return bid + (ask - bid) * (bid_size / total)


class MicroPrice(Estimator, frozen=True):
    """Best bid and ask weighted by the size of the other side, in the unit of the price.

    Gatheral, Oomen (2010), "Zero-Intelligence Realized Variance Estimation".

    NaN policy: NaN where a side is empty, or a price or size is not finite.
    """

    update = staticmethod(update_micro_price)

    @property
    def warm_up(self) -> int:
        """1."""
        return 1

    def start_state(self) -> SizesState:
        """Nothing."""
        return SizesState()


class OrderFlowState(SumState, kw_only=True):
    """State of `OrderFlow`: the sum, and the quote before."""

    bid: float = NAN
    ask: float = NAN
    bid_size: float = NAN
    ask_size: float = NAN


@rule
def update_order_flow(
    state: OrderFlowState, bid: float, ask: float, bid_size: float, ask_size: float
) -> float:
    """What came to the bid less what came to the ask, over a window."""
    if ask_size == 0.0:
        ask = INFINITY  # nobody sells at any price
    flow = NAN
    if not math.isnan(bid + ask + bid_size + ask_size + state.bid + state.ask):
        flow = 0.0
        if bid >= state.bid:
            flow += bid_size
        if bid <= state.bid:
            flow -= state.bid_size
        if ask <= state.ask:
            flow -= ask_size
        if ask >= state.ask:
            flow += state.ask_size
    state.bid = bid
    state.ask = ask
    state.bid_size = bid_size
    state.ask_size = ask_size
    if abs(flow) == INFINITY:
        flow = NAN
    return update_sum(state, flow)


class OrderFlow(Estimator, frozen=True):
    """Order flow imbalance of the last `window` rows, in units: what came to the bid less the ask.

    Sum of the changes of size at the best bid, less those at the best ask; a better price counts
    with its whole size, one that has gone with the whole size that stood there. Cont, Kukanov,
    Stoikov (2014), "The Price Impact of Order Book Events", equation 4. Rows of prints change no
    quote and count 0.

    NaN policy: a NaN or infinite price or size gives NaN until it has left the window.
    """

    window: Window

    update = staticmethod(update_order_flow)

    @property
    def warm_up(self) -> int:
        """`window + 1`: the first row changes nothing."""
        return self.window + 1

    def start_state(self) -> OrderFlowState:
        """No quote yet."""
        return OrderFlowState(window=self.window, ring=[NAN] * self.window)


@rule
def update_trade_flow(state: FlowState, aggressor: float, volume: float) -> float:
    """Volume of buyers less that of sellers as a share of all, over a window."""
    signed = 0.0
    if aggressor > 0.0:
        signed = volume
    elif aggressor < 0.0:
        signed = -volume
    size = volume
    if abs(volume) == INFINITY or math.isnan(volume) or volume < 0.0 or math.isnan(aggressor):
        signed = NAN
        size = NAN
    total = update_flow(state, signed, size)
    if not total > 0.0:
        return NAN
    return state.first / total


class TradeFlow(Estimator, frozen=True):
    """Volume that buyers took less that sellers took, as a share of that of `window` rows: -1 to 1.

    The side of a print is its `aggressor`; one of no known side counts in the whole only. In a
    timeline of quotes that column is `side`, so there it is `TradeFlow(50, inputs=("side",
    "volume"))`, and rows of quotes have no volume. Chordia, Roll, Subrahmanyam (2002), "Order
    Imbalance, Liquidity, and Market Returns".

    NaN policy: a NaN, infinite or negative volume gives NaN until it has left the window; NaN where
    the window has no volume.
    """

    window: Window

    update = staticmethod(update_trade_flow)

    @property
    def warm_up(self) -> int:
        """`window`."""
        return self.window

    def start_state(self) -> FlowState:
        """No print yet."""
        return FlowState(
            window=self.window, firsts=[NAN] * self.window, seconds=[NAN] * self.window
        )
