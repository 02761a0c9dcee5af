"""A configuration before validation: plain values, each with the place it came from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from onetape.domain.errors import ConfigError
from onetape.runtime.config_yaml import KeyPath, dotted, parse_scalar, parse_yaml

ENVIRONMENT_PREFIX = "ONETAPE__"


class ConfigDocument:
    """Plain values (dicts, lists, text, numbers, booleans, None) and where each came from.

    Attributes:
        values: The root mapping.
    """

    def __init__(self, values: dict[str, Any], places: dict[KeyPath, str]) -> None:
        self.values = values
        self._places = places

    def place_of(self, path: KeyPath) -> str:
        """`file:line` of the value at `path`, or of what holds it; or the override that set it."""
        while path and path not in self._places:
            path = path[:-1]
        return self._places[path]

    def order_of(self, path: KeyPath) -> int:
        """Sorts paths as their places stand in the file; overrides come last."""
        while path and path not in self._places:
            path = path[:-1]
        return list(self._places).index(path)

    def find(self, path: KeyPath) -> tuple[bool, Any]:
        """Whether there is a value at `path`, and the value."""
        here: Any = self.values
        try:
            for key in path:
                here = here[key]
        except (LookupError, TypeError):
            return False, None
        return True, here

    def override(self, keys: list[str], text: str, place: str) -> None:
        """Set one value; missing sections are made, a list grows by one at its end.

        Raises:
            ConfigError: The keys lead through a plain value or outside of a list.
        """
        here: Any = self.values
        path: KeyPath = ()
        for name, following in zip(keys, [*keys[1:], None], strict=True):
            key = _key_in(here, name, path, place)
            path = (*path, key)
            if following is None:
                here[key] = _parse_override(text, place)
            elif here[key] is None:
                here[key] = [] if following.isdecimal() else {}
                self._places[path] = place
            here = here[key]
        for known in [known for known in self._places if known[: len(path)] == path]:
            del self._places[known]
        self._places[path] = place


def read_document(path: Path, environ: Mapping[str, str]) -> ConfigDocument:
    """Read a YAML or JSON file and substitute its `${...}` references.

    Raises:
        ConfigError: No such file, not UTF-8, not YAML, a key twice, an undefined reference.
    """
    name = str(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"the configuration can't be read: {error.strerror}", where=name,
                          remedy="check the path") from None  # fmt: skip
    except UnicodeDecodeError as error:
        raise ConfigError(f"byte {error.start} is not UTF-8", where=name,
                          remedy="save the file as UTF-8") from None  # fmt: skip
    if path.suffix == ".json":
        text = text.replace("\t", " ")
    values, lines = parse_yaml(text, name, environ)
    if not isinstance(values, dict):
        raise ConfigError(
            "the file is empty" if values is None else "the file holds no mapping of keys",
            where=name,
            remedy="`onetape config schema` lists the keys",
        )
    return ConfigDocument(values, {at: f"{name}:{line}" for at, line in lines.items()})


def apply_environment(document: ConfigDocument, environ: Mapping[str, str]) -> None:
    """Apply every `ONETAPE__SECTION__KEY` of `environ`, in order of name."""
    for name in sorted(environ):
        if name.startswith(ENVIRONMENT_PREFIX):
            keys = name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
            if not all(keys):
                raise ConfigError(f"the environment has {name}, which names no key",
                                  remedy="write it like ONETAPE__CLOCK__END")  # fmt: skip
            document.override(keys, environ[name], f"environment {name}")


def apply_overrides(document: ConfigDocument, overrides: Iterable[str]) -> None:
    """Apply every `key=value` with a dotted key, in the order given."""
    for override in overrides:
        key, sign, text = override.partition("=")
        keys = key.strip().split(".")
        if not sign or not all(keys):
            raise ConfigError(f"--set {override!r} is not key=value",
                              remedy="write it like --set clock.end=2024-01-01")  # fmt: skip
        document.override(keys, text.strip(), f"--set {key.strip()}")


def _key_in(here: Any, name: str, path: KeyPath, place: str) -> str | int:
    """`name` as key or index of `here`; made with None when it is new."""
    if isinstance(here, dict):
        here.setdefault(name, None)
        return name
    if not isinstance(here, list):
        raise ConfigError(f"{dotted(path)} is {here!r} and has no keys", where=place)
    if not name.isdecimal() or int(name) > len(here):
        raise ConfigError(f"{dotted(path)} has {len(here)} entries and no index {name!r}",
                          where=place, remedy=f"use 0 to {len(here)}")  # fmt: skip
    if int(name) == len(here):
        here.append(None)
    return int(name)


def _parse_override(text: str, place: str) -> Any:
    """A scalar, or a list or mapping in brackets; quotes keep text text."""
    if text[:1] in {"[", "{", '"', "'"}:
        return parse_yaml(text, place, {})[0]
    return parse_scalar(text, place)
