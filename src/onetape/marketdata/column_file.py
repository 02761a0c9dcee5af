"""Columns that are too long for memory: in a file that has no name, read through a map of it.

Whoever reads them takes them for arrays. What has been read stays in memory until `release`, so
memory does not grow with their length when it is called now and then.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from onetape.domain.errors import TryAgain

BLOCK_ROWS = 1 << 16
"""Rows that are looked at at once."""

MEMORY_VALUES = 1 << 20
"""Columns of no more values than this together stay in memory."""

_PAGE = mmap.ALLOCATIONGRANULARITY
_DISK = Path("/var/tmp")
"""Where long temporary files belong: `/tmp` is memory on many machines."""


class Releasing(Protocol):
    """What can let go of memory that holds nothing but what a file holds too."""

    def release(self) -> None:
        """Do so; values don't change."""
        ...


class ColumnFile:
    """Columns that are filled from the front, then read as arrays.

    The file lies in `$TMPDIR`, else in `/var/tmp` where there is one; it goes when the last array
    does, whatever happens to the process.

    Args:
        types: Type of each column.
        rows: How many rows each will have at most, or one number for all.

    Attributes:
        types: Type of each column.
    """

    def __init__(self, types: Mapping[str, npt.DTypeLike], rows: int | Mapping[str, int]) -> None:
        self.types = {name: np.dtype(each) for name, each in types.items()}
        room = rows if isinstance(rows, Mapping) else dict.fromkeys(types, rows)
        self._filled = dict.fromkeys(types, 0)
        self._map: mmap.mmap | None = None
        self._memory: dict[str, npt.NDArray[Any]] | None = None
        if sum(room.values()) <= MEMORY_VALUES:
            self._memory = {name: np.empty(room[name], each) for name, each in self.types.items()}
            return
        self._starts: dict[str, int] = {}
        length = 0
        for name, each in self.types.items():
            self._starts[name] = length
            length += -(-room[name] * each.itemsize // _PAGE) * _PAGE
        try:
            self._file = tempfile.TemporaryFile(buffering=0, dir=_folder())  # noqa: SIM115
            weakref.finalize(self, self._file.close)  # where it is never read
            self._file.truncate(length)
        except OSError as error:
            raise _refuse(error) from None

    def append(self, columns: Mapping[str, npt.NDArray[Any]]) -> None:
        """Write the next values of these columns.

        Raises:
            TryAgain: There is no room on the disk.
        """
        for name, column in columns.items():
            values = np.ascontiguousarray(column, self.types[name])
            first = self._filled[name]
            self._filled[name] = first + len(values)
            if self._memory is not None:
                self._memory[name][first : first + len(values)] = values
            elif len(values):
                self._write(name, first, values.data.cast("B"))

    def _write(self, name: str, first: int, left: memoryview) -> None:
        # Written and not assigned through a map: a full disk is an error then, not a signal.
        at = self._starts[name] + first * self.types[name].itemsize
        try:
            while left:
                self._file.seek(at)
                written = self._file.write(left) or 0
                left, at = left[written:], at + written
        except OSError as error:
            raise _refuse(error) from None

    def read(self) -> dict[str, npt.NDArray[Any]]:
        """What has been appended, by column; no more will be."""
        if self._memory is not None:
            return {name: each[: self._filled[name]] for name, each in self._memory.items()}
        if self._map is None:
            # A copy on writing: compiled code wants arrays that could be written to.
            self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_COPY)
            self._file.close()
        return {
            name: np.frombuffer(self._map, each, self._filled[name], self._starts[name])
            for name, each in self.types.items()
        }

    def release(self) -> None:
        """Let go of the memory of what has been read; it is read again when it is asked for."""
        if self._map is not None and hasattr(self._map, "madvise"):
            self._map.madvise(mmap.MADV_DONTNEED)


def _folder() -> str | None:
    if any(os.environ.get(each) for each in ("TMPDIR", "TEMP", "TMP")):
        return None
    return str(_DISK) if _DISK.is_dir() and os.access(_DISK, os.W_OK) else None


def _refuse(error: OSError) -> TryAgain:
    return TryAgain(
        f"rows can't be laid aside on disk: {error.strerror or error}",
        where=_folder() or tempfile.gettempdir(),
        remedy="make room there, or set TMPDIR to a folder on a disk with more",
    )
