"""Runs a session in memory: a strategy on a timeline, its events, its final equity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from onetape.domain.events import Payload, StrategyQuarantined
from onetape.domain.numbers import to_minor
from onetape.execution.simulated.bar_matching import LIMIT_TRADED_THROUGH
from onetape.execution.simulated.fees import FeeModel, NoFees, build_fee_schedule
from onetape.execution.simulated.latency import LatencyTerms
from onetape.execution.simulated.slippage import SlippageTerms
from onetape.execution.simulated.venue import VenueTerms
from onetape.marketdata.timeline import Timeline
from onetape.risk.limits import RiskLimits
from onetape.runtime.sessions.backtest import BacktestSession, SessionIdentity, StrategySpec
from onetape.strategy.guard import watching
from onetape.strategy.sdk import Strategy


@dataclass
class MemoryTape:
    """A tape that is a list of payloads."""

    payloads: list[Payload] = field(default_factory=list)

    def append(
        self, first_seq: int, ts: int, market_index: int, events: Sequence[tuple[Payload, int, int]]
    ) -> None:
        self.payloads += [payload for payload, _, _ in events]

    def commit(self) -> None:
        pass


@dataclass
class MemoryRun:
    """What is left of a session. `equity` in minor units at the last marks."""

    payloads: list[Payload]
    equity: int
    quarantined: list[StrategyQuarantined]


def run_in_memory(
    timeline: Timeline, strategy: Strategy, *, capital: Decimal, fees: FeeModel | None = None
) -> MemoryRun:
    """One strategy, market orders at the next open, no slippage, no latency, no limits."""
    terms = VenueTerms(
        fees={each.id: build_fee_schedule(fees or NoFees(), each) for each in timeline.instruments},
        slippage=SlippageTerms(),
        latency=LatencyTerms(),
        limit_reach=LIMIT_TRADED_THROUGH,
    )
    tape = MemoryTape()
    spec = StrategySpec(name="mine", strategy=strategy, capital=to_minor(capital, "capital"))
    session = BacktestSession(timeline, [spec], terms, RiskLimits(), tape, SessionIdentity())
    with watching([type(strategy)]):
        session.run()
    valuation = session.runners["mine"].valuation
    valuation.refresh()
    return MemoryRun(tape.payloads, valuation.equity, session.pipeline.quarantined)
