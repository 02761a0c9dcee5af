"""Where a catalog lies: a local folder, or a prefix in an object store such as `s3://bucket/data`.

| address                            | store                                    |
| ---------------------------------- | ---------------------------------------- |
| `s3://BUCKET/PREFIX`               | S3 and what speaks its protocol          |
| `gs://BUCKET/PREFIX`               | Google Cloud Storage                     |
| `az://CONTAINER/PREFIX`, `abfss:`  | Azure                                    |

Credentials never stand in a configuration, a command or a tape. They come from the store's usual
environment (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, a role of the machine, ...), or by reference:
`ONETAPE_STORAGE_<OPTION>=env:NAME` or `=file:PATH` sets the option of that name of delta-rs'
object store, for example `ONETAPE_STORAGE_AWS_SECRET_ACCESS_KEY=file:/run/secrets/s3`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from onetape.domain.errors import ConfigError, DataError, OnetapeError, SourceUnavailable

_PREFIX = "ONETAPE_STORAGE_"
_REMOTE = re.compile(r"^(s3|s3a|gs|az|abfs|abfss):/+(?=[^/])")
_RETRIES = {"max_retries": "3", "retry_timeout": "30s", "connect_timeout": "5s"}
"""Of delta-rs; short enough that a wrong address is told soon. The user's own options win."""

_MARKS = re.compile(r"\x1b\[[0-9;]*m|[^\x1b\x20-\x7e]+")
_SAID = 600
_AWAY = re.compile(r"client error|timed out|\b5\d\d [A-Z]|SlowDown|\b429\b")


def locate(path: Path) -> str:
    """The address of a folder; `Path` has made one slash of the two of `s3://`."""
    return _REMOTE.sub(r"\1://", str(path))


def is_remote(path: Path) -> bool:
    """Whether the folder lies in an object store."""
    return _REMOTE.match(str(path)) is not None


def read_options(path: Path) -> dict[str, str] | None:
    """`storage_options` for polars, which has other words for retries."""
    options = storage_options(path)
    return options and {name: text for name, text in options.items() if name not in _RETRIES}


def describe_failure(error: Exception, path: Path) -> OnetapeError | None:
    """What a store's error means for the caller; None for a local folder."""
    if not is_remote(path):
        return None
    text = " ".join(_MARKS.sub(" ", str(error)).split())
    said, where = text if len(text) <= _SAID else f"{text[:_SAID]}...", locate(path)
    if _AWAY.search(text):
        return SourceUnavailable(f"the store can't be reached: {said}", where=where)
    if "privileges" in text or "Forbidden" in text:
        return DataError(f"the store refuses access: {said}", where=where,
                         remedy="look at the credentials and what they may do")  # fmt: skip
    return DataError(f"the store refuses: {said}", where=where)


def storage_options(path: Path, environ: Mapping[str, str] | None = None) -> dict[str, str] | None:
    """What delta-rs needs to reach a folder; None for a local one.

    Raises:
        ConfigError: A variable holds no reference, or one that leads nowhere. No value is shown.
    """
    if not is_remote(path):
        return None
    variables = os.environ if environ is None else environ
    options = dict(_RETRIES)
    for name in sorted(variables):
        if name.startswith(_PREFIX):
            option = name.removeprefix(_PREFIX).lower()
            options[option] = _resolve(name, variables[name], variables)
    return options


def _resolve(name: str, reference: str, variables: Mapping[str, str]) -> str:
    kind, _, locator = reference.partition(":")
    if kind not in ("env", "file") or not locator:
        raise ConfigError(f"{name} is not a reference, never write the value there",
                          remedy="write env:NAME or file:PATH")  # fmt: skip
    try:
        value = (
            variables.get(locator, "") if kind == "env"
            else Path(locator).read_text(encoding="utf-8").strip()
        )  # fmt: skip
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ConfigError(f"{name}: {reference} can't be read: {reason}") from None
    if not value:
        raise ConfigError(f"{name}: {reference} is not set or empty")
    return value
