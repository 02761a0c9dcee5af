"""The directory of a sweep: what is done is kept while it runs, and becomes two tables at the end.

| file              | holds                                                        | written       |
| ----------------- | ------------------------------------------------------------ | ------------- |
| `sweep.json`      | what the results depend on                                   | at the start  |
| `config.json`     | the session, its data pinned; a set runs again from it       | at the start  |
| `parts/`          | sets that are done, in blocks by number                      | meanwhile     |
| `sets.parquet`    | one row a set, in the order of the grid                      | when all done |
| `returns.parquet` | returns of the periods of each set, of 10,000 at most        | when all done |

A block holds the same sets however many workers there are and however often the sweep is resumed,
so the tables are the same byte for byte. Every file appears whole.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from onetape.domain.errors import ConfigError, DataError, TryAgain
from onetape.research.run_files import write_whole
from onetape.research.sweep_frame import NUMBER, RETURNS, SetRows, best_first
from onetape.research.sweep_plan import SweepPlan
from onetape.research.sweep_pool import NumberedSet
from onetape.research.sweep_worker import SetResult

if TYPE_CHECKING:
    import polars as pl

BLOCK_SETS = 1024
RETURNS_MAX = 10_000
"""Sets whose returns are kept: every n-th of the grid, and the best ones besides."""
BEST_SETS = 10
_ROW_GROUP = 8_192
_MAKE_ROOM = "make room"
_PARQUET: dict[str, Any] = {"compression": "zstd", "compression_level": 1}


class SweepStore:
    """Keeps the results of a sweep.

    Args:
        directory: Its directory, which exists.
        plan: What is run.
        description: What sweep.json says.

    Attributes:
        directory: As given.
        done: How many sets are done.
        total: How many sets there are.
        stride: Of every so manyth set the returns are kept.
    """

    def __init__(self, directory: Path, plan: SweepPlan, description: dict[str, Any]) -> None:
        kinds = [plan.kind.declared_params[name].type_name for name in plan.grid.names]
        self.directory = directory
        self.done = 0
        self._plan = plan
        self._description = description
        self._rows = SetRows(plan.grid, kinds)
        self._parts = directory / "parts"
        self.total: int = description["sets"]
        self.stride = -(-self.total // RETURNS_MAX)
        self._kept: dict[int, pl.DataFrame] = {}
        self._new: dict[int, list[tuple[NumberedSet, SetResult]]] = {}
        self._complete: set[int] = set()

    @property
    def sets_path(self) -> Path:
        """One row a set."""
        return self.directory / "sets.parquet"

    @property
    def returns_path(self) -> Path:
        """Returns of the periods."""
        return self.directory / "returns.parquet"

    @property
    def is_finished(self) -> bool:
        """Whether the tables are written."""
        return self.sets_path.exists()

    def begin(self, config_json: str) -> None:
        """Write what the sweep is.

        Raises:
            TryAgain: The disk is full.
        """
        with _room("make room and begin again"):
            text = json.dumps(self._description, indent=2, sort_keys=True)
            write_whole(self.directory / "sweep.json", f"{text}\n".encode())
            write_whole(self.directory / "config.json", config_json.encode())
            self._parts.mkdir()

    def resume(self) -> None:
        """Take up what an earlier run of the same sweep has done.

        Raises:
            ConfigError: The directory holds none, or one that differs; it says in what.
            DataError: Its files can't be read.
        """
        self._check_same()
        if self.is_finished:
            self.done = self.total
            shutil.rmtree(self._parts, ignore_errors=True)
            return
        import polars as pl

        self._parts.mkdir(exist_ok=True)
        for path in sorted(self._parts.glob("[0-9]*.parquet")):
            try:
                frame = pl.read_parquet(path)
                block = int(path.stem)
                whole = frame.height == self._size(block)
            except (pl.exceptions.PolarsError, OSError, ValueError) as error:
                raise DataError(f"it can't be read: {error}", where=str(path),
                                remedy="remove it; its sets are run again") from None  # fmt: skip
            self.done += frame.height
            if whole:
                self._complete.add(block)
            else:
                self._kept[block] = frame

    def _check_same(self) -> None:
        path = self.directory / "sweep.json"
        try:
            before = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        except (OSError, msgspec.DecodeError) as error:
            raise ConfigError(f"there is no sweep to resume: {error}", where=str(self.directory),
                              remedy="give the directory of a sweep") from None  # fmt: skip
        old = _plain(before)
        new = _plain(self._description)
        difference = _find_difference("", old, new)
        if difference is not None:
            place, was, is_now = difference
            raise ConfigError(
                f"the sweep was begun with {place} {was}, and now it is {is_now}",
                where=str(path),
                remedy="begin a new sweep, or give what it was begun with",
            )

    def missing(self) -> Iterator[NumberedSet]:
        """The sets that are still to be run, by number."""
        done = {
            number for frame in self._kept.values() for number in frame[NUMBER].to_list()
        }  # of the blocks that have begun; not of those that come later
        for number, values in enumerate(self._plan.sets()):
            if number // BLOCK_SETS not in self._complete and number not in done:
                yield NumberedSet(number, values)

    def add(self, each: NumberedSet, result: SetResult) -> None:
        """Take the result of a set."""
        self._new.setdefault(each.number // BLOCK_SETS, []).append((each, result))
        self.done += 1

    def flush(self) -> None:
        """Write what is new.

        Raises:
            TryAgain: The disk is full; what was written before is as it was.
        """
        import polars as pl

        for block in sorted(self._new):
            frame = self._rows.build(self._new[block])
            if block in self._kept:
                frame = pl.concat([self._kept[block], frame])
            frame = frame.sort(NUMBER)
            whole = frame.height == self._size(block)
            if whole:
                frame = self._drop_returns(frame)
            buffer = BytesIO()
            frame.write_parquet(buffer, **_PARQUET)
            with _room(_MAKE_ROOM):
                write_whole(self._parts / f"{block:09}.parquet", buffer.getvalue())
            del self._new[block]
            if whole:
                self._complete.add(block)
                self._kept.pop(block, None)
            else:
                self._kept[block] = frame

    def finish(self) -> None:
        """Make the tables of all sets, which must be done.

        Raises:
            TryAgain: The disk is full; the parts are as they were.
        """
        import polars as pl

        if self.is_finished:
            return
        parts = pl.scan_parquet(sorted(self._parts.glob("[0-9]*.parquet")))
        best = best_first(parts, self._plan.metric, BEST_SETS).select(NUMBER)
        best_numbers = best.collect(engine="streaming")[NUMBER].to_list()
        returns = parts.select(NUMBER, RETURNS).filter(
            ((pl.col(NUMBER) % self.stride == 0) | pl.col(NUMBER).is_in(best_numbers))
            & pl.col(RETURNS).is_not_null()
        )
        _sink(returns, self.returns_path)
        _sink(parts.drop(RETURNS), self.sets_path)
        shutil.rmtree(self._parts)

    def _size(self, block: int) -> int:
        """How many sets a block has."""
        return min(BLOCK_SETS, self.total - block * BLOCK_SETS)

    def _drop_returns(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Keep the returns of every n-th set, and of those that may be the best of all."""
        import polars as pl

        best = best_first(frame.lazy(), self._plan.metric, BEST_SETS).collect()[NUMBER].to_list()
        keep = (pl.col(NUMBER) % self.stride == 0) | pl.col(NUMBER).is_in(best)
        return frame.with_columns(pl.when(keep).then(pl.col(RETURNS)))


