"""`FeatureRows`: feature columns as the rows that strategies see."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import repeat
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt


class FeatureRows:
    """Features by name, a float attribute each.

    Args:
        columns: By name, float64 of shape (rows,) in the order of the timeline.

    Attributes:
        make: Makes a row of the values of all features, in their order.
    """

    def __init__(self, columns: Mapping[str, npt.NDArray[np.float64]]) -> None:
        self._columns = columns
        self.make: Callable[..., Any] = msgspec.defstruct(
            "Features", [(column, float) for column in columns], frozen=True, gc=False
        )

    def between(self, start: int, stop: int) -> Iterator[Any]:
        """Those of the timeline's rows [start, stop); None each where there are no features."""
        if not self._columns:
            return repeat(None, stop - start)
        return map(self.make, *(each[start:stop].tolist() for each in self._columns.values()))

    def at(self, row: int) -> Any:
        """Those of one row; None when there are no features."""
        if not self._columns:
            return None
        return self.make(*(float(each[row]) for each in self._columns.values()))
