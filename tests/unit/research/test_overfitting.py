from __future__ import annotations

import math
import statistics
import tracemalloc
from itertools import combinations, pairwise
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.domain.errors import FixInput
from onetape.portfolio import performance
from onetape.research import overfitting
from onetape.research.overfitting import (
    BacktestOverfitting,
    TrialTally,
    deflated_sharpe_ratio,
    expected_max_sharpe,
    judge,
    probabilistic_sharpe_ratio,
    probability_of_backtest_overfitting,
    tally_sharpes,
)

NAN = float("nan")
Floats = npt.NDArray[np.float64]


def array(*values: float) -> Floats:
    return np.array(values, dtype=np.float64)


def with_sharpe(returns: Floats, sharpe: float) -> Floats:
    """The same returns, shifted to a Sharpe ratio of one period."""
    centered = returns - returns.mean()
    return centered + sharpe * centered.std(ddof=1)


def two_valued(periods: int, losses: int) -> Floats:
    return np.array([-1.0] * losses + [1.0] * (periods - losses))


def normal_quantiles(periods: int) -> Floats:
    middles = (np.arange(periods) + 0.5) / periods
    return np.array([NormalDist().inv_cdf(each) for each in middles])


# --- Deflated Sharpe ratio ---------------------------------------------------------------------

# Bailey & López de Prado (2014), "A numerical example": five years of daily returns, 250 a year,
# with an annual Sharpe ratio of 2.5; variance of the trials' annual Sharpe ratios 1/2.
PAPER_PERIODS = 1250
PAPER_SHARPE = 2.5 / math.sqrt(250)
PAPER_VARIANCE = 0.5 / 250
# Skewness -3 and kurtosis 10 (its square and 1) leave two values only, 8.4 % of them losses.
SKEWED = with_sharpe(two_valued(PAPER_PERIODS, 105), PAPER_SHARPE)
NORMAL = with_sharpe(normal_quantiles(PAPER_PERIODS), PAPER_SHARPE)


def test_deflated_sharpe_of_the_papers_example() -> None:
    assert expected_max_sharpe(100, PAPER_VARIANCE) == pytest.approx(0.1132, abs=5e-5)
    assert deflated_sharpe_ratio(SKEWED, 100, PAPER_VARIANCE) == pytest.approx(0.9004, abs=1e-4)
    # Only 46 trials, or 88 of a strategy with normal returns, would have been enough.
    assert deflated_sharpe_ratio(SKEWED, 46, PAPER_VARIANCE) == pytest.approx(0.9505, abs=1e-4)
    assert deflated_sharpe_ratio(NORMAL, 88, PAPER_VARIANCE) == pytest.approx(0.9505, abs=2e-4)


@pytest.mark.parametrize(
    ("trials", "expected"),
    # Means of the largest of n standard normal values: Harter (1961), Biometrika 48, table 1; the
    # paper's formula is an approximation for many trials.
    [(10, 1.53875), (100, 2.50759), (1000, 3.24144)],
)
def test_expected_max_sharpe_is_near_the_mean_of_the_largest_normal(
    trials: int, expected: float
) -> None:
    assert expected_max_sharpe(trials, 1.0) == pytest.approx(expected, rel=0.025)
    assert expected_max_sharpe(trials, 0.25) == pytest.approx(expected / 2, rel=0.025)


@pytest.mark.parametrize(
    ("trials", "variance", "expected"),
    [
        (1, 0.5, 0.0),
        (1, NAN, 0.0),
        (5, 0.0, 0.0),
        (0, 0.5, NAN),
        (-3, 0.5, NAN),
        (5, NAN, NAN),
        (5, -0.1, NAN),
    ],
)
def test_expected_max_sharpe_at_its_edges(trials: int, variance: float, expected: float) -> None:
    assert expected_max_sharpe(trials, variance) == pytest.approx(expected, nan_ok=True)


def test_expected_max_sharpe_keeps_rising_where_one_less_a_part_would_round() -> None:
    values = [expected_max_sharpe(10**exponent, 1.0) for exponent in range(1, 40)]
    assert all(one < other for one, other in pairwise(values))
    assert values[-1] < 15.0


