"""The directory of a sweep: what is done is kept while it runs, and becomes two tables at the end.

| file              | holds                                                        | written       |
| ----------------- | ------------------------------------------------------------ | ------------- |
| `sweep.json`      | what the results depend on                                   | at the start  |
| `config.json`     | the session, its data pinned; a set runs again from it       | at the start  |
| `parts/`          | sets that are done, in blocks by number                      | meanwhile     |
| `sets.parquet`    | one row a set, in the order of the grid                      | when all done |
| `returns.parquet` | returns of the periods, of a bounded number of sets          | when all done |

A block holds the same sets however many workers there are and however often the sweep is resumed,
so the tables are the same byte for byte. Every file appears whole. Memory does not grow with the
number of sets.
"""

from __future__ import annotations

import heapq
import json
import math
import shutil
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from onetape.domain.errors import ConfigError, DataError, TryAgain
from onetape.portfolio.performance import Floats
from onetape.research.sweep_difference import find_difference
from onetape.research.sweep_frame import NUMBER, RETURNS, SetRows, best_first, rank_result, ranking
from onetape.research.sweep_plan import SweepPlan
from onetape.research.sweep_pool import NumberedSet
from onetape.research.sweep_worker import SetResult
from onetape.runtime.run_files import write_whole

if TYPE_CHECKING:
    import polars as pl

BLOCK_SETS = 1024
RETURNS_SETS_MAX = 10_000
RETURNS_CELLS_MAX = 8_000_000
"""Returns are kept of every n-th set of the grid, and of the best ones besides: of so many sets, or
so many returns (64 MB), at most."""
BEST_SETS = 10
_ROW_GROUP = 8_192
_RETURNS_ROW_GROUP = 256
_MAKE_ROOM = "make room"
_PARQUET: dict[str, Any] = {"compression": "zstd", "compression_level": 1}


class _Block:
    """The sets of a block that are done: rows on disk, rows since, and the returns to keep."""

    def __init__(self) -> None:
        self.kept: pl.DataFrame | None = None
        self.new: list[tuple[Any, ...]] = []
        self.returns: dict[int, Floats] = {}
        self._best: list[tuple[float, int]] = []

    def keep(self, number: int, returns: Floats, rank: float | None, stride: int) -> None:
        """Keep the returns of every n-th set, and of those that may be the best of all."""
        self.returns[number] = returns
        entry = (-math.inf if rank is None else rank, -number)
        if len(self._best) < BEST_SETS:
            heapq.heappush(self._best, entry)
            return
        worst = -heapq.heappushpop(self._best, entry)[1]
        if worst % stride:
            del self.returns[worst]


class SweepStore:
    """Keeps the results of a sweep.

    Args:
        directory: Its directory, which exists.
        plan: What is run.
        description: What sweep.json says.
        periods: How many returns a set has.

    Attributes:
        directory: As given.
        done: How many sets are done.
        total: How many sets there are.
        stride: Of every so manyth set the returns are kept.
    """

    def __init__(
        self, directory: Path, plan: SweepPlan, description: dict[str, Any], periods: int
    ) -> None:
        kinds = [plan.kind.declared_params[name].type_name for name in plan.grid.names]
        self.directory = directory
        self.done = 0
        self.total: int = description["sets"]
        kept = max(1, min(RETURNS_SETS_MAX, RETURNS_CELLS_MAX // max(periods, 1)))
        self.stride = -(-self.total // kept)
        self._plan = plan
        self._description = description
        self._rows = SetRows(plan.grid, kinds)
        self._parts = directory / "parts"
        self._blocks: dict[int, _Block] = {}
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
                self._load(int(path.stem), pl.read_parquet(path))
            except (pl.exceptions.PolarsError, OSError, ValueError) as error:
                raise DataError(f"it can't be read: {error}", where=str(path),
                                remedy="remove it; its sets are run again") from None  # fmt: skip

    def _load(self, number: int, frame: pl.DataFrame) -> None:
        self.done += frame.height
        if frame.height == self._size(number):
            self._complete.add(number)
            return
        block = self._blocks[number] = _Block()
        block.kept = frame.drop(RETURNS)
        ranks = frame.select(ranking(self._plan.metric)).to_series()
        for at, rank, returns in zip(frame[NUMBER], ranks, frame[RETURNS], strict=True):
            if returns is not None:
                block.keep(at, returns.to_numpy(), rank, self.stride)

    def _check_same(self) -> None:
        path = self.directory / "sweep.json"
        try:
            before = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        except (OSError, msgspec.DecodeError) as error:
            raise ConfigError(f"there is no sweep to resume: {error}", where=str(self.directory),
                              remedy="give the directory of a sweep") from None  # fmt: skip
        difference = find_difference(before, self._description)
        if difference:
            raise ConfigError(
                f"the sweep was begun with {difference}",
                where=str(path),
                remedy="begin a new sweep, or give what it was begun with",
            )

    def missing(self) -> Iterator[NumberedSet]:
        """The sets that are still to be run, by number."""
        done = {
            number
            for block in self._blocks.values()
            if block.kept is not None
            for number in block.kept[NUMBER].to_list()
        }
        for number, values in enumerate(self._plan.sets()):
            if number // BLOCK_SETS not in self._complete and number not in done:
                yield NumberedSet(number, values)

    def add(self, each: NumberedSet, result: SetResult) -> None:
        """Take the result of a set."""
        block = self._blocks.setdefault(each.number // BLOCK_SETS, _Block())
        block.new.append(self._rows.make(each, result))
        if not isinstance(result, str):
            rank = rank_result(result, self._plan.metric)
            block.keep(each.number, result.returns, rank, self.stride)
        self.done += 1

    def flush(self) -> None:
        """Write what is new.

        Raises:
            TryAgain: The disk is full; what was written before is as it was.
        """
        import polars as pl

        for number, block in sorted(self._blocks.items()):
            if not block.new:
                continue
            frame = self._rows.build(block.new)
            if block.kept is not None:
                frame = pl.concat([block.kept, frame])
            frame = frame.sort(NUMBER)
            buffer = BytesIO()
            self._rows.add_returns(frame, block.returns).write_parquet(buffer, **_PARQUET)
            with _room(_MAKE_ROOM):
                write_whole(self._parts / f"{number:09}.parquet", buffer.getvalue())
            block.new = []
            block.kept = frame
            if frame.height == self._size(number):
                self._complete.add(number)
                del self._blocks[number]

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
        _sink(returns, self.returns_path, _RETURNS_ROW_GROUP)
        _sink(parts.drop(RETURNS), self.sets_path, _ROW_GROUP)
        shutil.rmtree(self._parts)

    def _size(self, block: int) -> int:
        """How many sets a block has."""
        return min(BLOCK_SETS, self.total - block * BLOCK_SETS)


def _sink(frame: pl.LazyFrame, path: Path, row_group: int) -> None:
    """Write a table without ever holding all of it."""
    import polars as pl

    temporary = path.with_name(f".{path.name}.partial")
    with _room(_MAKE_ROOM):
        try:
            frame.sink_parquet(temporary, row_group_size=row_group, **_PARQUET)
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
