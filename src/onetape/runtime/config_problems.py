"""Validation errors as sentences: key, place, value, what was expected, remedy."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from onetape.domain.errors import ConfigError
from onetape.domain.nearest import did_you_mean
from onetape.runtime.config_document import ConfigDocument
from onetape.runtime.config_values import RefusedError, UnexpectedError
from onetape.runtime.config_yaml import KeyPath, dotted

_EXPECTED = {
    "int_type": "a whole number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping of keys",
    "model_attributes_type": "a section with keys",
    "greater_than": "more than {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than": "less than {lt}",
    "less_than_equal": "{le} or less",
    "decimal_max_places": "at most {decimal_places} decimals",
    "string_too_short": "text that is not empty",
    "too_short": "at least {min_length} entry",
}


def explain(error: ValidationError, document: ConfigDocument) -> list[ConfigError]:
    """Every problem that pydantic found, in the order of the file."""
    found: dict[KeyPath, ConfigError] = {}
    for details in error.errors(include_url=False):
        path = _path_of(details, document)
        if not _is_aftermath(details):
            found.setdefault(path, _problem(details, path, document))
    return [found[path] for path in sorted(found, key=document.order_of)]


def _is_aftermath(details: ErrorDetails) -> bool:
    """Whether it only repeats that a part is wrong, which has an error of its own."""
    if details["type"] == "too_short":
        return len(details["input"]) >= details.get("ctx", {})["min_length"]
    return details["type"] == "default_factory_not_called"


def _path_of(details: ErrorDetails, document: ConfigDocument) -> KeyPath:
    """Location by pydantic without the tags it adds for the members of unions."""
    path: KeyPath = ()
    tag_seen = False
    for key in details["loc"]:
        section = document.find(path)[1]
        is_tag = isinstance(section, dict) and key in (section.get("model"), section.get("type"))
        if is_tag and not tag_seen:
            tag_seen = True
        elif document.find((*path, key))[0]:
            path, tag_seen = (*path, key), False
    refused = _refusal(details)
    if refused:
        return (*path, *refused.at)
    if details["type"] == "missing":
        return (*path, details["loc"][-1])
    if details["type"].startswith("union_tag"):
        return (*path, details.get("ctx", {})["discriminator"].strip("'"))
    return path


def _problem(details: ErrorDetails, path: KeyPath, document: ConfigDocument) -> ConfigError:
    key, where = dotted(path), document.place_of(path)
    given, value = document.find(path)
    refused = _refusal(details)
    if refused and not isinstance(refused, UnexpectedError):
        return ConfigError(f"{key} {refused.what}", where=where, remedy=refused.remedy)
    if not given:
        return ConfigError(f"{key} is missing", where=where, remedy=f"add {path[-1]}")
    expected, remedy = _expectation(details, value)
    return ConfigError(f"{key} is {_shown(value)}, expected {expected}", where=where, remedy=remedy)


def _expectation(details: ErrorDetails, value: object) -> tuple[str, str]:
    """What was expected, and the remedy."""
    refused = _refusal(details)
    if refused:
        return refused.what, refused.remedy
    context: Mapping[str, Any] = details.get("ctx", {})
    choices = re.findall(r"'([^']*)'", str(context.get("expected", context.get("expected_tags"))))
    if choices:
        return f"one of {', '.join(choices)}", did_you_mean(str(value), choices)
    if details["type"] not in _EXPECTED:
        return details["msg"], ""
    is_text = details["type"] == "string_type" and isinstance(value, bool | int | float)
    remedy = "put it into quotes" if is_text else ""
    if _EXPECTED[details["type"]] == "a list" and isinstance(value, str):
        remedy = f"write it in brackets: [{value}]"
    return _EXPECTED[details["type"]].format_map(context), remedy


def _refusal(details: ErrorDetails) -> RefusedError | None:
    error = details.get("ctx", {}).get("error")
    return error if isinstance(error, RefusedError) else None


def _shown(value: object) -> str:
    if value is None:
        return "empty"
    text = repr(value) if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
