"""Which known name a wrong one was probably meant to be."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest_name(name: str, known: Iterable[str]) -> str:
    """A remedy: the known name most like `name` (case ignored), else the first ten known ones."""
    by_lower = {each.lower(): each for each in sorted(known)}
    if not by_lower:
        return "there are none"
    close = get_close_matches(name.lower(), by_lower, n=1)
    if close:
        return f"nearest: {by_lower[close[0]]!r}"
    names = list(by_lower.values())
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return f"there is: {', '.join(map(repr, names[:10]))}{more}"
