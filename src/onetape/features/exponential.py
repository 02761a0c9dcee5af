"""An exponential whose last bit is the same on every machine and in both hosts.

As `onetape.features.logarithm`: a C library's `exp` differs in the last bit from machine to
machine, so rules can't use it.
"""

from __future__ import annotations

import math

from onetape.domain.rules import rule

LOWEST = -700.0
"""Below this the value counts as 0; exp(-700) is about 1e-304."""
HIGHEST = 700.0
LOG_2_HIGH = 0.693147180369123816490
"""The leading bits of ln 2, of which small multiples are exact (Cody, Waite 1980)."""
LOG_2_LOW = 1.90821492927058770002e-10
PER_LOG_2 = 1.44269504088896338700


@rule
def compute_exp(value: float) -> float:
    """E to the power of `value`, within 2 units of the last place; 0 below -700, NaN above 700.

    2^k exp(r) with |r| <= ln(2) / 2, by the Taylor series of 14 terms.
    """
    if math.isnan(value) or value > HIGHEST:
        return math.nan
    if value < LOWEST:
        return 0.0
    power = math.floor(value * PER_LOG_2 + 0.5)
    rest = value - power * LOG_2_HIGH - power * LOG_2_LOW
    result = 1.0
    term = 14.0
    while term > 0.5:
        result = 1.0 + rest * result / term
        term -= 1.0
    factor = 2.0
    if power < 0:
        factor = 0.5
        power = -power
    while power > 0:
        if power % 2 == 1:
            result *= factor
        factor *= factor
        power = power // 2
    return result
