"""One state for all instruments: what the second one's feature knows is all of the first one."""

from __future__ import annotations

from onetape.domain.market import Bar
from onetape.domain.rules import rule
from onetape.features import Estimator, FeatureMap, State
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy


class PeakState(State):
    peak: float = 0.0


START = PeakState()


@rule
def update_peak(state: PeakState, close: float) -> float:
    """The highest close so far."""
    state.peak = max(state.peak, close)
    return state.peak


class Peak(Estimator, frozen=True):
    """The highest close so far. A NaN is skipped."""

    update = staticmethod(update_peak)

    @property
    def warm_up(self) -> int:
        return 1

    def start_state(self) -> PeakState:
        return START


class SharedState(Strategy):
    def features(self) -> FeatureMap:
        return {"peak": Peak()}

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        held = ctx.position(bar.instrument)
        if held == 0 and bar.close >= ctx.features.peak:
            ctx.buy(bar.instrument, 1)
