"""Which seeds a test draws: the same few each time, or many and fresh ones where somebody asks."""

from __future__ import annotations

import os


def draw_seeds(variable: str, default: int) -> range:
    """As many seeds as the environment says in `variable`, from `ONETAPE_FIRST_SEED` (0) on."""
    first = int(os.environ.get("ONETAPE_FIRST_SEED", "0"))
    return range(first, first + int(os.environ.get(variable, default)))
