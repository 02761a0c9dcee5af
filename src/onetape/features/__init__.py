"""Numbers known at time t: estimators, and their columns over the bars of one instrument."""

from onetape.features.average import Dema, Ema, Sma, Tema, WilderAverage
from onetape.features.bands import Bollinger, Keltner
from onetape.features.channel import Donchian, FastStochastic, Stochastic, WilliamsR
from onetape.features.columns import compute_feature_columns
from onetape.features.comovement import Autocorrelation, Beta, Correlation
from onetape.features.cross_section import CrossSection
from onetape.features.directional import Adx
from onetape.features.dispersion import RollingStd, RollingVariance, ZScore
from onetape.features.estimator import (
    Estimator,
    FeatureMap,
    RunningEstimator,
    State,
    Window,
)
from onetape.features.extremes import BarsSinceMax, BarsSinceMin, RollingMax, RollingMin
from onetape.features.fundamentals import Fundamental, PriceEarnings
from onetape.features.hurst import Hurst
from onetape.features.markov import MarkovRegime
from onetape.features.microstructure import (
    MicroPrice,
    OrderFlow,
    QuotedSpread,
    QuoteImbalance,
    TradeFlow,
)
from onetape.features.moments import Kurtosis, Skewness
from onetape.features.oscillators import Cci, Macd
from onetape.features.quantile import Median, Quantile
from onetape.features.regime import Hysteresis, Levels, TrendRegime, VolatilityRegime
from onetape.features.registry import FeatureRegistry
from onetape.features.returns import Lag, LogReturn, Momentum, RateOfChange, SimpleReturn
from onetape.features.timeframe import Timeframed
from onetape.features.volatility import (
    GarmanKlassVolatility,
    ParkinsonVolatility,
    RealizedVolatility,
    YangZhangVolatility,
)
from onetape.features.volume import (
    AccumulationDistribution,
    ChaikinOscillator,
    Mfi,
    Obv,
    SessionVwap,
    Vwap,
)
from onetape.features.weighted import Kama, Wma
from onetape.features.wilder import Atr, Rsi, TrueRange

__all__ = [
    "AccumulationDistribution",
    "Adx",
    "Atr",
    "Autocorrelation",
    "BarsSinceMax",
    "BarsSinceMin",
    "Beta",
    "Bollinger",
    "Cci",
    "ChaikinOscillator",
    "Correlation",
    "CrossSection",
    "Dema",
    "Donchian",
    "Ema",
    "Estimator",
    "FastStochastic",
    "FeatureMap",
    "FeatureRegistry",
    "Fundamental",
    "GarmanKlassVolatility",
    "Hurst",
    "Hysteresis",
    "Kama",
    "Keltner",
    "Kurtosis",
    "Lag",
    "Levels",
    "LogReturn",
    "Macd",
    "MarkovRegime",
    "Median",
    "Mfi",
    "MicroPrice",
    "Momentum",
    "Obv",
    "OrderFlow",
    "ParkinsonVolatility",
    "PriceEarnings",
    "Quantile",
    "QuoteImbalance",
    "QuotedSpread",
    "RateOfChange",
    "RealizedVolatility",
    "RollingMax",
    "RollingMin",
    "RollingStd",
    "RollingVariance",
    "Rsi",
    "RunningEstimator",
    "SessionVwap",
    "SimpleReturn",
    "Skewness",
    "Sma",
    "State",
    "Stochastic",
    "Tema",
    "Timeframed",
    "TradeFlow",
    "TrendRegime",
    "TrueRange",
    "VolatilityRegime",
    "Vwap",
    "WilderAverage",
    "WilliamsR",
    "Window",
    "Wma",
    "YangZhangVolatility",
    "ZScore",
    "compute_feature_columns",
]
