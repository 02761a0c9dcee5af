"""Prices weighted by volume, and volume counted by the direction of the price."""

from __future__ import annotations

import math

from onetape.domain.errors import StrategyError
from onetape.domain.rules import rule
from onetape.features.average import Ema
from onetape.features.estimator import Estimator, Expression, State, Window
from onetape.features.sums import TotalState, update_total

NAN = math.nan
INFINITY = math.inf


class FlowState(State):
    """State of two sums over a window, in blocks of `window` as in `SmaState`.

    `firsts` and `seconds` hold suffix sums from `at` on, this block's values before.
    """

    window: int
    firsts: list[float]
    seconds: list[float]
    at: int = 0
    prefix_first: float = 0.0
    prefix_second: float = 0.0
    first: float = NAN


@rule
def update_flow(state: FlowState, first: float, second: float) -> float:
    """Move both sums by one value; the second. The first is `state.first`."""
    firsts = state.firsts
    seconds = state.seconds
    at = state.at
    firsts[at] = first
    seconds[at] = second
    at += 1
    first += state.prefix_first
    second += state.prefix_second
    if at < state.window:
        state.at = at
        state.prefix_first = first
        state.prefix_second = second
        state.first = firsts[at] + first
        return seconds[at] + second
    state.at = 0
    state.prefix_first = 0.0
    state.prefix_second = 0.0
    state.first = first
    suffix_first = 0.0
    suffix_second = 0.0
    while at > 0:
        at -= 1
        suffix_first += firsts[at]
        suffix_second += seconds[at]
        firsts[at] = suffix_first
        seconds[at] = suffix_second
    return second


@rule
def update_vwap(state: FlowState, high: float, low: float, close: float, volume: float) -> float:
    """Typical prices of the last `window` bars, weighted by volume."""
    total = update_flow(state, (high + low + close) / 3.0 * volume, volume)
    return state.first / total if total > 0.0 else NAN


class Vwap(Estimator, frozen=True):
    """Volume-weighted average of (high + low + close) / 3 over `window` bars, in its unit.

    The classical definition on bars; a venue's own figure counts trades.

    NaN policy: a NaN or infinite input gives NaN until it has left the window; so does no volume.
    """

    window: Window

    update = staticmethod(update_vwap)

    @property
    def warm_up(self) -> int:
        """`window`."""
        return self.window

    def start_state(self) -> FlowState:
        """A block before of NaN."""
        return FlowState(
            window=self.window, firsts=[NAN] * self.window, seconds=[NAN] * self.window
        )


class SessionVwapState(State):
    """State of `SessionVwap`: the close of the session so far, and two sums over it."""

    session: float = NAN
    money: float = 0.0
    volume: float = 0.0


@rule
def update_session_vwap(
    state: SessionVwapState,
    high: float,
    low: float,
    close: float,
    volume: float,
    session_close: float,
) -> float:
    """Typical prices of the session so far, weighted by volume."""
    if session_close != state.session:
        state.session = session_close
        state.money = 0.0
        state.volume = 0.0
    money = (high + low + close) / 3.0 * volume
    if money - money != 0.0 or volume - volume != 0.0:  # NaN or infinite: the difference is NaN
        return NAN
    state.money += money
    state.volume += volume
    return state.money / state.volume if state.volume > 0.0 else NAN


class SessionVwap(Estimator, frozen=True):
    """Volume-weighted average of (high + low + close) / 3 since the session opened, in its unit.

    A session is what has one `session_close`. That column is int64 nanoseconds, read as float64:
    closes that are 512 ns or more apart stay different, equal ones equal. Bars of a day or more are
    sessions of one bar.

    NaN policy: a bar with a NaN or infinite input gives NaN and is skipped; no volume yet gives
    NaN.
    """

    update = staticmethod(update_session_vwap)

    @property
    def warm_up(self) -> int:
        """1."""
        return 1

    def start_state(self) -> SessionVwapState:
        """No session yet."""
        return SessionVwapState()


class ObvState(TotalState):
    """State of `Obv`: the last good close, and the volume so far."""

    previous: float = NAN


@rule
def update_obv(state: ObvState, close: float, volume: float) -> float:
    """Volume so far: added when the close rises, taken away when it falls."""
    total = close + volume
    if total - total != 0.0:  # one is NaN or infinite: the difference is NaN
        return NAN
    change = close - state.previous
    state.previous = close
    if change > 0.0:
        return update_total(state, volume)
    if change < 0.0:
        return update_total(state, -volume)
    return state.total + state.lost


