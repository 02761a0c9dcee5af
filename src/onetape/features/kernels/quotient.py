"""Division by a whole number that stays the same, to the same bits, without dividing.

A processor divides four numbers in the time of sixteen multiplications. With the rounded inverse y
of the divisor b, q = a y is within two units of the last place of a / b; the rest r = a - b q is
exact in one fused operation, and q + r y, rounded once, is a / b as a division rounds it: Markstein
(1990), "Computation of Elementary Functions on the IBM RISC System/6000 Processor".

Here the proof is short. q + r y misses a / b by |r (y - 1 / b)|, at most 2^-51 units of the last
place. For whole b below 2^40, a / b is 2^-41 units or more away from every point halfway between
two floats, because a - b m is a multiple of half a unit for each such point m, and not zero: b m
has more digits than a float. So both round to the same. It needs room for the rest: neither may
overflow or lose digits to the least exponent, which `is_extreme` asks.
"""

from __future__ import annotations

from typing import Any

from llvmlite import binding
from numba import types

from onetape.features.kernels.lanes import multiply_add_lanes, negative, size_of
from onetape.features.kernels.memory import intrinsic, kernel

GREATEST = 2.0**1000
LEAST = 2.0**-900


def _find_fused() -> bool:
    if binding.get_process_triple().startswith(("aarch64", "arm64")):
        return True
    return bool(binding.get_host_cpu_features().get("fma", False))


HAS_FUSED = _find_fused()
"""Whether the processor multiplies and adds with one rounding; without, it is divided."""


@intrinsic
def multiply_add(_typing: Any, _one: Any, _other: Any, _more: Any) -> Any:
    """In compiled code: the product of two float64 plus a third, rounded once."""

    def generate(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return builder.fma(*values)

    return types.float64(types.float64, types.float64, types.float64), generate


@kernel
def is_extreme(dividend: float) -> bool:
    """Whether `divide` could err: a NaN, or a number out of the middle of the range but zero."""
    size = abs(dividend)
    fits = ((size >= LEAST) & (size <= GREATEST)) | (size == 0.0)
    return not (fits & HAS_FUSED)


@kernel
def divide(dividend: float, divisor: float, inverse: float) -> float:
    """`dividend / divisor` for a whole divisor from 1 to 2^40 and its inverse; not of -0.0."""
    if not HAS_FUSED:
        return dividend / divisor
    quotient = dividend * inverse
    rest = multiply_add(-quotient, divisor, dividend)
    return multiply_add(rest, inverse, quotient)


@kernel
def have_room(dividends: Any) -> Any:
    """Whether `divide_lanes` can't err, lane by lane: the opposite of `is_extreme`."""
    sizes = size_of(dividends)
    return ((sizes >= LEAST) & (sizes <= GREATEST)) | (sizes == 0.0)


@kernel
def divide_lanes(dividends: Any, divisors: Any, inverses: Any) -> Any:
    """`divide` of lanes."""
    if not HAS_FUSED:
        return dividends / divisors
    quotients = dividends * inverses
    rests = multiply_add_lanes(negative(quotients), divisors, dividends)
    return multiply_add_lanes(rests, inverses, quotients)
