"""What `make demo` leaves a reader with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Demo:
    """A folder with the demo's data and the examples, and what the demo printed."""

    folder: Path
    output: str
