"""Kinds of values in a configuration: exact numbers, moments, names, secret references.

Each kind is a pydantic annotation that accepts what people write and holds what the engine uses.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Context, Decimal, Inexact
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    PlainSerializer,
    SecretStr,
    Strict,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, core_schema

from onetape.domain.errors import ConfigError, FixInput
from onetape.domain.instrument import InstrumentId
from onetape.domain.numbers import to_decimal
from onetape.domain.timestamps import from_iso, to_iso
from onetape.marketdata.bar_rule import parse_bar_rule
from onetape.marketdata.loading import TICK_DATA
from onetape.tape.pointer import check_reference, check_url

_CANONICAL = Context(prec=60, traps=[Inexact])
_MOMENT_MAX = 9_214_646_400_000_000_000
"""2262-01-01: the last year that int64 nanoseconds hold whole."""


class RefusedError(ValueError):
    """A value that a validator turns down.

    Args:
        what: The rest of a sentence that begins with the key, such as "names AAPL.XNAS twice".
        remedy: What to do about it.
        at: The part of the validated value that is to blame.
    """

    def __init__(self, what: str, remedy: str = "", at: tuple[str | int, ...] = ()) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy
        self.at = at


class UnexpectedError(RefusedError):
    """A value of another kind than the one that `what` names; the message shows the value."""


def _to_exact(value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise UnexpectedError("a number")
    try:
        return to_decimal(value, "number").normalize(_CANONICAL)
    except (FixInput, Inexact):
        raise UnexpectedError("a number") from None


def _to_moment(value: object) -> int:
    if not isinstance(value, str | date):
        raise UnexpectedError("a date or time", "write it like 2024-01-31 or 2024-01-31T09:30:00Z")
    try:
        ts = from_iso(value)
    except FixInput as error:
        raise UnexpectedError("a date or time", error.remedy) from None
    if abs(ts) > _MOMENT_MAX:
        raise UnexpectedError("a year from 1678 to 2261")
    return ts


def _to_speed(value: object) -> object:
    match = re.fullmatch(r"([1-9]\d{0,5})x?", str(value))
    if value == "max":
        return value
    if match is None:
        raise UnexpectedError("max, or a whole number like 10 or 10x")
    return int(match[1])


def _check_timeframe(value: object) -> object:
    if value in TICK_DATA:
        return value
    try:
        parse_bar_rule(str(value))
    except FixInput as error:
        raise UnexpectedError("a timeframe", error.remedy) from None
    return value


def _check_instrument(value: object) -> object:
    symbol, _, venue = value.rpartition(".") if isinstance(value, str) else ("", "", "")
    if not symbol or not venue or re.search(r"\s", f"{value}"):
        raise UnexpectedError("SYMBOL.VENUE", "for example AAPL.XNAS")
    return value


def _check_name(value: object) -> object:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", str(value)):
        raise UnexpectedError("a name of letters, digits, _ and -")
    return value


def _check_tape_url(value: object) -> object:
    return _check_by(check_url, value)


def _check_tape_password(value: object) -> object:
    return _check_by(check_reference, value)


def _check_by(check: Callable[[str], None], value: object) -> object:
    """`value`, if `check` allows it; an error never repeats it."""
    try:
        check(value if isinstance(value, str) else "")
    except ConfigError as error:
        raise RefusedError(f"is refused: {error.what}", error.remedy) from None
    return value


def _check_currency(value: object) -> object:
    if not re.fullmatch(r"[A-Z][A-Z0-9]{1,11}", str(value)):
        raise UnexpectedError("a currency code", "for example USD")
    return value


TapeUrl = Annotated[str, BeforeValidator(_check_tape_url)]
"""`postgresql://USER@HOST:PORT/DATABASE`, without a password."""

TapePassword = Annotated[str, BeforeValidator(_check_tape_password)]
"""Where a password is: `env:NAME` or `file:PATH`."""

Exact = Annotated[
    Decimal,
    BeforeValidator(_to_exact),
    PlainSerializer(lambda number: f"{number:f}", return_type=str, when_used="json"),
]
"""A number kept as it was written; in JSON its digits as text."""

Money = Annotated[Exact, Field(ge=0, le=90_000_000_000, decimal_places=8)]
"""An amount of currency on the grid of minor units, inside int64."""

Limit = Annotated[Exact, Field(gt=0, le=90_000_000_000, decimal_places=8)]
"""Like Money, but more than nothing."""

Percent = Annotated[Exact, Field(gt=0, le=1_000_000, decimal_places=6)]
"""A limit in percent (10 is one tenth), exact as a ratio in 1e-8."""

Bps = Annotated[Exact, Field(ge=0, le=10_000, decimal_places=4)]
"""Hundredths of a percent, exact as a ratio in 1e-8."""

Factor = Annotated[Exact, Field(ge=0, le=1_000_000, decimal_places=8)]
"""A plain number that is multiplied with something."""

Quantity = Annotated[Exact, Field(gt=0)]
"""Units of an instrument; its lot grid is checked when the instrument is known."""

Count = Annotated[int, Strict(), Field(ge=1)]

Moment = Annotated[
    int,
    BeforeValidator(_to_moment),
    PlainSerializer(to_iso, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""Written as an ISO 8601 date or time (UTC without an offset), held as int ns UTC."""

