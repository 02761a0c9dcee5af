from __future__ import annotations

import math
from statistics import fmean, pstdev

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onetape.domain.errors import ConfigError
from onetape.execution.simulated.latency import (
    LatencyModel,
    build_latency,
    compute_hash32,
    compute_latency_key,
    compute_latency_ns,
)

MS = 1_000_000
MODEL = LatencyModel(mean_ms=10, std_ms=2)
GOLDEN = [9533203, 11095703, 8552734, 9197265]


def naive_hash32(word: int) -> int:
    with np.errstate(over="ignore"):
        bits = np.uint32(word)
        bits ^= bits >> np.uint32(16)
        bits *= np.uint32(0x7FEB352D)
        bits ^= bits >> np.uint32(15)
        bits *= np.uint32(0x846CA68B)
        bits ^= bits >> np.uint32(16)
    return int(bits)


@given(st.integers(0, 2**32 - 1))
def test_hash32_equals_unsigned_arithmetic(word: int) -> None:
    assert compute_hash32(word) == naive_hash32(word)


def test_latency_without_deviation_is_the_mean() -> None:
    terms = build_latency(LatencyModel(mean_ms="1.5"), seed=1)
    assert {compute_latency_ns(terms, counter) for counter in range(100)} == {1_500_000}


def test_latency_of_default_model_is_none() -> None:
    assert compute_latency_ns(build_latency(LatencyModel(), seed=1), 5) == 0


def test_latency_is_the_same_in_every_run() -> None:
    terms = build_latency(MODEL, seed=42)
    assert [compute_latency_ns(terms, counter) for counter in (0, 1, 2, 10**12)] == GOLDEN


def test_latency_has_mean_deviation_and_shape_of_the_normal() -> None:
    terms = build_latency(MODEL, seed=7)
    draws = [compute_latency_ns(terms, counter) for counter in range(20_000)]
    assert fmean(draws) == pytest.approx(10 * MS, abs=3 * 2 * MS / math.sqrt(20_000))
    assert pstdev(draws) == pytest.approx(2 * MS, rel=0.02)
    for deviations, share in ((1, 0.6827), (2, 0.9545), (3, 0.9973)):
        inside = sum(abs(draw - 10 * MS) <= deviations * 2 * MS for draw in draws) / len(draws)
        assert inside == pytest.approx(share, abs=0.011)


def test_latency_of_neighbors_is_independent() -> None:
    for seed, other in ((1, 1), (1, 2), (0, 2**32), (5, -5)):
        lag = int(seed == other)
        here = build_latency(MODEL, seed)
        there = build_latency(MODEL, other)
        pairs = [
            (compute_latency_ns(here, n), compute_latency_ns(there, n + lag)) for n in range(4000)
        ]
        assert abs(np.corrcoef(np.array(pairs).T)[0, 1]) < 4 / math.sqrt(4000)


def test_latency_is_never_negative() -> None:
    terms = build_latency(LatencyModel(mean_ms=1, std_ms=5), seed=3)
    draws = [compute_latency_ns(terms, counter) for counter in range(2000)]
    assert min(draws) == 0
    assert max(draws) <= 31 * MS


@given(st.integers(-(2**63), 2**63 - 1))
def test_latency_key_is_32_bits_of_any_seed(seed: int) -> None:
    assert 0 <= compute_latency_key(seed) < 2**32


@pytest.mark.parametrize(
    ("model", "key"),
    [
        (LatencyModel(mean_ms=-1), "mean_ms"),
        (LatencyModel(mean_ms="0.0000001"), "mean_ms"),
        (LatencyModel(std_ms=3_600_001), "std_ms"),
        (LatencyModel(std_ms="fast"), "std_ms"),
    ],
)
def test_latency_of_bad_values_is_refused_with_its_place(model: LatencyModel, key: str) -> None:
    with pytest.raises(ConfigError) as refused:
        build_latency(model, seed=0)
    assert f"execution.latency.{key}" in str(refused.value)
