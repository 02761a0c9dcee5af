"""What this process holds in memory, counted so exactly that a leak of bytes an event shows."""

from __future__ import annotations

import ctypes
import os
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class ProcessMemory(NamedTuple):
    """Of this process; 0 where the system does not say.

    `resident` is bytes of RAM, which the allocator and the system give back when they like.
    `allocated` is bytes that C code has asked for and not freed: SQLite's, numpy's, and Python's of
    more than 512 bytes, so those of long lists. `objects` counts Python's smaller pieces.
    """

    resident: int
    allocated: int
    objects: int


class _Mallinfo(ctypes.Structure):
    """`struct mallinfo2` of glibc 2.33 and later, mallinfo(3)."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks",
                     "uordblks", "fordblks", "keepcost")
    ]  # fmt: skip


def read_memory() -> ProcessMemory:
    """What this process holds now."""
    return ProcessMemory(_read_resident(), _read_allocated(), sys.getallocatedblocks())


def compute_rise(values: Sequence[int]) -> float:
    """How far a series rises from its first to its last value, whatever falls once.

    The median of what it moves over a quarter of its length, four times that: a fall lies between a
    third of such pairs, and the garbage of an hour can't hide what comes every minute.
    """
    apart = len(values) // 4
    moves = [after - before for before, after in zip(values, values[apart:], strict=False)]
    return statistics.median(moves) * (len(values) - 1) / apart


def _read_resident() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except FileNotFoundError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _read_allocated() -> int:
    try:
        ask = ctypes.CDLL(None).mallinfo2
    except AttributeError:  # another C library
        return 0
    ask.restype = _Mallinfo
    found = ask()
    return int(found.uordblks) + int(found.hblkhd)
