"""Regimes as small whole numbers, with hysteresis: a regime is left later than it is entered."""

from __future__ import annotations

import math
from typing import Annotated

import msgspec

from onetape.domain.errors import StrategyError
from onetape.domain.rules import rule
from onetape.features.directional import AdxState, update_adx
from onetape.features.dispersion import SpreadWindow
from onetape.features.estimator import Estimator, Expression, State, Window
from onetape.features.volatility import RealizedVolatility

NAN = math.nan

Strength = Annotated[float, msgspec.Meta(ge=0, le=100)]
"""A value of the average directional index."""


class LevelState(State):
    """State of a level: it goes from k to k + 1 above `ups[k]`, and back below `downs[k]`."""

    count: int
    ups: list[float]
    downs: list[float]
    level: int = 0


@rule
def update_level(state: LevelState, close: float) -> float:
    """The level that a value is at, 0 to `count`."""
    if close - close != 0.0:  # NaN or infinite: the difference is NaN
        return NAN
    level = state.level
    while level < state.count and close > state.ups[level]:
        level += 1
    while level > 0 and close < state.downs[level - 1]:
        level -= 1
    state.level = level
    return float(level)


class Hysteresis(Estimator, frozen=True):
    """1 once its input has risen above `high`, 0 once it has fallen below `low`, held in between.

    0 until the first rise. `Hysteresis(30, 70).of(Rsi(14))`.

    NaN policy: a NaN or infinite input gives NaN at its bar and is skipped; the level is held.

    Raises:
        StrategyError: `low` is above `high`, or one is no finite number.
    """

    low: float
    high: float

    update = staticmethod(update_level)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_ascending("Hysteresis", (self.low, self.high))

    @property
    def warm_up(self) -> int:
        """1."""
        return 1

    def start_state(self) -> LevelState:
        """The lower level."""
        return LevelState(count=1, ups=[self.high], downs=[self.low])


class Levels(Estimator, frozen=True):
    """How many of the `edges` its input is above, 0 to their count, with hysteresis.

    A level is entered `margin` above its edge and left `margin` below it, in the unit of the input.
    Begins at the lowest.

    NaN policy: a NaN or infinite input gives NaN at its bar and is skipped; the level is held.

    Raises:
        StrategyError: There is no edge, or they do not ascend.
    """

    edges: tuple[float, ...]
    margin: Annotated[float, msgspec.Meta(ge=0, le=1e300)] = 0.0

    update = staticmethod(update_level)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_ascending("Levels", self.edges)

    @property
    def warm_up(self) -> int:
        """1."""
        return 1

    def start_state(self) -> LevelState:
        """The lowest level."""
        return LevelState(
            count=len(self.edges),
            ups=[each + self.margin for each in self.edges],
            downs=[each - self.margin for each in self.edges],
        )


def _check_ascending(where: str, edges: tuple[float, ...]) -> None:
    if not edges:
        raise StrategyError("has no edges", where=where, remedy="give one or more")
    if not all(map(math.isfinite, edges)) or sorted(edges) != list(edges):
        raise StrategyError(
            f"edges {', '.join(map(str, edges))} do not ascend",
            where=where,
            remedy="give finite numbers, the lowest first",
        )


class VolatilityRegime(Expression, frozen=True):
    """0 calm, 1 usual, 2 wild: recent volatility beside that of a longer time, with hysteresis.

    The ratio of `RealizedVolatility(window)` to `RealizedVolatility(baseline)`: calm below `calm`,
    wild above `wild`, each left `margin` beyond. Begins calm. Ours.

    NaN policy: a NaN gives NaN until it has left the longer window; the regime is held.

    Raises:
        StrategyError: `window` is not below `baseline`, or `calm` is above `wild`.
    """

    window: SpreadWindow = 20
    baseline: SpreadWindow = 250
    calm: float = 0.75
    wild: float = 1.5
    margin: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.window >= self.baseline:
            raise StrategyError(
                f"window {self.window} is not below baseline {self.baseline}",
                where="VolatilityRegime",
                remedy="give window fewer bars than baseline",
            )

    def build(self) -> Estimator:
        """The level of a ratio."""
        ratio = RealizedVolatility(self.window) / RealizedVolatility(self.baseline)
        return Levels((self.calm, self.wild), self.margin).of(ratio)


class TrendRegimeState(AdxState, kw_only=True):
    """State of `TrendRegime`: of the index, its two edges, and whether there is a trend (1)."""

    enter: float
    leave: float
    trending: int = 0


@rule
def update_trend_regime(state: TrendRegimeState, high: float, low: float, close: float) -> float:
    """1 in a trend up, -1 in a trend down, 0 in a range."""
    strength = update_adx(state, high, low, close)
    if math.isnan(strength):
        return NAN
    if strength > state.enter:
        state.trending = 1
    elif strength < state.leave:
        state.trending = 0
    if state.trending == 0:
        return 0.0
    return 1.0 if state.plus >= state.minus else -1.0


class TrendRegime(Estimator, frozen=True):
    """1 in a trend up, -1 in a trend down, 0 in a range, with hysteresis.

    A trend begins when the average directional index rises above `enter` and lasts until it falls
    below `leave`; its direction is that of the greater of +DI and -DI. Wilder (1978), "New Concepts
    in Technical Trading Systems", names 25 and 20. Begins as a range.

    NaN policy: a bar with a NaN or infinite input gives NaN and is skipped; the regime is held.

    Raises:
        StrategyError: `leave` is above `enter`.
    """

    window: Window = 14
    enter: Strength = 25.0
    leave: Strength = 20.0

    update = staticmethod(update_trend_regime)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_ascending("TrendRegime", (self.leave, self.enter))

    @property
    def warm_up(self) -> int:
        """`2 * window`, as `Adx`."""
        return 2 * self.window

    def start_state(self) -> TrendRegimeState:
        """A range, and no bar yet."""
        return TrendRegimeState(
            output=0,
            window=self.window,
            weight=1.0 / self.window,
            enter=self.enter,
            leave=self.leave,
        )
