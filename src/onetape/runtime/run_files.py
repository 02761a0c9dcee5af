"""Files of a run's directory, whole or not there at all."""

from __future__ import annotations

from pathlib import Path

from onetape.domain.errors import TryAgain


def write_whole(path: Path, data: bytes) -> None:
    """Write a file under a temporary name, then give it its own.

    Raises:
        TryAgain: The file can't be written (disk full, no permission); `path` is as it was.
    """
    temporary = path.with_name(f".{path.name}.partial")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise TryAgain(
            f"can't write: {error.strerror or error}",
            where=str(path),
            remedy="make room, then `onetape report` the run again",
        ) from error
