"""What a session agrees with the simulated venue: fees, slippage, latency, how limits fill."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from onetape.domain.instrument import InstrumentId
from onetape.domain.margin import MarginAgreement
from onetape.execution.gateway import Capabilities
from onetape.execution.simulated.carrying import CarryingTerms
from onetape.execution.simulated.fee_rules import FeeSchedule
from onetape.execution.simulated.fill_terms import FillTerms
from onetape.execution.simulated.latency import LatencyTerms
from onetape.execution.simulated.routes import RouteTerms
from onetape.execution.simulated.slippage import SlippageTerms


class Transfer(msgspec.Struct, frozen=True):
    """Capital (minor units) that goes from one strategy to another at `ts` (ns UTC)."""

    ts: int
    source: str
    target: str
    amount: int


class VenueTerms(msgspec.Struct, frozen=True, kw_only=True):
    """How this venue fills and what it charges.

    `limit_reach` is `LIMIT_TOUCHED` or `LIMIT_TRADED_THROUGH`; `max_volume_ratio` the share of a
    bar's volume that all orders together may fill, None without a bound. `fills` are the terms of
    instruments that have other fills than market orders at the next open, limits by `limit_reach`;
    `slippages` and `max_volume_ratios` those of instruments that have others than `slippage` and
    `max_volume_ratio`. `fee_groups` names instruments whose fees count the volume of a month apart
    from others': those of a group count theirs together, those without a name too.
    `carrying` is what holding costs, None when nothing; `conversion_e8` what converting foreign
    cash costs, as a share (1e-8), None where there is only one currency; under `holds_currencies`
    foreign cash stays until a strategy converts it, for `conversion_minimum` (minor units of the
    currency of the books) at the least. `transfers` are in the order of time. `margin` is what a
    broker asks; None: positions are paid for. `settlement_days` trading days from a sale to its
    cash, 0: at once. `routes` are delays that go by the order; where they are given, `latency` is
    not used. Under `limit_slippage` a limit order that takes slips too, at most up to its limit.
    Under `holds_in_halts` an order that comes while its instrument is halted waits until it trades
    again, instead of being rejected. `capabilities` are those of a venue that lacks what is
    emulated before it; None: it can everything. With `has_legs` the long and the short leg of an
    instrument are held side by side, and the maps have both. With `marks_closing_side` longs are
    marked at the bid and shorts at the ask.
    """

    fees: Mapping[InstrumentId, FeeSchedule]
    slippage: SlippageTerms
    latency: LatencyTerms
    limit_reach: float
    max_volume_ratio: float | None = None
    routes: RouteTerms | None = None
    limit_slippage: bool = False
    fills: Mapping[InstrumentId, FillTerms] = msgspec.field(default_factory=dict)
    carrying: CarryingTerms | None = None
    conversion_e8: int | None = None
    conversion_minimum: int = 0
    holds_currencies: bool = False
    transfers: tuple[Transfer, ...] = ()
    margin: MarginAgreement | None = None
    settlement_days: int = 0
    holds_in_halts: bool = False
    capabilities: Capabilities | None = None
    has_legs: bool = False
    marks_closing_side: bool = False
    slippages: Mapping[InstrumentId, SlippageTerms] = msgspec.field(default_factory=dict)
    max_volume_ratios: Mapping[InstrumentId, float | None] = msgspec.field(default_factory=dict)
    fee_groups: Mapping[InstrumentId, str] = msgspec.field(default_factory=dict)

    def fill_of(self, instrument: InstrumentId) -> FillTerms:
        """How orders of an instrument fill."""
        return self.fills.get(instrument) or FillTerms(limit_reach=self.limit_reach)

    def slippage_of(self, instrument: InstrumentId) -> SlippageTerms:
        """How far from the market's price orders of an instrument fill."""
        return self.slippages.get(instrument, self.slippage)

    def max_volume_ratio_of(self, instrument: InstrumentId) -> float | None:
        """The share of a bar's volume that orders of an instrument may fill; None: no bound."""
        return self.max_volume_ratios.get(instrument, self.max_volume_ratio)

    def month_of(self, strategy: str, instrument: InstrumentId) -> str:
        """Whose volume of a month the fees of an instrument go by."""
        group = self.fee_groups.get(instrument)
        return f"{strategy}/{group}" if group else strategy