@given(
    st.lists(st.floats(-0.2, 0.2), min_size=3, max_size=60),
    st.floats(-0.5, 0.5),
)
def test_probabilistic_sharpe_is_the_textbook_formula(values: list[float], bench: float) -> None:
    n, mean, deviation = len(values), statistics.fmean(values), statistics.stdev(values)
    found = probabilistic_sharpe_ratio(array(*values), bench)
    if deviation < 1e-6:
        return
    spread = statistics.pstdev(values)
    sharpe = mean / deviation
    skewness = math.fsum(((each - mean) / spread) ** 3 for each in values) / n
    kurtosis = math.fsum(((each - mean) / spread) ** 4 for each in values) / n
    error = 1 - skewness * sharpe + (kurtosis - 1) / 4 * sharpe * sharpe
    if error < 1e-6:
        return
    z = (sharpe - bench) * math.sqrt(n - 1) / math.sqrt(error)
    assert found == pytest.approx(0.5 * math.erfc(-z / math.sqrt(2)), abs=1e-6)


@pytest.mark.parametrize(
    "returns",
    [
        array(),
        array(0.01, 0.02),
        array(0.01, NAN, 0.02),
        array(0.0, 0.0, 0.0, 0.0),
        array(0.01, 0.01, 0.01, 0.01),
        array(NAN, NAN, NAN, NAN),
    ],
    ids=["none", "two", "two_known", "flat", "no_spread", "unknown"],
)
def test_probabilistic_and_deflated_sharpe_of_too_little_are_nan(returns: Floats) -> None:
    assert math.isnan(probabilistic_sharpe_ratio(returns))
    assert math.isnan(deflated_sharpe_ratio(returns, 10, 0.01))


def test_probabilistic_sharpe_without_an_estimation_error_is_nan() -> None:
    # Two values with population Sharpe ratio s and 2 / s for skewness: the root is of 0.
    returns = two_valued(1000, 800)
    skewness = (0.8 - 0.2) / math.sqrt(0.8 * 0.2)
    assert math.isnan(probabilistic_sharpe_ratio(with_sharpe(returns, 2 / skewness)))
    assert probabilistic_sharpe_ratio(with_sharpe(returns, 1.9 / skewness)) > 0.999


def test_nan_returns_are_left_out() -> None:
    holes = np.insert(SKEWED, [0, 7, 1250], NAN)
    assert deflated_sharpe_ratio(holes, 100, PAPER_VARIANCE) == deflated_sharpe_ratio(
        SKEWED, 100, PAPER_VARIANCE
    )


def test_deflated_sharpe_of_one_trial_or_equal_trials_is_the_probabilistic_against_zero() -> None:
    alone = probabilistic_sharpe_ratio(SKEWED, 0.0)
    assert deflated_sharpe_ratio(SKEWED, 1, NAN) == alone
    assert deflated_sharpe_ratio(SKEWED, 50, 0.0) == alone
    assert math.isnan(deflated_sharpe_ratio(SKEWED, 50, NAN))


ORDINARY = st.integers(0, 2**32).map(
    lambda seed: np.random.default_rng(seed).normal(0.0005, 0.01, 250)
)


@given(ORDINARY, st.integers(1, 10**6), st.integers(1, 10**6), st.floats(1e-5, 0.01))
def test_deflated_sharpe_falls_with_trials_and_with_their_variance(
    returns: Floats, one: int, other: int, variance: float
) -> None:
    few, many = sorted((one, other))
    assert 0.0 <= deflated_sharpe_ratio(returns, many, variance) <= 1.0
    assert deflated_sharpe_ratio(returns, many, variance) <= deflated_sharpe_ratio(
        returns, few, variance
    )
    assert deflated_sharpe_ratio(returns, many, 2 * variance) <= deflated_sharpe_ratio(
        returns, many, variance
    )


@given(ORDINARY, st.floats(0.01, 100.0))
def test_deflated_sharpe_does_not_change_with_the_scale_of_returns(
    returns: Floats, scale: float
) -> None:
    assert deflated_sharpe_ratio(returns * scale, 20, 0.001) == pytest.approx(
        deflated_sharpe_ratio(returns, 20, 0.001), abs=1e-9
    )


def test_deflated_sharpe_is_not_fooled_by_the_best_of_many_worthless_sets() -> None:
    random = np.random.default_rng(11)
    fooled = deflated = 0
    rounds = 200
    for _ in range(rounds):
        returns = random.normal(0.0, 0.01, (500, 50))
        sharpes = returns.mean(axis=0) / returns.std(axis=0, ddof=1)
        best = returns[:, np.argmax(sharpes)]
        tally = tally_sharpes(sharpes)
        fooled += probabilistic_sharpe_ratio(best) > 0.95
        deflated += deflated_sharpe_ratio(best, tally.trials, tally.variance_of_sharpes) > 0.95
    assert fooled > 0.85 * rounds
    assert deflated < 0.06 * rounds


