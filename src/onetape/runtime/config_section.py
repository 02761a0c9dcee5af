"""`Section`: what every section of the configuration has in common."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from onetape.domain.nearest import nearest
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
                remedy = nearest(str(key), known)
                raise RefusedError("is not a known key", remedy, (key,))
        return given

    @classmethod
    def known_keys(cls) -> list[str]:
        """The names of its keys as they stand in a file."""
        return [field.alias or name for name, field in cls.model_fields.items()]
