"""Records of a JSON file as text, each value as it is written there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from onetape.domain.errors import DataError


def read_json_records(path: Path) -> tuple[list[str], list[list[str] | None], list[int], str]:
    """Names of the fields, the cells of each record, their places, and what a place is called.

    A `.json` file is one array of objects, a `.jsonl` file has an object a line. The first object
    names the fields. A record with other fields, a field twice, or a list or object as value has no
    cells (None). Numbers keep their digits, `null` is empty, `true` and `false` are words.

    Raises:
        DataError: The file can't be read, is no JSON, or holds no objects.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise DataError("is not UTF-8 text", where=str(path)) from None
    except OSError as error:
        raise DataError(f"can't be read: {error}", where=str(path)) from None
    if path.name.lower().endswith(".jsonl"):
        lines = [(at, line) for at, line in enumerate(text.split("\n"), 1) if line.strip()]
        objects = [_parse(line, f"{path} line {at}") for at, line in lines]
        places, place = [at for at, _ in lines], "line"
    else:
        whole = _parse(text, str(path))
        if not isinstance(whole, list):
            raise DataError("is no array of objects", where=str(path),
                            remedy="write [{...}, ...], or a .jsonl file")  # fmt: skip
        objects = whole
        places, place = list(range(1, len(objects) + 1)), "record"
    first = next((each for each in objects if isinstance(each, _Fields)), None)
    if first is None or not first.pairs:
        raise DataError("the file has no records", where=str(path))
    names = [name.strip() for name, _ in first.pairs]
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"field {name!r} appears twice in the first record", where=str(path))
    return names, [_cells(each, names) for each in objects], places, place


class _Fields:
    """The fields of an object in their order: a dict would keep the last of two alike."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        self.pairs = pairs


def _parse(text: str, where: str) -> Any:
    try:
        return json.loads(
            text, object_pairs_hook=_Fields, parse_float=str, parse_int=str, parse_constant=str
        )
    except (ValueError, RecursionError) as error:
        raise DataError(f"is not JSON: {error}", where=where) from None


def _cells(record: Any, names: list[str]) -> list[str] | None:
    if not isinstance(record, _Fields):
        return None
    found = {name.strip(): value for name, value in record.pairs}
    if len(found) != len(record.pairs) or found.keys() != set(names):
        return None
    cells = [_to_text(found[name]) for name in names]
    return None if None in cells else [each for each in cells if each is not None]


def _to_text(value: Any) -> str | None:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str) or any("\ud800" <= letter <= "\udfff" for letter in value):
        return None
    return value
