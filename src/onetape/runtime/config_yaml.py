"""Configuration text to plain values, each with its line.

The text is YAML 1.2 as far as plain values go, and JSON is a part of it: only `true` and `false`
are booleans, so `on`, `no`, `1:30` and dates stay text; numbers are decimal; a number with leading
zeros is text. A key that is given twice is an error, and so is a tag (`!x`).

`${NAME}` and `${NAME:-default}` (used when NAME is unset or empty) stand for environment values in
any value, never in keys; `$${` is a literal `${`. A value that is nothing but a reference gets the
type of its text, in quotes or not: `{fast: "${FAST:-10}"}` is the number 10.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import yaml

from onetape.domain.errors import ConfigError

KeyPath = tuple[str | int, ...]
"""Keys and list indices from the root to a value."""

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {"true": True, "True": True, "TRUE": True,
             "false": False, "False": False, "FALSE": False}  # fmt: skip
_INTEGER = re.compile(r"[-+]?(?:0|[1-9](?:_?[0-9])*)")
_FLOAT = re.compile(r"[-+]?(?:(?:0|[1-9](?:_?[0-9])*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_REFERENCE = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(:-[^}]*)?\}|\$\{")
_PLAIN_TAGS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map"))


def dotted(path: KeyPath) -> str:
    """A path as people write it: `strategies.0.params`."""
    return ".".join(map(str, path))


def parse_yaml(text: str, name: str, environ: Mapping[str, str]) -> tuple[Any, dict[KeyPath, int]]:
    """The values of `text` and the line (from 1) of each.

    Raises:
        ConfigError: Not YAML, a key twice, a tag, a reference to an undefined name; `name` and the
            line say where.
    """
    reader = _Reader(name, environ)
    try:
        root = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, text, name) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"not YAML: {str(error).splitlines()[0]}", where=name) from None
    return (None if root is None else reader.build(root, ())), reader.lines


def parse_scalar(text: str, where: str) -> Any:
    """What a plain YAML scalar stands for.

    Raises:
        ConfigError: A number that float64 can't hold as it is written.
    """
    if text in _NULL:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        number = float(text)
        if math.isinf(number) or Decimal(repr(number)) != Decimal(text):
            raise ConfigError(f"{text} is more than a float64 holds", where=where,
                              remedy="put the number into quotes to keep it exact")  # fmt: skip
        return number
    return text


class _Reader:
    """Turns YAML nodes into values; keeps their lines."""

    def __init__(self, name: str, environ: Mapping[str, str]) -> None:
        self.lines: dict[KeyPath, int] = {}
        self._name = name
        self._environ = environ
        self._open: list[yaml.Node] = []

    def build(self, node: yaml.Node, path: KeyPath) -> Any:
        line = self.lines.setdefault(path, node.start_mark.line + 1)
        if node.tag not in _PLAIN_TAGS:
            raise self._error(f"{dotted(path)} has the tag {node.tag}", line,
                              "write plain values without tags")  # fmt: skip
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path, line)
        if any(node is each for each in self._open):
            raise self._error(f"{dotted(path)} contains itself", line, "remove the alias")
        self._open.append(node)
        built = (
            self._mapping(node, path)
            if isinstance(node, yaml.MappingNode)
            else [self.build(each, (*path, index)) for index, each in enumerate(node.value)]
        )
        self._open.pop()
        return built

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        built: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key, line = key_node.value, key_node.start_mark.line + 1
            if not isinstance(key, str):
                raise self._error("a key is not text", line, "write `key: value`")
            inner = (*path, key)
            if key in built:
                raise self._error(f"{dotted(inner)} is given twice", line,
                                  f"the first is in line {self.lines[inner]}")  # fmt: skip
            self.lines[inner] = line
            built[key] = self.build(value_node, inner)
        return built

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath, line: int) -> Any:
        whole = _REFERENCE.fullmatch(node.value)
        text = _REFERENCE.sub(lambda match: self._resolve(match, path, line), node.value)
        if node.style is None or (whole and whole[1]):
            return parse_scalar(text, f"{self._name}:{line}")
        return text

    def _resolve(self, match: re.Match[str], path: KeyPath, line: int) -> str:
        if match[0] == "$${":
            return "${"
        name, default = match[1], match[2]
        if name is None:
            raise self._error(f"{dotted(path)} has a malformed ${{...}} reference", line,
                              "write ${NAME} or ${NAME:-default}; a literal ${ is $${")  # fmt: skip
        value = self._environ.get(name, "")
        if default is not None:
            return value or default[2:]
        if name not in self._environ:
            raise self._error(f"{dotted(path)} needs ${{{name}}}, which is not defined", line,
                              f"set {name}, or write ${{{name}:-default}}")  # fmt: skip
        return value

    def _error(self, what: str, line: int, remedy: str) -> ConfigError:
        return ConfigError(what, where=f"{self._name}:{line}", remedy=remedy)


def _syntax_error(error: yaml.MarkedYAMLError, text: str, name: str) -> ConfigError:
    mark = error.problem_mark or error.context_mark
    line = mark.line if mark else 0
    remedy = "check indentation, quotes and brackets"
    if "${" in "".join(text.splitlines()[line : line + 1]):
        remedy = 'inside { } or [ ] a reference needs quotes: "${NAME}"'
    return ConfigError(f"not YAML: {error.problem}", where=f"{name}:{line + 1}", remedy=remedy)
