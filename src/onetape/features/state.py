"""What estimators are made of: states, columns, windows."""

from __future__ import annotations

from typing import Annotated

import msgspec
import numpy as np
import numpy.typing as npt

FloatColumn = npt.NDArray[np.float64]
"""A feature or a bar column, float64 of shape (rows,)."""

Window = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
"""A count of bars."""


class State(msgspec.Struct):
    """What an estimator remembers: fields of int, float, or list[float] of fixed length.

    `update` mutates it in place. It runs on this object in the Python host and on a block of memory
    of the same fields in the compiled host, so no list may grow or shrink, and an int field takes
    ints only (the compiled host would cut off a fraction).
    """
