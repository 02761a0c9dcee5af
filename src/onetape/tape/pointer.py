"""A tape that lies on a server: where it is, as a small file in the directory of its run.

Commands, seals and reports are told the path of a tape. For one on a server that is the path of
this file, which says where the records are, and how to get the password, never the password.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import msgspec

from onetape.domain.errors import ConfigError, DataError, TryAgain

POINTER_NAME = "tape.json"

SCHEMES = ("postgresql", "postgres")
_SECRETS = ("password", "sslpassword")


class TapeServer(msgspec.Struct, frozen=True, kw_only=True):
    """A PostgreSQL database, `postgresql://USER@HOST:PORT/NAME`, and where its password is.

    `password` is `env:NAME` or `file:PATH`; empty: what libpq finds by itself (`~/.pgpass`, a
    socket that needs none).
    """

    url: str
    password: str = ""

    def check(self) -> None:
        """Whether the URL can be one, and gives nothing away.

        Raises:
            ConfigError: It can't; what may be a password is not shown.
        """
        check_url(self.url)
        if self.password:
            check_reference(self.password)

    def resolve_password(self) -> str | None:
        """The password; None where there is no reference.

        Raises:
            ConfigError: It is not where the reference says.
        """
        kind, _, locator = self.password.partition(":")
        if not kind:
            return None
        try:
            value = (
                os.environ.get(locator, "") if kind == "env"
                else Path(locator).read_text(encoding="utf-8").strip()
            )  # fmt: skip
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise ConfigError(f"{self.password} can't be read: {reason}", where=self.url,
                              remedy="it should hold this server's password") from None  # fmt: skip
        if not value:
            raise ConfigError(f"{self.password} is not set or empty", where=self.url,
                              remedy="it should hold this server's password")  # fmt: skip
        return value


def check_url(url: str) -> None:
    """Whether `url` names a database and holds no password.

    Raises:
        ConfigError: It does not; the URL is not repeated, as it may hold one.
    """
    form = "postgresql://USER@HOST:PORT/DATABASE"
    try:
        parts = urlsplit(url)
        keys = [key for key, _ in parse_qsl(parts.query, keep_blank_values=True)]
        has_password = parts.password is not None
    except ValueError:
        raise ConfigError("the address of a tape's server is no URL", remedy=form) from None
    if parts.scheme not in SCHEMES:
        raise ConfigError("the address of a tape's server is not one of PostgreSQL", remedy=form)
    if has_password or any(key in _SECRETS for key in keys):
        raise ConfigError("the address of a tape's server holds a password",
                          remedy="say where it is instead: env:NAME or file:PATH")  # fmt: skip
    if not parts.path.strip("/"):
        raise ConfigError("the address of a tape's server names no database", remedy=form)


def check_reference(password: str) -> None:
    """Whether `password` is a reference to one.

    Raises:
        ConfigError: It is not; it is not repeated, as it may be the password.
    """
    kind, _, locator = password.partition(":")
    if kind not in ("env", "file") or not locator:
        raise ConfigError("the password of a tape's server must be a reference, never itself",
                          remedy="write env:NAME or file:PATH")  # fmt: skip


class TapePointer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which tape of which server; `name` is the one that it was given when it was made."""

    store: str = "postgresql"
    url: str
    password: str = ""
    tape: int
    name: str

    @property
    def server(self) -> TapeServer:
        """Where it lies."""
        return TapeServer(url=self.url, password=self.password)


def read_pointer(path: Path) -> TapePointer:
    """The pointer in a file.

    Raises:
        DataError: There is none, or it can't be read.
        ConfigError: It holds a password.
    """
    try:
        pointer = msgspec.json.decode(path.read_bytes(), type=TapePointer)
    except FileNotFoundError:
        raise DataError("there is no tape here", where=str(path)) from None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataError(f"it does not say where the tape is: {error}", where=str(path),
                        remedy="restore it from a copy") from error  # fmt: skip
    pointer.server.check()
    return pointer


def write_pointer(path: Path, pointer: TapePointer) -> None:
    """Write a new file, all of it or nothing, and wait until the disk has it.

    Raises:
        DataError: The file exists.
        TryAgain: It can't be written.
    """
    if path.exists():
        raise DataError("a tape is never overwritten, and this file exists", where=str(path),
                        remedy="remove it or choose another path")  # fmt: skip
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(pointer), indent=2) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise TryAgain(f"can't write: {error.strerror}", where=str(path),
                       remedy="make room and run again") from error  # fmt: skip
