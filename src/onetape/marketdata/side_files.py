"""The files beside the catalog that a session reads."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from onetape.domain.events import DatasetPin
from onetape.domain.instrument import InstrumentId


class SideFiles(NamedTuple):
    """Where they are; None: it reads none of that kind.

    See `read_actions`, `read_funding` and `read_fundamentals`.
    """

    actions: Path | None = None
    funding: Path | None = None
    fundamentals: Path | None = None


NO_FILES = SideFiles()


def pin_rows(
    timeframe: str, rows: Iterable[tuple[InstrumentId, int, str]]
) -> tuple[DatasetPin, ...]:
    """One pin for each instrument that has rows of a file, by name.

    Args:
        timeframe: What the file holds.
        rows: Instrument, time (ns UTC) and all that counts of each, in order; the hash is over
            the latter, a line each.
    """
    by_instrument: dict[InstrumentId, list[tuple[int, str]]] = {}
    for name, ts, line in rows:
        by_instrument.setdefault(name, []).append((ts, f"{line}\n"))
    return tuple(
        DatasetPin(
            instrument=name,
            timeframe=timeframe,
            table_version=0,
            content_hash=hashlib.sha256("".join(line for _, line in own).encode()).hexdigest(),
            rows=len(own),
            ts_first=own[0][0],
            ts_last=own[-1][0],
        )
        for name, own in sorted(by_instrument.items())
    )