def _sink(frame: pl.LazyFrame, path: Path) -> None:
    """Write a table without ever holding all of it."""
    import polars as pl

    temporary = path.with_name(f".{path.name}.partial")
    with _room(_MAKE_ROOM):
        try:
            frame.sink_parquet(temporary, row_group_size=_ROW_GROUP, **_PARQUET)
            temporary.replace(path)
        except (OSError, pl.exceptions.ComputeError) as error:
            temporary.unlink(missing_ok=True)
            raise TryAgain(f"can't write: {error}", where=str(path)) from error


@contextmanager
def _room(remedy: str) -> Generator[None]:
    """Errors of writing, with what to do about them."""
    try:
        yield
    except OSError as error:
        where = str(error.filename or "")
        raise TryAgain(f"can't write: {error.strerror or error}", where=where,
                       remedy=remedy) from error  # fmt: skip
    except TryAgain as error:
        raise TryAgain(error.what, where=error.where, remedy=remedy) from error


def _plain(description: dict[str, Any]) -> dict[str, Any]:
    """What two runs of a sweep have in common: not the host, nor when the data was imported."""
    plain = msgspec.json.decode(msgspec.json.encode(description), type=dict[str, Any])
    plain.pop("host", None)
    for pin in plain.get("datasets", []):
        pin.pop("table_version", None)
    return plain


def _find_difference(place: str, old: Any, new: Any) -> tuple[str, str, str] | None:
    """Where two plain values differ first, and what stands there."""
    if old == new:
        return None
    if isinstance(old, dict) and isinstance(new, dict):
        shared = [key for key in new if key in old]
        for key in [*shared, *new, *old]:
            if old.get(key) != new.get(key):
                at = f"{place}.{key}" if place else str(key)
                return _find_difference(at, old.get(key), new.get(key))
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for at, (one, other) in enumerate(zip(old, new, strict=True)):
            if one != other:
                return _find_difference(f"{place}.{at}", one, other)
    return place, _shown(old), _shown(new)


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
