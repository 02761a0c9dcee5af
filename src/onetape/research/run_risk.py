"""Risk of a run: tail losses of the account and each strategy, and how they move together."""

from __future__ import annotations

import msgspec
import numpy as np

from onetape.portfolio.equity_curve import EquityCurve, EquityCurves
from onetape.portfolio.performance import Floats
from onetape.portfolio.performance_summary import (
    ReturnsClock,
    compute_growth,
    compute_returns,
    period_ends,
)
from onetape.portfolio.risk_analytics import (
    cornish_fisher_var,
    correlation_matrix,
    historical_cvar,
    historical_var,
    normal_cvar,
    normal_var,
)

CONFIDENCES = {"95": 0.95, "99": 0.99}
"""Levels that are shown, by the ending of their figures."""


class TailRisk(msgspec.Struct, frozen=True, kw_only=True):
    """Losses over one period of the returns clock, as fractions of equity.

    `*_95` is exceeded in 5 % of the periods, `*_99` in 1 %; NaN: not defined. Money at risk today
    is the fraction times equity.
    """

    historical_var_95: float
    historical_var_99: float
    historical_cvar_95: float
    historical_cvar_99: float
    normal_var_95: float
    normal_var_99: float
    normal_cvar_95: float
    normal_cvar_99: float
    cornish_fisher_var_95: float
    cornish_fisher_var_99: float


class RunRisk(msgspec.Struct, frozen=True, kw_only=True):
    """Tail risk of the account and each strategy, and the correlation of their returns.

    `correlation[a][b]` is that of two strategies by name; empty when there is only one.
    """

    account: TailRisk
    strategies: dict[str, TailRisk]
    correlation: dict[str, dict[str, float]]


def measure_run_risk(curves: EquityCurves, clock: ReturnsClock) -> RunRisk:
    """Measure the returns of a run, sampled by `clock`."""
    series = {name: _returns(curve, clock) for name, curve in curves.strategies.items()}
    names = list(series)
    correlation: dict[str, dict[str, float]] = {}
    if len(names) > 1:
        matrix = correlation_matrix(np.column_stack(list(series.values()))).tolist()
        correlation = {
            name: dict(zip(names, row, strict=True))
            for name, row in zip(names, matrix, strict=True)
        }
    return RunRisk(
        account=measure_tail_risk(_returns(curves.account, clock)),
        strategies={name: measure_tail_risk(returns) for name, returns in series.items()},
        correlation=correlation,
    )


def measure_tail_risk(returns: Floats) -> TailRisk:
    """The figures of one series of returns."""
    figures = {
        f"{figure.__name__}_{ending}": figure(returns, confidence=confidence)
        for figure in (
            historical_var, historical_cvar, normal_var, normal_cvar, cornish_fisher_var,
        )
        for ending, confidence in CONFIDENCES.items()
    }  # fmt: skip
    return TailRisk(**figures)


def _returns(curve: EquityCurve, clock: ReturnsClock) -> Floats:
    return compute_returns(compute_growth(curve)[period_ends(curve.ts, clock)])
