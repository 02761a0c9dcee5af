"""Which known name a wrong one was probably meant to be: the remedy of many errors."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_LISTED_MAX = 10


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A remedy with the known name most like `name` (case ignored); empty when none is near."""
    by_lower = {each.lower(): each for each in known}
    close = get_close_matches(name.lower(), by_lower, n=1)
    return f"did you mean {by_lower[close[0]]!r}?" if close else ""


def nearest(name: str, known: Iterable[str]) -> str:
    """A remedy with the nearest known name, else the first ten known ones in the order given."""
    names = list(known)
    listed = ", ".join(names[:_LISTED_MAX]) or "none"
    more = f" and {len(names) - _LISTED_MAX} more" if len(names) > _LISTED_MAX else ""
    return did_you_mean(name, names) or f"known: {listed}{more}"
