"""Sums that do not drift: over a window, and over all bars so far."""

from __future__ import annotations

import math

from onetape.domain.rules import rule
from onetape.features.estimator import State

NAN = math.nan


class SumState(State, kw_only=True):
    """State of a sum over a window: `ring`, `at` and `prefix` as in `SmaState`."""

    window: int
    ring: list[float]
    at: int = 0
    prefix: float = 0.0


@rule
def update_sum(state: SumState, value: float) -> float:
    """Sum of the last `window` values. Two-stack sum, amortized O(1). Ours."""
    ring = state.ring
    at = state.at
    total = state.prefix + value
    ring[at] = value
    at += 1
    if at < state.window:
        state.at = at
        state.prefix = total
        return ring[at] + total
    state.at = 0
    state.prefix = 0.0
    suffix = 0.0
    while at > 0:
        at -= 1
        suffix += ring[at]
        ring[at] = suffix
    return total


class TotalState(State):
    """State of a sum over all values so far: `lost` is what rounding took from `total`."""

    total: float = 0.0
    lost: float = 0.0


@rule
def update_total(state: TotalState, value: float) -> float:
    """Sum of all values so far, within 2 ulp of the exact one as long as signs don't cancel it.

    Neumaier (1974), "Rundungsfehleranalyse einiger Verfahren zur Summation endlicher Summen".
    """
    before = state.total
    total = before + value
    if abs(before) >= abs(value):
        state.lost += (before - total) + value
    else:
        state.lost += (value - total) + before
    state.total = total
    return total + state.lost
