"""How much of the best result is luck: statistics of choosing one set among many.

Conventions of all of them: returns are simple returns of equal periods, as fractions; a Sharpe
ratio is that of one period (`mean / std`, ddof=1), never a year's; NaN observations are left out of
every sum; a figure that is not defined is NaN, never infinite and never a warning.
"""

from __future__ import annotations

import math
from itertools import combinations
from statistics import NormalDist

import msgspec
import numpy as np
import numpy.typing as npt

from onetape.domain.errors import FixInput
from onetape.portfolio import performance
from onetape.portfolio.performance import NAN, Floats
from onetape.research.report_format import count, percent, ratio

MAX_BLOCKS = 20
"""20 blocks have 184,756 halves; each two more make four times as many."""

USUAL_CONFIDENCE = 0.95

_EULER_MASCHERONI = 0.5772156649015329
_NORMAL = NormalDist()
_LEAST_PERIODS = 3
_NOISE = 1e-12
"""A share of the sum of squares below this is rounding: float64 sums of a few thousand terms."""
_CHUNK_CELLS = 2**17
"""Halves times sets that are looked at in one go: arrays of 1 MB, which stay in the cache."""

Rows = npt.NDArray[np.intp]


class TrialTally(msgspec.Struct, frozen=True, kw_only=True):
    """How many sets have been tried, and how far apart their Sharpe ratios lie.

    Attributes:
        trials: Every set that was evaluated, also one that never traded.
        measured: Those of them that have a Sharpe ratio.
        variance_of_sharpes: Variance (ddof=1) of the Sharpe ratios of one period; NaN below two.
    """

    trials: int
    measured: int
    variance_of_sharpes: float


