"""The files beside the catalog that a session reads."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class SideFiles(NamedTuple):
    """Where they are; None: it reads none of that kind.

    See `read_actions`, `read_funding` and `read_fundamentals`.
    """

    actions: Path | None = None
    funding: Path | None = None
    fundamentals: Path | None = None


NO_FILES = SideFiles()
