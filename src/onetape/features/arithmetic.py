"""One operation of arithmetic on features, as rules."""

from __future__ import annotations

import math

from onetape.domain.rules import rule
from onetape.features.state import State

NAN = math.nan

ADD = 0
SUBTRACT = 1
MULTIPLY = 2
DIVIDE = 3
SUBTRACT_FROM = 4
DIVIDE_INTO = 5


class CombinedState(State):
    """State of `Combined`: nothing but which operation it is."""

    operation: int


@rule
def update_combined(state: CombinedState, left: float, right: float) -> float:
    """One operation on two numbers; NaN for a division by zero."""
    operation = state.operation
    if operation == ADD:
        return left + right
    if operation == SUBTRACT:
        return left - right
    if operation == MULTIPLY:
        return left * right
    if right == 0.0:
        return NAN
    return left / right


class CombinedWithNumberState(State):
    """State of `CombinedWithNumber`: the operation and its number."""

    operation: int
    number: float


@rule
def update_combined_with_number(state: CombinedWithNumberState, value: float) -> float:
    """One operation on a value and a constant number; NaN for a division by zero."""
    operation = state.operation
    number = state.number
    if operation == ADD:
        return value + number
    if operation == SUBTRACT:
        return value - number
    if operation == MULTIPLY:
        return value * number
    if operation == SUBTRACT_FROM:
        return number - value
    if operation == DIVIDE_INTO:
        return number / value if value != 0.0 else NAN
    return value / number if number != 0.0 else NAN
