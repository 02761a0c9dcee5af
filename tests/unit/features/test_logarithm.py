from __future__ import annotations

import math
import random
from decimal import Decimal, localcontext

import pytest

from onetape.features.logarithm import LN2_HIGH, LN2_LOW, ROOT_2, ROOT_HALF, compute_log


def error_in_ulp(x: float) -> float:
    with localcontext(prec=60):
        exact = Decimal(x).ln()
        return float(abs(Decimal(compute_log(x)) - exact) / Decimal(math.ulp(float(exact))))


def test_log_is_within_one_ulp_of_the_exact_one() -> None:
    generator = random.Random(3)
    near_one = [
        1 + generator.uniform(-1, 1) * 10 ** generator.uniform(-15, -1) for _ in range(3000)
    ]
    anywhere = [10 ** generator.uniform(-307, 308) for _ in range(1000)]
    middle = [generator.uniform(0.5, 2.5) for _ in range(1000)]
    edges = [ROOT_2, ROOT_HALF, math.nextafter(ROOT_2, 2), math.nextafter(ROOT_HALF, 0)]
    extremes = [5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 1 - 2**-53, 1 + 2**-52]
    assert max(map(error_in_ulp, near_one + anywhere + middle + edges + extremes)) < 1.0


def test_log_of_one_is_zero_and_of_powers_of_two_exact_multiples() -> None:
    assert compute_log(1.0) == 0.0
    assert math.log(2) == LN2_HIGH + LN2_LOW
    assert [compute_log(2.0**k) for k in (-3, 1, 10)] == [k * math.log(2) for k in (-3, 1, 10)]


@pytest.mark.parametrize("x", [0.0, -0.0, -1.0, math.inf, -math.inf, math.nan])
def test_log_of_what_has_none_is_no_number(x: float) -> None:
    assert math.isnan(compute_log(x))
