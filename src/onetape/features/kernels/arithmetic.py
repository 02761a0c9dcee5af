"""One operation on two columns, or on a column and a number."""

from __future__ import annotations

import math

from onetape.features.arithmetic import (
    ADD,
    DIVIDE_INTO,
    MULTIPLY,
    SUBTRACT,
    SUBTRACT_FROM,
)
from onetape.features.kernels.memory import kernel, slots_of
from onetape.features.state import FloatColumn

NAN = math.nan


@kernel
def fill_combined(left: FloatColumn, right: FloatColumn, operation: int, out: FloatColumn) -> None:
    """The column of `Combined`."""
    one = slots_of(left, 0)
    other = slots_of(right, 0)
    result = slots_of(out, 0)
    if operation == ADD:
        for row in range(len(out)):
            result[row] = one[row] + other[row]
    elif operation == SUBTRACT:
        for row in range(len(out)):
            result[row] = one[row] - other[row]
    elif operation == MULTIPLY:
        for row in range(len(out)):
            result[row] = one[row] * other[row]
    else:
        for row in range(len(out)):
            ratio = one[row] / other[row]
            result[row] = ratio if other[row] != 0.0 else NAN


@kernel
def fill_combined_with_number(
    column: FloatColumn, number: float, operation: int, out: FloatColumn
) -> None:
    """The column of `CombinedWithNumber`."""
    values = slots_of(column, 0)
    result = slots_of(out, 0)
    if operation == ADD:
        for row in range(len(out)):
            result[row] = values[row] + number
    elif operation == SUBTRACT:
        for row in range(len(out)):
            result[row] = values[row] - number
    elif operation == MULTIPLY:
        for row in range(len(out)):
            result[row] = values[row] * number
    elif operation == SUBTRACT_FROM:
        for row in range(len(out)):
            result[row] = number - values[row]
    elif operation == DIVIDE_INTO:
        for row in range(len(out)):
            ratio = number / values[row]
            result[row] = ratio if values[row] != 0.0 else NAN
    else:  # the number is not zero, or the feature could not be made
        for row in range(len(out)):
            result[row] = values[row] / number
