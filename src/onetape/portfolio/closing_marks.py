"""Marks at the closing side: what a position is worth to whoever would take it over now.

*Marks*: a long at the best bid, a short at the best ask that stand behind the row. *Ignores*: their
sizes, and what closing costs. Where a side is empty, the middle of the newest row that had both
stands for it. *Units*: prices. *Source*: IFRS 13, 70 and 71, which permit the bid for what is owned
and the ask for what is owed, and the middle for both.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def closing_prices(side: Floats, close: Floats) -> Floats:
    """What positions are marked at behind each row: its bid (or ask), 0 where there is none."""
    return np.where(side > 0, side, close)
