"""Runs strategies over a timeline in memory, with the real session and the real tape format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from onetape.domain.events import (
    Event,
    KillSwitchSet,
    OrderDenied,
    OrderFilled,
    StrategyQuarantined,
)
from onetape.domain.instrument import InstrumentId
from onetape.domain.legs import make_legs, spread_to_legs
from onetape.domain.margin import MarginAgreement
from onetape.domain.numbers import to_minor
from onetape.execution.gateway import Capabilities
from onetape.execution.simulated.bar_matching import LIMIT_TRADED_THROUGH
from onetape.execution.simulated.fees import FeeModel, NoFees, build_fee_schedule
from onetape.execution.simulated.fill_terms import FillTerms
from onetape.execution.simulated.latency import LatencyModel, build_latency
from onetape.execution.simulated.routes import RouteTerms
from onetape.execution.simulated.slippage import NoSlippage, SlippageModel, build_slippage
from onetape.execution.simulated.terms import VenueTerms
from onetape.marketdata.timeline import Timeline
from onetape.portfolio.ledger import Ledger
from onetape.risk.limits import RiskLimits
from onetape.runtime.sessions.backtest import BacktestSession, SessionIdentity, StrategySpec
from onetape.strategy.guard import watching
from onetape.strategy.sdk import Strategy
from onetape.tape.reader import MemoryTapeReader
from onetape.tape.store import MemoryTape


@dataclass(frozen=True)
class SessionRun:
    """A finished session and everything on its tape."""

    session: BacktestSession
    events: list[Event]
    digest: str

    def of_type(self, *types: type[Any]) -> list[Any]:
        """Payloads of these types, in order."""
        return [each.payload for each in self.events if isinstance(each.payload, types)]

    @property
    def quarantined(self) -> list[StrategyQuarantined]:
        return self.of_type(StrategyQuarantined)

    @property
    def fills(self) -> list[OrderFilled]:
        return self.of_type(OrderFilled)

    @property
    def denied(self) -> list[OrderDenied]:
        return self.of_type(OrderDenied)

    def ledger(self, strategy: str = "s0") -> Ledger:
        return self.session.runners[strategy].ledger

    def equity(self, strategy: str = "s0") -> int:
        """Final equity in minor units."""
        valuation = self.session.runners[strategy].valuation
        valuation.refresh()
        return valuation.equity


def make_terms(
    timeline: Timeline,
    *,
    fees: FeeModel | None = None,
    slippage: SlippageModel | None = None,
    latency: LatencyModel | None = None,
    limit_reach: float = LIMIT_TRADED_THROUGH,
    max_volume_ratio: float | None = None,
    seed: int = 0,
    routes: RouteTerms | None = None,
    limit_slippage: bool = False,
    fill: FillTerms | None = None,
    margin: MarginAgreement | None = None,
    holds_in_halts: bool = False,
    capabilities: Capabilities | None = None,
    has_legs: bool = False,
    marks_closing_side: bool = False,
) -> VenueTerms:
    """Venue terms; by default everything is free, at once and unbounded."""
    model = fees or NoFees()
    legs = make_legs(timeline.instruments) if has_legs else ()
    schedules = {each.id: build_fee_schedule(model, each) for each in timeline.instruments}
    fills = {} if fill is None else {each.id: fill for each in timeline.instruments}
    if margin is not None:
        margin = msgspec.structs.replace(margin, schedules=spread_to_legs(margin.schedules, legs))
    return VenueTerms(
        fees=spread_to_legs(schedules, legs),
        slippage=build_slippage(slippage or NoSlippage()),
        latency=build_latency(latency or LatencyModel(), seed),
        limit_reach=limit_reach,
        max_volume_ratio=max_volume_ratio,
        routes=routes,
        limit_slippage=limit_slippage,
        fills=spread_to_legs(fills, legs) if fills else {},
        margin=margin,
        holds_in_halts=holds_in_halts,
        capabilities=capabilities,
        has_legs=has_legs,
        marks_closing_side=marks_closing_side,
    )


def run_session(
    timeline: Timeline,
    *strategies: Strategy,
    capital: float = 100_000,
    currency: str = "USD",
    limits: RiskLimits | None = None,
    instruments: Sequence[tuple[InstrumentId, ...] | None] = (),
    terms: VenueTerms | None = None,
    controls: Sequence[tuple[int, KillSwitchSet]] = (),
    **models: Any,
) -> SessionRun:
    """Run `strategies` (named s0, s1, ...) with `capital` each; `models` go to `make_terms`."""
    specs = [
        StrategySpec(
            name=f"s{number}",
            strategy=strategy,
            capital=to_minor(capital, "capital"),
            currency=currency,
            instruments=instruments[number] if instruments else None,
        )
        for number, strategy in enumerate(strategies)
    ]
    tape = MemoryTape()
    session = BacktestSession(
        timeline,
        specs,
        terms or make_terms(timeline, **models),
        limits or RiskLimits(max_leverage=4),
        tape,
        SessionIdentity(),
    )
    with watching([type(each) for each in strategies]):
        session.run(controls=controls)
    tape.close()
    return SessionRun(session, list(MemoryTapeReader(tape).events()), tape.digest)