def test_tally_counts_all_trials_and_measures_those_with_a_sharpe() -> None:
    tally = tally_sharpes(array(0.1, NAN, 0.3, 0.2))
    assert (tally.trials, tally.measured) == (4, 3)
    assert tally.variance_of_sharpes == pytest.approx(0.01)
    assert math.isnan(tally_sharpes(array(0.1, NAN)).variance_of_sharpes)
    assert tally_sharpes(array()).trials == 0


# --- Probability of backtest overfitting -------------------------------------------------------


def r_normals(seed: int, count: int) -> Floats:
    """What R's `set.seed(seed); rnorm(count)` gives: Mersenne Twister, inversion (AS 241)."""
    state = seed
    for _ in range(50):
        state = (69069 * state + 1) % 2**32
    table: list[int] = []
    for _ in range(625):
        state = (69069 * state + 1) % 2**32
        table.append(state)
    twister = np.random.MT19937()
    twister.state = {
        "bit_generator": "MT19937",
        "state": {"key": np.array(table[1:], dtype=np.uint32), "pos": 624},
    }
    uniform = twister.random_raw(2 * count) * 2.3283064365386963e-10
    big = 2**27
    fine = (np.floor(big * uniform[::2]) + uniform[1::2]) / big
    return np.array([NormalDist().inv_cdf(each) for each in fine.tolist()])


def test_r_normals_are_those_of_r() -> None:
    assert r_normals(42, 3) == pytest.approx([1.37095845, -0.56469817, 0.36312841], abs=5e-9)
    assert r_normals(123, 2) == pytest.approx([-0.56047565, -0.23017749], abs=5e-9)


@pytest.mark.parametrize(
    ("blocks", "intercept", "determination"), [(8, -0.0030456, 0.97), (4, -0.005909, 0.88)]
)
def test_pbo_of_the_vignette_of_rs_pbo_package(
    blocks: int, intercept: float, determination: float
) -> None:
    # CRAN, package pbo 1.3.5, vignette "Using the PBO package": 100 sets of 2,400 periods, all with
    # the same Sharpe ratio. Its summary prints p_bo 1, p_loss 1, and of the regression of the
    # Sharpe ratio in sample on that out of sample the intercept (which it calls slope) and the
    # adjusted R^2.
    returns = r_normals(765, 240_000).reshape(100, 2400).T
    returns /= returns.std(axis=0, ddof=1) * math.sqrt(252)
    returns -= returns.mean(axis=0)
    found = probability_of_backtest_overfitting(returns - 0.03 / 252, blocks=blocks)
    assert (found.pbo, found.loss_probability) == (1.0, 1.0)
    line = np.polyfit(found.out_of_sample, found.in_sample, 1)
    assert line[1] == pytest.approx(intercept, rel=5e-5)
    n = len(found.logits)
    r2 = np.corrcoef(found.out_of_sample, found.in_sample)[0, 1] ** 2
    assert 1 - (1 - r2) * (n - 1) / (n - 2) == pytest.approx(determination, abs=0.005)
    assert found.degradation_slope == pytest.approx(
        np.polyfit(found.in_sample, found.out_of_sample, 1)[0], rel=1e-9
    )
    assert -1.1 < found.degradation_slope < -0.8


def naive_sharpe(values: list[float]) -> float:
    known = [each for each in values if math.isfinite(each)]
    if len(known) < 2:
        return -math.inf
    deviation = statistics.stdev(known)
    return statistics.fmean(known) / deviation if deviation > 1e-12 else 0.0


