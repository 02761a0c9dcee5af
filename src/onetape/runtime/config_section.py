"""`Section`: what every section of the configuration has in common."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from onetape.runtime.config_values import RefusedError


class Section(BaseModel):
    """Frozen; an unknown key is an error that names the nearest known one."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )

    @model_validator(mode="before")
    @classmethod
    def _know_every_key(cls, given: Any) -> Any:
        if isinstance(given, cls):
            return given
        known = cls.known_keys()
        if not isinstance(given, dict):
            raise RefusedError("is not a section with keys", f"its keys: {', '.join(known)}")
        for key in given:
            if key not in known:
                remedy = did_you_mean(str(key), known) or f"known: {', '.join(known)}"
                raise RefusedError("is not a known key", remedy, (key,))
        return given

    @classmethod
    def known_keys(cls) -> list[str]:
        """The names of its keys as they stand in a file."""
        return [field.alias or name for name, field in cls.model_fields.items()]


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """A remedy that names the nearest known name; empty when none is near."""
    close = get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else ""
