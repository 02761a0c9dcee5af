"""A study that finds regimes: a hidden Markov model fitted on past data, by statsmodels."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from onetape.domain.errors import DataError
from onetape.features.markov import MarkovRegime

_DIGITS = 12
_VALUES_PER_REGIME = 50


def fit_markov_regimes(
    values: npt.NDArray[np.float64], regimes: int = 2, *, rows: int | None = None
) -> MarkovRegime:
    """The model that makes the first `rows` values likeliest, as a feature.

    Fitted once, on the past, and a constant from then on: the feature's parameters stand in the
    strategy, so a backtest on later rows sees nothing of them, and both hosts and every mode run
    the same filter. Fitting on the rows that are traded later is looking ahead.

    Args:
        values: A column of a feature, such as of `LogReturn()`, in time order; NaN is left out.
        regimes: How many.
        rows: Rows of the past; left out, all.

    Returns:
        The filter, the regime with the least deviation first. Its parameters are rounded to 12
        digits, so that they can be written down.

    Raises:
        DataError: statsmodels is not installed, there are too few values, or it finds no model.
    """
    try:
        from statsmodels.tsa.regime_switching.markov_regression import MarkovRegression
    except ModuleNotFoundError:
        raise DataError("fitting regimes needs statsmodels",
                        remedy="pip install 'onetape[research]'") from None  # fmt: skip
    past = values[:rows]
    finite = past[np.isfinite(past)]
    if regimes < 2 or len(finite) < regimes * _VALUES_PER_REGIME or np.ptp(finite) == 0.0:
        raise DataError(
            f"{len(finite)} values are not enough for {regimes} regimes",
            remedy=f"give {_VALUES_PER_REGIME} different ones for each of two or more",
        )
    scale = float(finite.std())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of steps on the way; what is found is looked at below
        model: Any = MarkovRegression(finite / scale, k_regimes=regimes, switching_variance=True)
        found: Any = model.fit(disp=False, em_iter=20, maxiter=200)
    names = dict(zip(found.model.param_names, found.params.tolist(), strict=True))
    means = np.array([names[f"const[{at}]"] for at in range(regimes)]) * scale
    variances = np.array([names[f"sigma2[{at}]"] for at in range(regimes)])
    following = np.asarray(found.regime_transition)[:, :, 0].T
    if not (np.isfinite(means).all() and (variances > 0.0).all() and np.isfinite(following).all()):
        raise DataError(f"there is no model of {regimes} regimes in these values",
                        remedy="try fewer regimes, or more history")  # fmt: skip
    deviations = np.sqrt(variances) * scale
    order = np.argsort(deviations)
    return MarkovRegime(
        means=_round(means[order]),
        deviations=_round(deviations[order]),
        transitions=tuple(_round(following[at][order]) for at in order),
    )


def _round(values: npt.NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(f"{each:.{_DIGITS}g}") for each in values.tolist())