class Obv(Estimator, frozen=True):
    """On-balance volume: volume of bars that close higher minus that of bars that close lower.

    Granville (1963), "New Key to Stock Market Profits". Counted from 0 at the first bar (TA-Lib
    begins at its volume), so only changes mean anything.

    NaN policy: a bar with a NaN or infinite input gives NaN and is skipped.
    """

    update = staticmethod(update_obv)

    @property
    def warm_up(self) -> int:
        """1."""
        return 1

    def start_state(self) -> ObvState:
        """Nothing counted."""
        return ObvState()


@rule
def update_accumulation(
    state: TotalState, high: float, low: float, close: float, volume: float
) -> float:
    """Volume so far, each bar's by where it closes: whole at the high, negative at the low."""
    total = high + low + close + volume
    if total - total != 0.0:  # one is NaN or infinite: the difference is NaN
        return NAN
    span = high - low
    flow = ((close - low) - (high - close)) / span * volume if span > 0.0 else 0.0
    if flow - flow != 0.0:
        return NAN
    return update_total(state, flow)


class AccumulationDistribution(Estimator, frozen=True):
    """Accumulation/distribution line of Chaikin, in the unit of the volume.

    Each bar adds volume * ((close - low) - (high - close)) / (high - low), one without a range
    nothing. Counted from the first bar on, as in TA-Lib (AD), so only changes mean anything.

    NaN policy: a bar with a NaN or infinite input gives NaN and is skipped.
    """

    update = staticmethod(update_accumulation)

    @property
    def warm_up(self) -> int:
        """1."""
        return 1

    def start_state(self) -> TotalState:
        """Nothing counted."""
        return TotalState()


class ChaikinOscillator(Expression, frozen=True):
    """Fast minus slow exponential average of the accumulation/distribution line, in its unit.

    Chaikin's definition. Each average is seeded with the simple mean of its first values, TA-Lib's
    (ADOSC) with the first one, so its first values differ.

    NaN policy: a bar with a NaN or infinite input gives NaN and is skipped.

    Raises:
        StrategyError: `fast` is not below `slow`.
    """

    fast: Window = 3
    slow: Window = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fast >= self.slow:
            raise StrategyError(
                f"fast {self.fast} is not below slow {self.slow}",
                where="ChaikinOscillator",
                remedy="give fast fewer bars than slow",
            )

    def build(self) -> Estimator:
        """The difference of two averages of the line."""
        line = AccumulationDistribution()
        return Ema(self.fast).of(line) - Ema(self.slow).of(line)


class MfiState(FlowState):
    """State of `Mfi`: money of rising (first) and falling bars, and the last typical price."""

    previous: float = NAN


@rule
def update_mfi(state: MfiState, high: float, low: float, close: float, volume: float) -> float:
    """Money of bars with a higher typical price, in percent of that and of those with a lower."""
    price = (high + low + close) / 3.0
    change = price - state.previous
    state.previous = price
    money = price * volume
    if change == 0.0 and volume - volume == 0.0:
        falls = update_flow(state, 0.0, 0.0)
    elif change > 0.0:
        falls = update_flow(state, money, 0.0)
    elif change < 0.0:
        falls = update_flow(state, 0.0, money)
    else:
        falls = update_flow(state, NAN, NAN)
    total = state.first + falls
    if 0.0 < total < INFINITY:
        return 100.0 * (state.first / total)
    return 50.0 if total == 0.0 else NAN


class Mfi(Estimator, frozen=True):
    """Money flow index, 0 to 100: money of rising bars in percent of rising and falling ones.

    Quong and Soudack (1989), "Volume-Weighted RSI: Money Flow", Stocks & Commodities. Money is
    (high + low + close) / 3 * volume; the sums are over the last `window` changes. Where none moved
    it is 50 (ours; TA-Lib says 0).

    NaN policy: a NaN or infinite input gives NaN until no change from or to its bar is in the
    window.
    """

    window: Window = 14

    update = staticmethod(update_mfi)

    @property
    def warm_up(self) -> int:
        """`window + 1`: the first bar has no change."""
        return self.window + 1

    def start_state(self) -> MfiState:
        """A block before of NaN."""
        return MfiState(window=self.window, firsts=[NAN] * self.window, seconds=[NAN] * self.window)
