"""Averages whose weights differ: by age, or by how straight the price moves."""

from __future__ import annotations

import math

from onetape.domain.errors import StrategyError
from onetape.domain.rules import rule
from onetape.features.estimator import Estimator, State, Window

NAN = math.nan


class WmaState(State):
    """State of `Wma`, in blocks of `window` as in `SmaState`.

    `ring[:at]` holds this block's values, `ring[at:]` the weighted sums of the suffixes of the
    block before, the oldest value of each with weight 1.
    """

    window: int
    divisor: float
    ring: list[float]
    at: int = 0
    prefix: float = 0.0
    prefix_weighted: float = 0.0


@rule
def update_wma(state: WmaState, close: float) -> float:
    """Mean of the last `window` values, weighted 1 (the oldest) to `window`. Two-stack sum. Ours.

    The values of this block stand behind the suffix: their weights are those within the block plus
    the length of the suffix.
    """
    ring = state.ring
    at = state.at
    ring[at] = close
    at += 1
    prefix = state.prefix + close
    weighted = state.prefix_weighted + at * close
    if at < state.window:
        state.at = at
        state.prefix = prefix
        state.prefix_weighted = weighted
        return (ring[at] + weighted + (state.window - at) * prefix) / state.divisor
    state.at = 0
    state.prefix = 0.0
    state.prefix_weighted = 0.0
    suffix = 0.0
    suffix_weighted = 0.0
    while at > 0:
        at -= 1
        suffix += ring[at]
        suffix_weighted += suffix
        ring[at] = suffix_weighted
    return weighted / state.divisor


class Wma(Estimator, frozen=True):
    """Weighted moving average: weights fall linearly from `window` (this bar) to 1.

    In the unit of its input. The classical definition; equal to TA-Lib's WMA.

    NaN policy: a NaN or infinite input gives NaN (or infinity) until it has left the window.
    """

    window: Window

    update = staticmethod(update_wma)

    @property
    def warm_up(self) -> int:
        """`window`."""
        return self.window

    def start_state(self) -> WmaState:
        """A block before of NaN."""
        divisor = self.window * (self.window + 1) / 2
        return WmaState(window=self.window, divisor=divisor, ring=[NAN] * self.window)


class KamaState(State):
    """State of `Kama`.

    `paths` is a two-stack sum (as in `SmaState`) of the moves' sizes, `starts` has the value that
    each of the last `window` moves began at. `slow` and `fast` are weights.
    """

    window: int
    slow: float
    fast: float
    paths: list[float]
    starts: list[float]
    at: int = 0
    prefix: float = 0.0
    previous: float = NAN
    average: float = NAN


@rule
def update_kama(state: KamaState, close: float) -> float:
    """Move the average by a weight that grows with distance covered / path walked."""
    if close - close != 0.0:  # NaN or infinite: the difference is NaN
        return NAN
    previous = state.previous
    state.previous = close
    if math.isnan(previous):
        return NAN
    paths = state.paths
    starts = state.starts
    at = state.at
    path = abs(close - previous)
    paths[at] = path
    starts[at] = previous
    at += 1
    path += state.prefix
    if at < state.window:
        state.prefix = path
        path += paths[at]
        start = starts[at]
        state.at = at
    else:
        state.at = 0
        state.prefix = 0.0
        start = starts[0]
        suffix = 0.0
        while at > 0:
            at -= 1
            suffix += paths[at]
            paths[at] = suffix
    if math.isnan(path):
        return NAN
    distance = abs(close - start)
    efficiency = distance / path if path > distance else 1.0
    weight = state.slow + efficiency * (state.fast - state.slow)
    average = state.average
    if math.isnan(average):
        average = previous
    average += weight * weight * (close - average)
    state.average = average
    return average


class Kama(Estimator, frozen=True):
    """Kaufman's adaptive moving average, in the unit of its input.

    Kaufman (1995), "Smarter Trading": the weight is the square of a value between those of
    exponential averages over `slow` and `fast` bars, by the efficiency ratio of the last `window`
    moves. It begins at the value before its first bar, as in TA-Lib. A flat price counts as fully
    efficient, as in TA-Lib.

    NaN policy: a NaN or infinite input gives NaN at its bar and is skipped; the average is held.

    Raises:
        StrategyError: `fast` is not below `slow`.
    """

    window: Window = 10
    fast: Window = 2
    slow: Window = 30

    update = staticmethod(update_kama)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fast >= self.slow:
            raise StrategyError(
                f"fast {self.fast} is not below slow {self.slow}",
                where="Kama",
                remedy="give fast fewer bars than slow",
            )

    @property
    def warm_up(self) -> int:
        """`window + 1`: the first bar has no move."""
        return self.window + 1

    def start_state(self) -> KamaState:
        """No value yet."""
        nothing = [NAN] * self.window
        slow, fast = 2.0 / (self.slow + 1), 2.0 / (self.fast + 1)
        return KamaState(
            window=self.window, slow=slow, fast=fast, paths=nothing, starts=list(nothing)
        )
