"""The natural logarithm as a rule.

`math.log` is the C library's, or a vector library's where the compiler finds one, and its last bit
differs between them. This one is arithmetic only: the same bits in both hosts, on every machine.
"""

from __future__ import annotations

import math

from onetape.domain.rules import rule

NAN = math.nan
INFINITY = math.inf

ROOT_2 = 1.4142135623730951
ROOT_HALF = 0.7071067811865476
LN2_HIGH = 6.93147180369123816490e-01
"""ln 2 to 32 bits, so that its product with an exponent is exact."""
LN2_LOW = 1.90821492927058770002e-10


@rule
def compute_log(x: float) -> float:
    """Natural logarithm within 1 ulp; NaN unless x is positive and finite.

    x = 2^k * m with m between the roots of 1/2 and 2; ln m = 2 atanh(s), s = (m - 1) / (m + 1), by
    its Taylor series (|s| < 0.172: ten terms reach the last bit). Abramowitz & Stegun 4.1.28;
    the order of the additions is that of Ng (1993), fdlibm `e_log.c`.
    """
    if not 0.0 < x < INFINITY:
        return NAN
    k = 0
    while x > ROOT_2:
        x *= 0.5
        k += 1
    while x < ROOT_HALF:
        x *= 2.0
        k -= 1
    f = x - 1.0
    s = f / (2.0 + f)
    z = s * s
    series = z * (
        2 / 3 + z * (2 / 5 + z * (2 / 7 + z * (2 / 9 + z * (2 / 11 + z * (2 / 13 + z * (
            2 / 15 + z * (2 / 17 + z * (2 / 19 + z * (2 / 21)))))))))
    )  # fmt: skip
    half = 0.5 * f * f
    return k * LN2_HIGH - ((half - (s * (half + series) + k * LN2_LOW)) - f)
