"""A hidden Markov model of regimes: the filter, with parameters that a study has found before."""

from __future__ import annotations

import math
from typing import Literal

from onetape.domain.errors import StrategyError
from onetape.domain.rules import rule
from onetape.features.estimator import Estimator, State
from onetape.features.exponential import compute_exp

NAN = math.nan
INFINITY = math.inf

_SQUARINGS = 60
"""So often a transition matrix is squared until its rows are the stationary distribution."""


class MarkovState(State):
    """State of `MarkovRegime`. `chances` are of each regime now, `transitions` row by row."""

    regimes: int
    as_probability: int
    means: list[float]
    deviations: list[float]
    transitions: list[float]
    chances: list[float]
    next: list[float]


@rule
def update_markov(state: MarkovState, close: float) -> float:
    """The likeliest regime, or the probability of the last; the filter of Hamilton (1989)."""
    if math.isnan(close) or abs(close) == INFINITY:
        return NAN
    regimes = state.regimes
    chances = state.chances
    ahead = state.next
    at = 0
    least = math.inf
    while at < regimes:
        z = (close - state.means[at]) / state.deviations[at]
        least = min(least, z * z)
        at += 1
    total = 0.0
    at = 0
    while at < regimes:
        chance = 0.0
        before = 0
        while before < regimes:
            chance += chances[before] * state.transitions[before * regimes + at]
            before += 1
        z = (close - state.means[at]) / state.deviations[at]
        chance *= compute_exp(0.5 * (least - z * z)) / state.deviations[at]
        ahead[at] = chance
        total += chance
        at += 1
    if not total > 0.0:
        return NAN
    likeliest = 0
    at = 0
    while at < regimes:
        chances[at] = ahead[at] / total
        if chances[at] > chances[likeliest]:
            likeliest = at
        at += 1
    if state.as_probability == 1:
        return chances[regimes - 1]
    return float(likeliest)


class MarkovRegime(Estimator, frozen=True):
    """The likeliest of several regimes, each with a normal distribution of its input; from 0 on.

    The filter of a hidden Markov model: what is likely given all values so far. `means` and
    `deviations` are those of each regime, `transitions[i][j]` the probability that j follows i.
    `fit_markov_regimes` finds them on past data, ordered by deviation: 0 is the calmest. `output`
    `"probability"` is that of the last regime. Begins at the stationary distribution. Hamilton
    (1989), "A New Approach to the Economic Analysis of Nonstationary Time Series and the Business
    Cycle". Usually of returns: `MarkovRegime(...).of(LogReturn())`.

    NaN policy: a NaN or infinite input gives NaN at its bar and is skipped; so is a value that no
    regime could have given.

    Raises:
        StrategyError: The parameters are not of the same number of regimes, two or more, a
            deviation is not positive, or the chances of a row don't add up to 1.
    """

    means: tuple[float, ...]
    deviations: tuple[float, ...]
    transitions: tuple[tuple[float, ...], ...]
    output: Literal["regime", "probability"] = "regime"

    update = staticmethod(update_markov)

    def __post_init__(self) -> None:
        super().__post_init__()
        regimes = len(self.means)
        rows = [len(each) for each in self.transitions]
        if regimes < 2 or len(self.deviations) != regimes or rows != [regimes] * regimes:
            raise StrategyError(
                f"{regimes} means, {len(self.deviations)} deviations and rows of {rows} chances",
                where="MarkovRegime",
                remedy="give each regime a mean, a deviation and a chance of each regime",
            )
        if not all(0.0 < each < math.inf for each in self.deviations) or not all(
            map(math.isfinite, self.means)
        ):
            raise StrategyError(
                f"means {self.means} and deviations {self.deviations}",
                where="MarkovRegime", remedy="give finite means and positive deviations",
            )  # fmt: skip
        for row in self.transitions:
            if min(row) < 0.0 or not abs(math.fsum(row) - 1.0) < 1e-6:
                raise StrategyError(
                    f"chances {row} add up to {math.fsum(row):g}",
                    where="MarkovRegime", remedy="give chances of 0 to 1 that add up to 1",
                )  # fmt: skip

    @property
    def warm_up(self) -> int:
        """1."""
        return 1

    def start_state(self) -> MarkovState:
        """The stationary distribution."""
        regimes = len(self.means)
        return MarkovState(
            regimes=regimes,
            as_probability=int(self.output == "probability"),
            means=list(self.means),
            deviations=list(self.deviations),
            transitions=[each for row in self.transitions for each in row],
            chances=_stationary(self.transitions),
            next=[0.0] * regimes,
        )


def _stationary(transitions: tuple[tuple[float, ...], ...]) -> list[float]:
    matrix = [list(row) for row in transitions]
    places = range(len(matrix))
    for _ in range(_SQUARINGS):
        squared = [
            [math.fsum(matrix[a][k] * matrix[k][b] for k in places) for b in places] for a in places
        ]
        matrix = [[each / math.fsum(row) for each in row] for row in squared]
    return matrix[0]
