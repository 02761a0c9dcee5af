"""In what two sweeps differ, by what their sweep.json say."""

from __future__ import annotations

import json
from typing import Any

import msgspec


def find_difference(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Where two descriptions differ first, as the rest of a sentence; empty when they don't.

    What ran the sweep may differ, and when the data was imported: its content may not.
    """
    found = _search("", _plain(before), _plain(now))
    if found is None:
        return ""
    place, was, is_now = found
    return f"{place} {_show(was)}, and now it is {_show(is_now)}"


def _plain(description: dict[str, Any]) -> dict[str, Any]:
    plain = msgspec.json.decode(msgspec.json.encode(description), type=dict[str, Any])
    plain.pop("host", None)
    for pin in plain.get("datasets", []):
        pin.pop("table_version", None)
    return plain


def _search(place: str, old: Any, new: Any) -> tuple[str, Any, Any] | None:
    if old == new:
        return None
    if isinstance(old, dict) and isinstance(new, dict):
        shared = [key for key in new if key in old]
        for key in [*shared, *new, *old]:
            found = _search(f"{place}.{key}" if place else str(key), old.get(key), new.get(key))
            if found is not None:
                return found
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for at, (one, other) in enumerate(zip(old, new, strict=True)):
            found = _search(f"{place}.{at}", one, other)
            if found is not None:
                return found
    return place, old, new


def _show(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
