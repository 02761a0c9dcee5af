"""Which feature has which kernel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from onetape.features.average import Dema, Ema, Sma, Tema, WilderAverage
from onetape.features.bands import Bollinger
from onetape.features.channel import Donchian, FastStochastic, WilliamsR
from onetape.features.comovement import Beta, Correlation
from onetape.features.dispersion import RollingStd, RollingVariance, ZScore
from onetape.features.estimator import Combined, CombinedWithNumber
from onetape.features.extremes import RollingMax, RollingMin
from onetape.features.kernels import (
    arithmetic,
    extremes,
    lags,
    moments,
    pairs,
    smoothed,
    sums,
    totals,
)
from onetape.features.kernels.lanes import LANES
from onetape.features.kernels.memory import CHAIN_CHUNK, CHUNK, WIDE_CHUNK
from onetape.features.returns import Lag, Momentum, RateOfChange, SimpleReturn
from onetape.features.state import FloatColumn
from onetape.features.volume import AccumulationDistribution, ChaikinOscillator, Mfi, Obv, Vwap
from onetape.features.weighted import Kama, Wma
from onetape.features.wilder import Atr, TrueRange

Inputs = tuple[FloatColumn, ...]
Fill = Callable[[Any, Inputs, FloatColumn], bool]
"""Fills a column; whether it did. If not, what it has written means nothing."""


def _scratch(
    window: int, chunks: int, windows: int = 0, numbers: int = 0, rows: int = CHUNK
) -> FloatColumn:
    """Room for so many chunks, each of whole windows and at most `rows` where one is not longer."""
    chunk = max(1, rows // window) * window
    return np.empty(chunks * chunk + windows * window + numbers)


def _lanes(window: int, sums: int) -> FloatColumn:
    """Room for so many sums of a window, in lanes; touched only where there are rows for it."""
    return np.empty(LANES * sums * window)


def _wide(window: int, chunks: int) -> FloatColumn:
    """Room for so many chunks and two windows; a chunk of a long window is one for each lane."""
    rows = WIDE_CHUNK if window <= extremes.SHORT else LANES * window
    return _scratch(window, chunks, 2, rows=rows)


def _sma(each: Sma, inputs: Inputs, out: FloatColumn) -> bool:
    sums.fill_sma(*inputs, each.window, _scratch(each.window, 2), _lanes(each.window, 1), out)
    return True


def _wma(each: Wma, inputs: Inputs, out: FloatColumn) -> bool:
    divisor = each.start_state().divisor
    scratch, lanes = _scratch(each.window, 4), _lanes(each.window, 1)
    sums.fill_wma(*inputs, each.window, divisor, scratch, lanes, out)
    return True


def _vwap(each: Vwap, inputs: Inputs, out: FloatColumn) -> bool:
    sums.fill_vwap(*inputs, each.window, _scratch(each.window, 6, 2), out)
    return True


def _mfi(each: Mfi, inputs: Inputs, out: FloatColumn) -> bool:
    sums.fill_mfi(*inputs, each.window, _scratch(each.window, 7, 2, 1), out)
    return True


def _moments(output: int) -> Fill:
    def fill(each: Any, inputs: Inputs, out: FloatColumn) -> bool:
        scratch, lanes = _scratch(each.window, 5), _lanes(each.window, 2)
        moments.fill_moments(*inputs, each.window, each.ddof, 0.0, output, scratch, lanes, out)
        return True

    return fill


_BANDS = {
    "upper": moments.UPPER,
    "middle": moments.MIDDLE,
    "lower": moments.LOWER,
    "bandwidth": moments.BANDWIDTH,
    "percent_b": moments.PERCENT_B,
}


def _bollinger(each: Bollinger, inputs: Inputs, out: FloatColumn) -> bool:
    output, scratch = _BANDS[each.output], _scratch(each.window, 5)
    moments.fill_moments(*inputs, each.window, 0, each.width, output, scratch, np.empty(0), out)
    return True


def _extreme(sign: float) -> Fill:
    def fill(each: Any, inputs: Inputs, out: FloatColumn) -> bool:
        extremes.fill_extreme(*inputs, each.window, sign, _wide(each.window, 2), out)
        return True

    return fill


_ENDS = {"upper": extremes.UPPER, "lower": extremes.LOWER, "middle": extremes.MIDDLE}


def _donchian(each: Donchian, inputs: Inputs, out: FloatColumn) -> bool:
    high, low = inputs
    output, scratch = _ENDS[each.output], _wide(each.window, 4)
    extremes.fill_channel(high, low, high, each.window, output, scratch, out)
    return True


def _percent(output: int) -> Fill:
    def fill(each: Any, inputs: Inputs, out: FloatColumn) -> bool:
        extremes.fill_channel(*inputs, each.window, output, _wide(each.window, 4), out)
        return True

    return fill


def _pair(is_beta: bool) -> Fill:
    def fill(each: Any, inputs: Inputs, out: FloatColumn) -> bool:
        scratch, lanes = _scratch(each.window, 10), _lanes(each.window, 5)
        pairs.fill_pair(*inputs, each.window, is_beta, scratch, lanes, out)
        return True

    return fill


def _lag(output: int) -> Fill:
    def fill(each: Any, inputs: Inputs, out: FloatColumn) -> bool:
        lags.fill_lag(*inputs, each.bars, output, out)
        return True

    return fill


def _average(each: Any, inputs: Inputs, out: FloatColumn) -> bool:
    return smoothed.fill_average(*inputs, each.window, each.start_state().weight, out)


def _chain(each: Any, inputs: Inputs, out: FloatColumn) -> bool:
    weight, is_triple = each.start_state().weight, isinstance(each, Tema)
    return smoothed.fill_chain(*inputs, each.window, weight, is_triple, out)


def _true_range(_each: Any, inputs: Inputs, out: FloatColumn) -> bool:
    return smoothed.fill_ranges(*inputs, out)


def _atr(each: Atr, inputs: Inputs, out: FloatColumn) -> bool:
    return smoothed.fill_atr(*inputs, each.window, each.start_state().weight, out)


def _kama(each: Kama, inputs: Inputs, out: FloatColumn) -> bool:
    state = each.start_state()
    scratch = _scratch(each.window, 3, 1, rows=CHAIN_CHUNK)
    return smoothed.fill_kama(*inputs, each.window, state.slow, state.fast, scratch, out)


def _obv(_each: Any, inputs: Inputs, out: FloatColumn) -> bool:
    return totals.fill_obv(*inputs, out)


def _accumulation(_each: Any, inputs: Inputs, out: FloatColumn) -> bool:
    return totals.fill_oscillator(*inputs, 0, 0, np.empty(CHAIN_CHUNK), out)


def _oscillator(each: ChaikinOscillator, inputs: Inputs, out: FloatColumn) -> bool:
    return totals.fill_oscillator(*inputs, each.fast, each.slow, np.empty(CHAIN_CHUNK), out)


def _combined(each: Combined, inputs: Inputs, out: FloatColumn) -> bool:
    arithmetic.fill_combined(*inputs, each.start_state().operation, out)
    return True


def _with_number(each: CombinedWithNumber, inputs: Inputs, out: FloatColumn) -> bool:
    state = each.start_state()
    arithmetic.fill_combined_with_number(*inputs, state.number, state.operation, out)
    return True


KERNELS: Mapping[type[Any], Callable[[Any, Inputs, FloatColumn], bool]] = {
    Sma: _sma,
    Wma: _wma,
    Vwap: _vwap,
    Mfi: _mfi,
    RollingVariance: _moments(moments.VARIANCE),
    RollingStd: _moments(moments.DEVIATION),
    ZScore: _moments(moments.SCORE),
    Bollinger: _bollinger,
    RollingMax: _extreme(1.0),
    RollingMin: _extreme(-1.0),
    Donchian: _donchian,
    FastStochastic: _percent(extremes.PERCENT),
    WilliamsR: _percent(extremes.PERCENT_BELOW),
    Correlation: _pair(is_beta=False),
    Beta: _pair(is_beta=True),
    Lag: _lag(lags.LAG),
    Momentum: _lag(lags.MOMENTUM),
    SimpleReturn: _lag(lags.RETURN),
    RateOfChange: _lag(lags.PERCENT),
    Ema: _average,
    WilderAverage: _average,
    Dema: _chain,
    Tema: _chain,
    TrueRange: _true_range,
    Atr: _atr,
    Kama: _kama,
    Obv: _obv,
    AccumulationDistribution: _accumulation,
    ChaikinOscillator: _oscillator,
    Combined: _combined,
    CombinedWithNumber: _with_number,
}
