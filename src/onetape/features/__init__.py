"""Numbers known at time t: estimators, and their columns over the bars of one instrument."""

from onetape.features.average import Ema, Sma
from onetape.features.columns import compute_feature_columns
from onetape.features.dispersion import RollingStd, ZScore
from onetape.features.estimator import (
    Estimator,
    FeatureMap,
    RunningEstimator,
    State,
    Window,
)
from onetape.features.returns import LogReturn, SimpleReturn
from onetape.features.wilder import Atr, Rsi

__all__ = [
    "Atr",
    "Ema",
    "Estimator",
    "FeatureMap",
    "LogReturn",
    "RollingStd",
    "Rsi",
    "RunningEstimator",
    "SimpleReturn",
    "Sma",
    "State",
    "Window",
    "ZScore",
    "compute_feature_columns",
]