def naive_cscv(returns: Floats, blocks: int) -> list[tuple[float, float, float]]:
    """Sharpe ratio in and out of sample and logit of the chosen set, a half after the other."""
    left_out = len(returns) % blocks
    length = len(returns) // blocks
    sets = returns.shape[1]
    results = []
    for half in combinations(range(blocks), blocks // 2):
        rows = [(row - left_out) // length in half for row in range(left_out, len(returns))]
        inside = [
            naive_sharpe([x for x, taken in zip(column, rows, strict=True) if taken])
            for column in returns[left_out:].T.tolist()
        ]
        outside = [
            naive_sharpe([x for x, taken in zip(column, rows, strict=True) if not taken])
            for column in returns[left_out:].T.tolist()
        ]
        best = [s for s in range(sets) if same(inside[s], max(inside))]
        chosen = min(best, key=lambda s: outside[s])
        shown = outside[chosen]
        equal = sum(same(each, shown) for each in outside)
        below = sum(each < shown and not same(each, shown) for each in outside)
        rank = statistics.fmean(range(below + 1, below + equal + 1)) / (sets + 1)
        results.append((inside[chosen], shown, math.log(rank / (1 - rank))))
    return results


def same(one: float, other: float) -> bool:
    return one == other or math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)


@st.composite
def awkward_returns(draw: st.DrawFn) -> tuple[Floats, int]:
    """Sets that are equal, idle now and then, ruined, or full of holes; odd numbers of periods."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    blocks = draw(st.sampled_from([2, 4, 6]))
    periods = draw(st.integers(2 * blocks, 5 * blocks + 3))
    columns = []
    kinds = st.sampled_from(["noise", "idle", "ruin", "holes", "twin"])
    for kind in draw(st.lists(kinds, min_size=2, max_size=6)):
        column = random.normal(draw(st.sampled_from([-0.005, 0.0, 0.01])), 0.01, periods)
        at = draw(st.integers(0, periods - 1))
        match kind:
            case "idle":
                column[at:] = 0.0
            case "ruin":
                column[at], column[at + 1 :] = -1.0, NAN
            case "holes":
                column[random.random(periods) < 0.3] = NAN
            case "twin" if columns:
                column = columns[0]
            case _:
                pass
        columns.append(column)
    return np.column_stack(columns), blocks


@settings(deadline=None)
@given(awkward_returns())
def test_pbo_is_that_of_a_naive_implementation(case: tuple[Floats, int]) -> None:
    returns, blocks = case
    found = probability_of_backtest_overfitting(returns, blocks=blocks)
    expected = naive_cscv(returns, blocks)
    inside, outside, logits = zip(*expected, strict=True)
    assert found.in_sample.tolist() == pytest.approx(inside, rel=1e-6, abs=1e-9)
    assert found.out_of_sample.tolist() == pytest.approx(outside, rel=1e-6, abs=1e-9)
    assert found.logits.tolist() == pytest.approx(logits, abs=1e-9)
    half_counts = [(each < -1e-12) + (abs(each) < 1e-12) / 2 for each in logits]
    assert found.pbo == pytest.approx(statistics.fmean(half_counts))
    assert found.loss_probability == pytest.approx(statistics.fmean(x < 0 for x in outside))
    assert (found.sets, found.blocks) == (returns.shape[1], blocks)
    assert found.periods + found.periods_left_out == len(returns)


@settings(deadline=None)
@given(awkward_returns(), st.randoms(use_true_random=False))
def test_pbo_does_not_change_with_the_order_of_sets(case: tuple[Floats, int], random) -> None:
    returns, blocks = case
    order = list(range(returns.shape[1]))
    random.shuffle(order)
    assert_same(
        probability_of_backtest_overfitting(returns, blocks=blocks),
        probability_of_backtest_overfitting(returns[:, order], blocks=blocks),
    )


@settings(deadline=None)
@given(awkward_returns(), st.sampled_from([0.25, 8.0]))
def test_pbo_does_not_change_with_the_scale_of_returns(
    case: tuple[Floats, int], scale: float
) -> None:
    returns, blocks = case
    assert_same(
        probability_of_backtest_overfitting(returns, blocks=blocks),
        probability_of_backtest_overfitting(returns * scale, blocks=blocks),
    )


def assert_same(one: BacktestOverfitting, other: BacktestOverfitting) -> None:
    """Bit for bit."""
    for name in one.__struct_fields__:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), name)


def noise(seed: int, periods: int, sets: int) -> Floats:
    return np.random.default_rng(seed).normal(0.0, 0.01, (periods, sets))


def test_pbo_has_the_same_bits_however_the_array_lies_in_memory_and_is_chunked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    returns = noise(5, 83, 30)
    whole = probability_of_backtest_overfitting(returns, blocks=8)
    assert_same(whole, probability_of_backtest_overfitting(np.asfortranarray(returns), blocks=8))
    monkeypatch.setattr(overfitting, "_CHUNK_CELLS", 30 * 4)
    assert_same(whole, probability_of_backtest_overfitting(returns, blocks=8))
    monkeypatch.setattr(overfitting, "_CHUNK_CELLS", 1)
    assert_same(whole, probability_of_backtest_overfitting(returns, blocks=8))


@pytest.mark.parametrize("sets", [2, 3, 20])
def test_pbo_of_pure_noise_is_one_half_on_average(sets: int) -> None:
    found = [probability_of_backtest_overfitting(noise(seed, 96, sets), blocks=8).pbo
             for seed in range(300)]  # fmt: skip
    assert statistics.fmean(found) == pytest.approx(0.5, abs=0.05)


def test_pbo_of_one_good_set_among_noise_is_near_zero() -> None:
    returns = noise(3, 1000, 100)
    returns[:, 42] += 0.004
    found = probability_of_backtest_overfitting(returns)
    assert found.pbo < 0.001
    assert found.loss_probability < 0.001
    assert len(found.logits) == 12_870


def test_pbo_of_sets_that_do_well_in_turns_is_near_one() -> None:
    # Each set earns in blocks of its own and loses in the others: what was best will be worst.
    returns = noise(4, 320, 16)
    for block in range(16):
        returns[20 * block : 20 * (block + 1), block] += 0.05
    returns -= returns.mean(axis=0)
    found = probability_of_backtest_overfitting(returns)
    assert found.pbo > 0.99
    assert found.degradation_slope < -0.5


def test_pbo_of_equal_sets_says_nothing() -> None:
    found = probability_of_backtest_overfitting(np.repeat(noise(1, 64, 1), 5, axis=1), blocks=4)
    assert found.pbo == 0.5
    assert found.logits.tolist() == [0.0] * 6


def test_pbo_when_no_set_trades_is_one_half_without_a_loss() -> None:
    found = probability_of_backtest_overfitting(np.zeros((40, 4)), blocks=4)
    assert (found.pbo, found.loss_probability) == (0.5, 0.0)
    assert math.isnan(found.degradation_slope)


def test_pbo_of_returns_with_a_constant_in_them_has_no_spread_there() -> None:
    steady = np.full((40, 1), 0.01)
    found = probability_of_backtest_overfitting(np.hstack([steady, noise(2, 40, 2)]), blocks=4)
    assert np.abs(found.in_sample).max() < 10.0


def test_ruined_set_ranks_below_one_that_only_loses() -> None:
    returns = noise(6, 40, 2) - 0.02
    returns[:20, 0] = 0.02 + noise(7, 20, 1)[:, 0]
    returns[20:, 0] = NAN
    found = probability_of_backtest_overfitting(returns, blocks=2)
    # Chosen in the first half, gone in the second; and the other way round the other one is chosen.
    assert found.out_of_sample[0] == -np.inf
    assert found.logits[0] == pytest.approx(math.log(0.5))
    assert found.loss_probability == 1.0


@pytest.mark.parametrize(
    ("periods", "sets", "blocks", "defined"),
    [(32, 2, 16, True), (31, 2, 16, False), (32, 1, 16, False), (0, 5, 16, False),
     (8, 0, 4, False), (4, 2, 2, True), (3, 2, 2, False)],
)  # fmt: skip
def test_pbo_of_too_few_periods_or_sets_is_nan(
    periods: int, sets: int, blocks: int, defined: bool
) -> None:
    found = probability_of_backtest_overfitting(noise(1, periods, sets), blocks=blocks)
    assert math.isnan(found.pbo) is not defined
    assert math.isnan(found.loss_probability) is not defined
    assert (len(found.logits) > 0) is defined
    if not defined:
        assert math.isnan(found.degradation_slope)


def test_first_periods_are_left_out_where_blocks_do_not_fit() -> None:
    returns = noise(8, 43, 6)
    found = probability_of_backtest_overfitting(returns, blocks=8)
    assert (found.periods, found.periods_left_out) == (40, 3)
    assert found.pbo == probability_of_backtest_overfitting(returns[3:], blocks=8).pbo
    returns[:3] = NAN
    assert_same(found, probability_of_backtest_overfitting(returns, blocks=8))


@pytest.mark.parametrize("blocks", [0, 1, 7, -2, 22])
def test_pbo_with_a_number_of_blocks_that_can_not_be_halved_says_so(blocks: int) -> None:
    with pytest.raises(FixInput, match=f"blocks: {blocks} blocks .*even number from 2 to 20"):
        probability_of_backtest_overfitting(noise(1, 64, 3), blocks=blocks)


def test_pbo_of_one_dimension_says_so() -> None:
    with pytest.raises(FixInput, match=r"1 dimensions.*\(periods, sets\)"):
        probability_of_backtest_overfitting(noise(1, 64, 1)[:, 0])


def test_pbo_of_a_large_sweep_stays_small_in_memory() -> None:
    returns = noise(9, 365, 1000)
    tracemalloc.start()
    probability_of_backtest_overfitting(returns)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 30e6


# --- Verdict -----------------------------------------------------------------------------------


def test_verdict_holds_what_the_statistics_say() -> None:
    returns = noise(10, 250, 40)
    sharpes = np.array([performance.sharpe_ratio(each, periods_per_year=1) for each in returns.T])
    best = returns[:, np.argmax(sharpes)]
    tally = TrialTally(trials=400, measured=390, variance_of_sharpes=0.004)
    verdict = judge(best, tally, returns, periods_per_year=252, blocks=8)
    assert verdict.trials == 400
    assert verdict.sharpe_ratio == sharpes.max()
    assert verdict.expected_max_sharpe == expected_max_sharpe(400, 0.004)
    assert verdict.psr == probabilistic_sharpe_ratio(best)
    assert verdict.dsr == deflated_sharpe_ratio(best, 400, 0.004)
    assert verdict.dsr < verdict.psr
    assert_same(verdict.cscv, probability_of_backtest_overfitting(returns, blocks=8))
    assert verdict.pbo == verdict.cscv.pbo


def test_sentences_of_the_papers_example() -> None:
    tally = TrialTally(trials=100, measured=100, variance_of_sharpes=PAPER_VARIANCE)
    returns = np.column_stack([SKEWED, noise(12, PAPER_PERIODS, 3)])
    dsr, pbo = judge(SKEWED, tally, returns, periods_per_year=250).sentences
    assert dsr == (
        "The best of 100 worthless sets is expected to show a Sharpe ratio of 1.79 a year by luck; "
        "the best set's 2.50 is above that with a confidence of 90.0 % (DSR; below the usual 95 %)."
    )
    assert pbo.startswith(
        "Over 12,870 ways to cut the history into halves, the set that was best in one half fell "
        "below the median of the 4 sets in the other in "
    )
    assert "% of them (PBO; blind choice: 50 %), and lost money there in " in pbo


def test_sentence_of_one_trial_and_of_a_sure_thing() -> None:
    one = TrialTally(trials=1, measured=1, variance_of_sharpes=NAN)
    dsr, pbo = judge(SKEWED, one, SKEWED[:, None], periods_per_year=250).sentences
    assert dsr == (
        "Only one set has been tried, so nothing was chosen: its Sharpe ratio of 2.50 a year is "
        "above zero with a confidence of more than 99.9 % (DSR; at least the usual 95 %)."
    )
    assert pbo == (
        "The probability of backtest overfitting (PBO) is not defined: it takes 2 sets and 32 "
        "periods, and there are 1 and 1,250."
    )


def test_sentences_of_what_is_not_defined_say_why() -> None:
    two = TrialTally(trials=2, measured=1, variance_of_sharpes=NAN)
    idle = np.zeros((20, 2))
    dsr, pbo = judge(idle[:, 0], two, idle, periods_per_year=252).sentences
    assert dsr.endswith("fewer than 3 periods with a return, or its returns have no spread.")
    assert pbo.endswith("it takes 2 sets and 32 periods, and there are 2 and 20.")
    dsr, _ = judge(SKEWED, two, idle, periods_per_year=252).sentences
    assert dsr.endswith("not defined: of 2 trials 1 had a Sharpe ratio, and it takes two.")


def test_sentences_read_as_certain_only_what_is() -> None:
    returns = noise(3, 1000, 10)
    returns[:, 4] += 0.01
    tally = TrialTally(trials=10, measured=10, variance_of_sharpes=1.0)
    verdict = judge(returns[:, 4], tally, returns, periods_per_year=252)
    assert (verdict.dsr, verdict.pbo) == (0.0, 0.0)
    dsr, pbo = verdict.sentences
    assert "with a confidence of less than 0.1 % (DSR; below" in dsr
    assert " in 0.0 % of them (PBO" in pbo