class BacktestOverfitting(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What happens out of sample to the set that is best in sample, over all halves of the history.

    Attributes:
        pbo: Probability of backtest overfitting: how often it ends below the median of all sets.
        degradation_slope: Of the line through (Sharpe ratio in sample, out of sample) of the chosen
            set, by least squares; below zero: the better it looked, the worse it did.
        loss_probability: How often it loses money out of sample, or has been ruined before.
        logits: `ln(w / (1 - w))` of its relative rank `w` out of sample, shape (halves,); the
            halves in lexicographic order of their blocks.
        in_sample: Its Sharpe ratio of one period in sample, shape (halves,); -inf where it has
            fewer than two returns.
        out_of_sample: The same out of sample.
        sets: How many were compared.
        blocks: How many blocks the history was cut into.
        periods: Periods in all blocks together.
        periods_left_out: The first ones, which did not fill a block.
    """

    pbo: float
    degradation_slope: float
    loss_probability: float
    logits: Floats
    in_sample: Floats
    out_of_sample: Floats
    sets: int
    blocks: int
    periods: int
    periods_left_out: int


class OverfittingVerdict(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What stands beside the best result of a sweep.

    Attributes:
        trials: How many sets have been tried, in all sweeps of this family on this dataset.
        sharpe_ratio: That of the best set, of one period.
        expected_max_sharpe: What the best of as many worthless sets shows by luck, of one period.
        psr: Probabilistic Sharpe ratio against zero: the best set as if it were the only one.
        dsr: Deflated Sharpe ratio: the same against `expected_max_sharpe`.
        cscv: The probability of backtest overfitting, and what belongs to it.
        sentences: What DSR and PBO say, one sentence each, with the numbers.
    """

    trials: int
    sharpe_ratio: float
    expected_max_sharpe: float
    psr: float
    dsr: float
    cscv: BacktestOverfitting
    sentences: tuple[str, str]

    @property
    def pbo(self) -> float:
        """Probability of backtest overfitting."""
        return self.cscv.pbo


def tally_sharpes(sharpes: Floats) -> TrialTally:
    """Count trials by their Sharpe ratios of one period, NaN for a set that has none."""
    known = sharpes[np.isfinite(sharpes)]
    return TrialTally(
        trials=len(sharpes),
        measured=len(known),
        variance_of_sharpes=float(np.var(known, ddof=1)) if len(known) > 1 else NAN,
    )


def probabilistic_sharpe_ratio(returns: Floats, benchmark_sharpe_per_period: float = 0.0) -> float:
    """How sure it is that the true Sharpe ratio is above the benchmark: a probability.

    `Z[(SR - SR*) sqrt(n - 1) / sqrt(1 - g3 SR + (g4 - 1) / 4 SR^2)]` with the normal distribution
    function Z, skewness g3 and kurtosis g4 (3 for normal returns; both of the population). NaN
    below three observations, without spread, and where the root is of nothing: two values that
    alternate so that the estimate has no error to first order.

    Source: Bailey & López de Prado (2012), The Sharpe Ratio Efficient Frontier, Journal of Risk
    15(2), eq. 11.
    """
    known = returns[np.isfinite(returns)]
    sharpe = performance.sharpe_ratio(known, periods_per_year=1.0)
    if len(known) < _LEAST_PERIODS or not math.isfinite(sharpe):
        return NAN
    standardized = (known - known.mean()) / known.std()
    skewness = float(np.mean(standardized**3))
    kurtosis = float(np.mean(standardized**4))
    error = 1.0 - skewness * sharpe + (kurtosis - 1.0) / 4.0 * sharpe**2
    if not error > _NOISE:
        return NAN
    distance = sharpe - benchmark_sharpe_per_period
    return _NORMAL.cdf(distance * math.sqrt((len(known) - 1) / error))


def expected_max_sharpe(trials: int, variance_of_sharpes: float) -> float:
    """The Sharpe ratio that the best of `trials` independent worthless sets is expected to show.

    `sqrt(V) ((1 - g) Z^-1[1 - 1/N] + g Z^-1[1 - 1/(N e)])` with Euler's constant g. In the unit of
    the variance V: of one period, when that is. One trial is no choice: 0.0. NaN without a trial or
    a variance. Sets of one sweep resemble each other, so counting all of them is more than fair to
    luck.

    Source: Bailey & López de Prado (2014), The Deflated Sharpe Ratio, Journal of Portfolio
    Management 40(5), eq. 1 and appendix 1.
    """
    if trials == 1:
        return 0.0
    if trials < 1 or not variance_of_sharpes >= 0.0:
        return NAN
    # -Z^-1[p] is Z^-1[1 - p], without the rounding of 1 - p.
    upper = -_NORMAL.inv_cdf(1.0 / trials)
    outer = -_NORMAL.inv_cdf(1.0 / (trials * math.e))
    standardized = (1.0 - _EULER_MASCHERONI) * upper + _EULER_MASCHERONI * outer
    return math.sqrt(variance_of_sharpes) * standardized


def deflated_sharpe_ratio(returns: Floats, trials: int, variance_of_sharpes: float) -> float:
    """`probabilistic_sharpe_ratio` of the best set against `expected_max_sharpe`: a probability.

    One trial, or trials without variance: the probabilistic Sharpe ratio against zero. NaN where
    one of the two is.

    Args:
        returns: Those of the best set, shape (periods,).
        trials: How many sets it was chosen from, all that were ever tried.
        variance_of_sharpes: Of their Sharpe ratios of one period.

    Source: Bailey & López de Prado (2014), The Deflated Sharpe Ratio, Journal of Portfolio
    Management 40(5), eq. 2.
    """
    return probabilistic_sharpe_ratio(returns, expected_max_sharpe(trials, variance_of_sharpes))


def probability_of_backtest_overfitting(
    returns: Floats, *, blocks: int = 16
) -> BacktestOverfitting:
    """Combinatorially symmetric cross-validation (CSCV) of choosing the set of the best Sharpe.

    The history is cut into blocks of equal length. Each way to take half of them is a sample in
    which a set is chosen, and the other blocks are the sample in which it must show itself: 12,870
    ways with 16 blocks. The first `periods % blocks` periods are left out: they are the oldest, and
    the ones in which features warm up.

    A set without spread in a sample (it did not trade) has a Sharpe ratio of 0 there: it neither
    earned nor lost. One with fewer than two returns (it was ruined before) ranks below all. Equal
    Sharpe ratios share the mean of their ranks; of several best ones in sample, the one counts that
    is worst out of sample. A relative rank is `rank / (sets + 1)`, and a logit of exactly 0 (the
    middle of an odd number of sets, or all the same) counts half, so that pure chance gives 0.5 for
    any number of sets.

    Everything is NaN, and the arrays are empty, below two sets (nothing is chosen) or two periods a
    block (a block of one return says nothing). Time and memory grow with the number of sets: 1,000
    sets take about a second and 20 MB.

    Args:
        returns: Of every set, float64 of shape (periods, sets).
        blocks: An even number from 2 to 20.

    Raises:
        FixInput: Another number of blocks, or an array of other than two dimensions.

    Source: Bailey, Borwein, López de Prado & Zhu (2015), The Probability of Backtest Overfitting,
    Journal of Computational Finance 20(4), section 2.2 and 3; the ties are ours.
    """
    if blocks not in range(2, MAX_BLOCKS + 1, 2):
        raise FixInput(f"{blocks} blocks can't be halved in all ways", where="blocks",
                       remedy=f"give an even number from 2 to {MAX_BLOCKS}")  # fmt: skip
    if returns.ndim != 2:
        raise FixInput(f"the returns have {returns.ndim} dimensions", where="returns",
                       remedy="give an array of shape (periods, sets)")  # fmt: skip
    periods, sets = returns.shape
    left_out = periods % blocks
    is_defined = sets > 1 and periods - left_out >= 2 * blocks
    if is_defined:
        parts = np.split(returns[left_out:], blocks)
        inside, outside, logits = _cross_validate(_BlockSums(parts), blocks)
    else:
        inside = outside = logits = np.empty(0)
    return BacktestOverfitting(
        pbo=float(np.mean(logits < 0) + np.mean(logits == 0) / 2) if is_defined else NAN,
        degradation_slope=performance.beta(outside, inside),
        loss_probability=float(np.mean(outside < 0)) if is_defined else NAN,
        logits=logits,
        in_sample=inside,
        out_of_sample=outside,
        sets=sets,
        blocks=blocks,
        periods=periods - left_out,
        periods_left_out=left_out,
    )


def judge(
    best_returns: Floats,
    tally: TrialTally,
    returns: Floats,
    *,
    periods_per_year: float,
    blocks: int = 16,
) -> OverfittingVerdict:
    """Weigh the best result of a sweep against the number of sets that it was chosen from.

    Args:
        best_returns: Those of the best set, shape (periods,).
        tally: Of the trial ledger, this sweep's sets included; or of this sweep alone.
        returns: Those of every set of this sweep, or of a fair sample, shape (periods, sets).
        periods_per_year: For the sentences, which tell Sharpe ratios of a year.
        blocks: See `probability_of_backtest_overfitting`.

    Raises:
        FixInput: Like `probability_of_backtest_overfitting`.
    """
    luck = expected_max_sharpe(tally.trials, tally.variance_of_sharpes)
    sharpe = performance.sharpe_ratio(best_returns, periods_per_year=1.0)
    psr = probabilistic_sharpe_ratio(best_returns)
    dsr = probabilistic_sharpe_ratio(best_returns, luck)
    cscv = probability_of_backtest_overfitting(returns, blocks=blocks)
    year = math.sqrt(periods_per_year)
    return OverfittingVerdict(
        trials=tally.trials,
        sharpe_ratio=sharpe,
        expected_max_sharpe=luck,
        psr=psr,
        dsr=dsr,
        cscv=cscv,
        sentences=(
            _explain_dsr(tally, dsr, psr, sharpe_ratio=sharpe * year, luck=luck * year),
            _explain_pbo(cscv),
        ),
    )


def _explain_dsr(
    tally: TrialTally, dsr: float, psr: float, *, sharpe_ratio: float, luck: float
) -> str:
    """One sentence; the Sharpe ratios are those of a year."""
    if math.isnan(psr):
        return (
            "The deflated Sharpe ratio (DSR) is not defined: the best set has fewer than "
            f"{_LEAST_PERIODS} periods with a return, or its returns have no spread."
        )
    if math.isnan(dsr):
        return (
            f"The deflated Sharpe ratio (DSR) is not defined: of {count(tally.trials)} trials "
            f"{count(tally.measured)} had a Sharpe ratio, and it takes two."
        )
    # An estimate is never certain, though float64 may round it to 0 or 1.
    sure = _probability(min(max(dsr, 1e-9), 1.0 - 1e-9))
    side = "at least" if dsr >= USUAL_CONFIDENCE else "below"
    sure += f" (DSR; {side} the usual {percent(USUAL_CONFIDENCE, 0)})"
    if tally.trials == 1:
        return (
            "Only one set has been tried, so nothing was chosen: its Sharpe ratio of "
            f"{ratio(sharpe_ratio)} a year is above zero with a confidence of {sure}."
        )
    return (
        f"The best of {count(tally.trials)} worthless sets is expected to show a Sharpe ratio of "
        f"{ratio(luck)} a year by luck; the best set's {ratio(sharpe_ratio)} is above that with a "
        f"confidence of {sure}."
    )


def _explain_pbo(cscv: BacktestOverfitting) -> str:
    """One sentence."""
    if math.isnan(cscv.pbo):
        return (
            "The probability of backtest overfitting (PBO) is not defined: it takes 2 sets and "
            f"{2 * cscv.blocks} periods, and there are {count(cscv.sets)} and "
            f"{count(cscv.periods + cscv.periods_left_out)}."
        )
    return (
        f"Over {count(len(cscv.logits))} ways to cut the history into halves, the set that was "
        f"best in one half fell below the median of the {count(cscv.sets)} sets in the other in "
        f"{_probability(cscv.pbo)} of them (PBO; blind choice: 50 %), and lost money there in "
        f"{_probability(cscv.loss_probability)}."
    )


def _probability(value: float) -> str:
    """Percent with one digit; what is not certain never reads as 0 or 100 %."""
    if 0.999 < value < 1.0:
        return "more than 99.9 %"
    if 0.0 < value < 0.001:
        return "less than 0.1 %"
    return percent(value, 1)


class _BlockSums:
    """Number, sum and sum of squares of the known returns of each block, shape (blocks, sets).

    Sums are taken one return after the other, set by set, so that sets with the same returns have
    the same bits wherever they stand (a matrix product does not promise that, and ties need it).
    They aren't centered: a Sharpe ratio of one period is far below 1, where centering gains
    nothing, and a set that did not trade keeps sums of exactly 0.
    """

    def __init__(self, parts: list[Floats]) -> None:
        counts: list[npt.NDArray[np.intp]] = []
        sums: list[Floats] = []
        squares: list[Floats] = []
        for part in parts:
            known = np.isfinite(part)
            values = np.ascontiguousarray(np.where(known, part, 0.0))
            counts.append(known.sum(axis=0))
            sums.append(values.sum(axis=0))
            with np.errstate(over="ignore"):
                squares.append((values * values).sum(axis=0))
        self.sums = np.stack(sums)
        self.squares = np.stack(squares)
        self.counts = np.stack(counts).astype(np.float64)
        if (self.counts == len(parts[0])).all():
            self.counts = self.counts[:, :1]

    def sharpes(self, chosen: Rows) -> Floats:
        """Sharpe ratio of every set in each sample, shape (samples, sets).

        Args:
            chosen: The blocks of each sample, shape (samples, blocks of a sample).
        """
        n = _add_up(self.counts, chosen)
        total = _add_up(self.sums, chosen)
        squares = _add_up(self.squares, chosen)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            mean = total / n
            deviations = squares - total * mean
            sharpes = mean / np.sqrt(deviations / (n - 1.0))
        sharpes[~(deviations > _NOISE * squares)] = 0.0
        sharpes[np.broadcast_to(n < 2.0, sharpes.shape)] = -np.inf
        return sharpes


def _add_up(values: Floats, chosen: Rows) -> Floats:
    """Sum of the chosen rows, shape (samples, sets), in the order of the rows."""
    total = values[chosen[:, 0]]
    for rows in chosen[:, 1:].T:
        total += values[rows]
    return total


def _cross_validate(sums: _BlockSums, blocks: int) -> tuple[Floats, Floats, Floats]:
    """In-sample and out-of-sample Sharpe ratio and logit of the chosen set of each half."""
    halves = np.array(list(combinations(range(blocks), blocks // 2)))
    inside, outside, logits = np.empty((3, len(halves)))
    # In lexicographic order the other half of the first is the last, and so on inwards.
    others = halves[::-1]
    step = max(_CHUNK_CELLS // sums.sums.shape[1], 1)
    for start in range(0, len(halves) // 2, step):
        rows = slice(start, min(start + step, len(halves) // 2))
        one, other = sums.sharpes(halves[rows]), sums.sharpes(others[rows])
        inside[rows], outside[rows], logits[rows] = _choose(one, other)
        inside[::-1][rows], outside[::-1][rows], logits[::-1][rows] = _choose(other, one)
    return inside, outside, logits


def _choose(inside: Floats, outside: Floats) -> tuple[Floats, Floats, Floats]:
    """Of the set that is best in sample: Sharpe ratio in and out of sample, and logit."""
    best = inside.max(axis=1)
    shown = np.where(inside == best[:, None], outside, np.inf).min(axis=1)
    below = np.count_nonzero(outside < shown[:, None], axis=1)
    equal = np.count_nonzero(outside == shown[:, None], axis=1)
    rank = below + (equal + 1) / 2
    return best, shown, np.log(rank / (outside.shape[1] + 1 - rank))
