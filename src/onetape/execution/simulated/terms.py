"""What a session agrees with the simulated venue: fees, slippage, latency, how limits fill."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from onetape.domain.instrument import InstrumentId
from onetape.execution.simulated.fee_rules import FeeSchedule
from onetape.execution.simulated.latency import LatencyTerms
from onetape.execution.simulated.routes import RouteTerms
from onetape.execution.simulated.slippage import SlippageTerms


class VenueTerms(msgspec.Struct, frozen=True, kw_only=True):
    """How this venue fills and what it charges.

    `limit_reach` is `LIMIT_TOUCHED` or `LIMIT_TRADED_THROUGH`; `max_volume_ratio` the share of a
    bar's volume that all orders together may fill, None without a bound. `routes` are delays that
    go by the order; where they are given, `latency` is not used. Under `limit_slippage` a limit
    order that takes slips too, at most up to its limit.
    """

    fees: Mapping[InstrumentId, FeeSchedule]
    slippage: SlippageTerms
    latency: LatencyTerms
    limit_reach: float
    max_volume_ratio: float | None = None
    routes: RouteTerms | None = None
    limit_slippage: bool = False
