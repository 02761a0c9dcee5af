"""Tampering with the JSON files beside a tape."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def rewrite(path: Path, **fields: Any) -> None:
    """Replace fields of a JSON file; a function gets the value of before."""
    path.chmod(0o644)
    content = json.loads(path.read_bytes())
    changed = {
        name: value(content[name]) if callable(value) else value for name, value in fields.items()
    }
    path.write_text(json.dumps(content | changed))


def next_digit(text: str) -> str:
    """One bit of a number in hex changed."""
    return text[:20] + f"{int(text[20], 16) ^ 1:x}" + text[21:]
