"""One Delta table in a folder, local or in an object store: open, list, read, commit or not."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import unquote

from onetape.domain.errors import DataError, SourceUnavailable, TryAgain
from onetape.marketdata.parquet_pages import DamagedPage, check_pages
from onetape.marketdata.storage import (
    describe_failure,
    is_remote,
    locate,
    read_options,
    storage_options,
)

if TYPE_CHECKING:
    import polars as pl
    from deltalake import DeltaTable

Written = TypeVar("Written")

_METADATA_KEY = "onetape"
_CONFIGURATION = {
    "delta.enableExpiredLogCleanup": "false",
    "delta.logRetentionDuration": "interval 36500 days",
    "delta.deletedFileRetentionDuration": "interval 36500 days",
}
"""A tape pins a table version for good, so no version may expire."""


def open_table(path: Path, version: int | None = None) -> DeltaTable | None:
    """The table at a version (default: the newest); None where there is no table yet.

    Raises:
        DataError: The table is damaged or has no such version.
    """
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError, TableNotFoundError

    try:
        return DeltaTable(locate(path), version=version, storage_options=storage_options(path))
    except TableNotFoundError:
        return None
    except (DeltaError, OSError) as error:
        if failure := describe_failure(error, path):
            raise failure from None
        newest = None if version is None else _newest_version(path)
        if version is not None and newest is not None and newest < version:
            raise DataError(f"there is no version {version}: the newest is {newest}",
                            where=locate(path)) from None  # fmt: skip
        what = "the table" if version is None else f"version {version} of the table"
        raise DataError(
            f"{what} can't be opened: {_first_line(error)}", where=locate(path)
        ) from None


def _newest_version(path: Path) -> int | None:
    """None where the table can't be opened at all."""
    try:
        table = open_table(path)
    except DataError:
        return None
    return None if table is None else table.version()


def list_files(table: DeltaTable, path: Path) -> pl.DataFrame:
    """One row for each data file: `file`, `num_records`, `partition.*`, `min.*` and `max.*`."""
    import polars as pl

    files = pl.DataFrame(table.get_add_actions(flatten=True))
    # delta-rs quotes the paths in its log, and its file_uris() quotes them once more.
    names = [f"{locate(path)}/{unquote(name)}" for name in files["path"]]
    return files.with_columns(pl.Series("file", names, pl.String))


def read_files(
    files: Sequence[str],
    columns: Sequence[str],
    path: Path,
    schema: Mapping[str, pl.DataType | type[pl.DataType]] | None = None,
) -> pl.DataFrame:
    """These columns of these files, one after the other.

    With a `schema`, a column that a file does not have, since the table has grown, is null there.

    Raises:
        DataError: A file is gone or damaged.
    """
    import polars as pl

    try:
        if not is_remote(path):  # a store compares checksums by itself
            for file in files:
                check_pages(Path(file))
        if schema is not None:
            return pl.scan_parquet(
                list(files), schema={name: schema[name] for name in columns}, glob=False,
                hive_partitioning=False, missing_columns="insert", extra_columns="ignore",
                storage_options=read_options(path),
            ).collect()  # fmt: skip
        return pl.read_parquet(
            list(files), columns=list(columns), glob=False, hive_partitioning=False,
            storage_options=read_options(path),
        )  # fmt: skip
    except (
        pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, DamagedPage
    ) as error:  # fmt: skip
        if failure := describe_failure(error, path):
            raise failure from None
        raise DataError(
            f"a data file can't be read: {_first_line(error)}", where=locate(path),
            remedy="restore the folder from a copy, or import again into a new one",
        ) from None  # fmt: skip


def read_metadata(table: DeltaTable) -> dict[int, dict[str, Any]]:
    """What `commit` recorded with each version."""
    return {each["version"]: each.get(_METADATA_KEY, {}) for each in table.history()}


def commit(
    path: Path,
    table: DeltaTable | None,
    frame: pl.DataFrame,
    *,
    partition_by: Sequence[str] = (),
    replace_where: str | None = None,
    metadata: dict[str, Any] | None = None,
) -> None:
    """Adds the rows of `frame` in one new version, or leaves the table as it was.

    A column that the table does not have is added to it; older rows have null there.

    Args:
        path: Folder of the table.
        table: The newest version as the caller has read it; None creates the table.
        frame: The rows.
        partition_by: Partition columns of a new table.
        replace_where: SQL predicate of the rows that the new ones replace.
        metadata: Recorded with the version.

    Raises:
        TryAgain: Somebody else has written since `table` was opened.
        DataError: The rows can't be written (no space, no permission).
    """
    from deltalake import CommitProperties, write_deltalake

    properties = CommitProperties(
        custom_metadata={_METADATA_KEY: metadata or {}}, max_commit_retries=0
    )
    with _writing(path):
        if table is None:
            if not is_remote(path):
                path.mkdir(parents=True, exist_ok=True)
            write_deltalake(
                locate(path), frame, mode="error", partition_by=list(partition_by),
                configuration=_CONFIGURATION, commit_properties=properties,
                storage_options=storage_options(path),
            )  # fmt: skip
        elif replace_where is None:
            write_deltalake(
                table, frame, mode="append", commit_properties=properties,
                schema_mode=_find_growth(table, frame),
            )  # fmt: skip
        else:
            write_deltalake(
                table, frame, mode="overwrite", predicate=replace_where,
                commit_properties=properties, schema_mode=_find_growth(table, frame),
            )  # fmt: skip


def _find_growth(table: DeltaTable, frame: pl.DataFrame) -> Literal["merge"] | None:
    has_more = set(frame.columns) - {each.name for each in table.schema().fields}
    return "merge" if has_more else None


_ATTEMPTS = 20
_WAIT_S = 0.02
_FULL = tuple(f"(os error {number})" for number in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT))


def retry_when_raced(write: Callable[[], Written]) -> Written:
    """What `write` gives, which plans and commits anew each time somebody else was faster.

    Each time it waits a little longer, and two processes not equally long, so that one of two
    writers of many commits is not always the slower one.

    Raises:
        TryAgain: Others were faster twenty times.
        SourceUnavailable: The store can't be reached.
    """
    for attempt in range(1, _ATTEMPTS):
        try:
            return write()
        except SourceUnavailable:  # a store that is away; asking at once again does not help
            raise
        except TryAgain:
            time.sleep(_WAIT_S * attempt * (1 + os.getpid() % 7 / 7))
    return write()


def quote_text(text: str) -> str:
    """`text` as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


@contextmanager
def _writing(path: Path) -> Generator[None]:
    from deltalake.exceptions import CommitFailedError, DeltaError

    try:
        yield
    except CommitFailedError:
        raise TryAgain(
            "somebody else wrote to the table at the same time", where=locate(path),
            remedy="nothing was changed; run it again",
        ) from None  # fmt: skip
    except (DeltaError, OSError) as error:
        if "already exists" in str(error):
            raise TryAgain("somebody else made the table at the same time", where=locate(path),
                           remedy="run it again") from None  # fmt: skip
        if failure := describe_failure(error, path):
            raise failure from None
        if any(each in str(error) for each in _FULL):
            raise SourceUnavailable("the disk is full, nothing was changed", where=locate(path),
                                    remedy="free space and run it again") from None  # fmt: skip
        raise DataError(
            f"can't be written, nothing was changed: {_first_line(error)}", where=locate(path),
            remedy="look at the permissions of the folder",
        ) from None  # fmt: skip


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