Speed = Annotated[Literal["max"] | int, BeforeValidator(_to_speed)]
"""`max`, or how many seconds of history pass in one second: 1, 10, 1x, 10x."""

Timeframe = Annotated[str, BeforeValidator(_check_timeframe)]

Instrument = Annotated[InstrumentId, BeforeValidator(_check_instrument)]

Name = Annotated[str, BeforeValidator(_check_name)]
"""A name that is also a part of ids and directory names."""

Currency = Annotated[str, BeforeValidator(_check_currency)]


@dataclass(frozen=True)
class SecretRef:
    """Where a secret lies: `env:NAME`, `file:PATH` or `keyring:SERVICE/USER`; never the secret.

    A text of another form is refused without being repeated, since it may be the secret itself.
    """

    kind: Literal["env", "file", "keyring"]
    locator: str

    @classmethod
    def parse(cls, text: object) -> SecretRef:
        """Read a reference.

        Raises:
            ConfigError: No reference; the message does not show the text.
        """
        kind, _, locator = text.partition(":") if isinstance(text, str) else ("", "", "")
        if kind in ("env", "file") and locator:
            return cls(kind, locator)
        service, _, user = locator.partition("/")
        if kind == "keyring" and service and user:
            return cls("keyring", locator)
        raise ConfigError(
            "a secret must be a reference, never the value",
            remedy="write env:NAME, file:PATH or keyring:SERVICE/USER",
        )

    def resolve(self, environ: Mapping[str, str]) -> SecretStr:
        """Fetch the secret, in a type that prints as stars.

        Raises:
            ConfigError: It is not there, is empty, or the keyring package is not installed.
        """
        if self.kind == "env":
            value = environ.get(self.locator, "")
        elif self.kind == "file":
            value = self._read_file()
        else:
            value = self._ask_keyring()
        if not value:
            raise ConfigError(f"the secret {self} is not set or empty", remedy=self._remedy())
        return SecretStr(value)

    def _remedy(self) -> str:
        match self.kind:
            case "env":
                return f"set the environment variable {self.locator}"
            case "file":
                return "write it into the file"
            case _:
                return f"keyring set {self.locator.replace('/', ' ')}"

    def _read_file(self) -> str:
        try:
            return Path(self.locator).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise ConfigError(f"the secret {self} can't be read: {reason}") from None

    def _ask_keyring(self) -> str:
        try:
            keyring = importlib.import_module("keyring")
        except ModuleNotFoundError:
            raise ConfigError(
                f"the secret {self} needs the keyring package", remedy="pip install keyring"
            ) from None
        service, _, user = self.locator.partition("/")
        return keyring.get_password(service, user) or ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.locator}"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Validate from a reference text, write to JSON as that text."""
        return core_schema.no_info_plain_validator_function(
            cls._validate, serialization=core_schema.to_string_ser_schema()
        )

    @classmethod
    def _validate(cls, value: object) -> SecretRef:
        if isinstance(value, SecretRef):
            return value
        try:
            return cls.parse(value)
        except ConfigError as error:
            raise RefusedError("must be a reference to a secret, never its value",
                          error.remedy) from None  # fmt: skip
