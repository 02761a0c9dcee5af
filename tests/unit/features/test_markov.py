from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from onetape.domain.errors import DataError, StrategyError
from onetape.features import LogReturn, MarkovRegime, compute_feature_columns
from onetape.features.compiled import compute_column_compiled
from onetape.research.feature_kit import examine_feature, make_walk
from onetape.research.regime_study import fit_markov_regimes

MODEL = MarkovRegime(
    (0.001, -0.002), (0.01, 0.03), ((0.95, 0.05), (0.1, 0.9)), output="probability"
)


def make_returns(count: int = 1_200) -> tuple[np.ndarray, np.ndarray]:
    """Returns of two regimes, 0.01 and 0.04 wide, and which one each is of."""
    chance = np.random.default_rng(4)
    regime, regimes = 0, []
    for _ in range(count):
        regime = 1 - regime if chance.random() < 0.02 else regime
        regimes.append(regime)
    truth = np.array(regimes)
    return chance.normal(0.0, np.where(truth == 1, 0.04, 0.01)), truth


def test_filter_is_that_of_bayes_by_hand() -> None:
    """Hamilton (1989): predict by the transitions, weigh by the densities, normalize."""
    chances = [2 / 3, 1 / 3]  # stationary: 0.1 / 0.15
    live = MODEL.start()
    for value in (0.01, -0.05, math.nan, 0.002, 0.08):
        found = live.update(value)
        if math.isnan(value):
            assert math.isnan(found)
            continue
        ahead = [
            sum(chances[i] * MODEL.transitions[i][j] for i in range(2))
            * math.exp(-0.5 * ((value - MODEL.means[j]) / MODEL.deviations[j]) ** 2)
            / MODEL.deviations[j]
            for j in range(2)
        ]
        chances = [each / sum(ahead) for each in ahead]
        assert found == pytest.approx(chances[1], rel=1e-12)


def test_filter_is_that_of_statsmodels_for_what_it_has_fitted() -> None:
    returns, truth = make_returns()
    fitted = fit_markov_regimes(returns, rows=800)
    assert fitted.deviations == pytest.approx((0.01, 0.04), rel=0.2)
    switching = pytest.importorskip("statsmodels.tsa.regime_switching.markov_regression")
    model = switching.MarkovRegression(returns, k_regimes=2, switching_variance=True)
    stay, leave = fitted.transitions[0][0], fitted.transitions[1][0]
    variances = [each * each for each in fitted.deviations]
    expected = model.filter(np.array([stay, leave, *fitted.means, *variances]))
    probability = msgspec.structs.replace(fitted, output="probability").start()
    found = [probability.update(each) for each in returns.tolist()]
    assert np.allclose(found, expected.filtered_marginal_probabilities[:, 1], rtol=0, atol=1e-9)
    regime = fitted.start()
    guessed = np.array([regime.update(each) for each in returns.tolist()])
    assert (guessed[800:] == truth[800:]).mean() > 0.9  # rows that the study has not seen


def test_fit_depends_on_the_past_alone() -> None:
    returns, _ = make_returns(400)
    other = returns.copy()
    other[300:] *= 100.0
    assert fit_markov_regimes(returns, rows=300) == fit_markov_regimes(other, rows=300)


def test_markov_regime_holds_on_every_prefix_host_and_checkpoint() -> None:
    feature = MODEL.of(LogReturn())
    assert examine_feature(feature, make_walk(300)) == []
    returns = compute_feature_columns({"r": LogReturn()}, make_walk(300))["r"]
    mine = compute_feature_columns({"m": feature}, make_walk(300))["m"]
    assert compute_column_compiled(MODEL, (returns,)).tobytes() == mine.tobytes()
    assert ((mine[1:] >= 0) & (mine[1:] <= 1)).all()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"means": (0.0,)}, "1 means, 2 deviations"),
        ({"deviations": (1.0, 0.0)}, "positive deviations"),
        ({"transitions": ((0.5, 0.6), (0.5, 0.5))}, "add up to 1.1"),
        ({"transitions": ((1.5, -0.5), (0.5, 0.5))}, "chances of 0 to 1"),
    ],
)
def test_parameters_that_make_no_model_are_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(StrategyError, match=said):
        msgspec.structs.replace(MODEL, **changes)


def test_too_little_to_fit_is_refused() -> None:
    with pytest.raises(DataError, match="99 values are not enough for 2 regimes"):
        fit_markov_regimes(np.arange(99.0))
