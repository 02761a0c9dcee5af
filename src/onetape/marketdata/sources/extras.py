"""Clients of providers are extras: imported when needed, one clear line when absent."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from onetape.domain.errors import ConfigError


@contextmanager
def needs_extra(extra: str, source: str) -> Generator[None]:
    """Imports inside; one that fails raises `ConfigError` with the command that installs it."""
    try:
        yield
    except ImportError as error:
        raise ConfigError(
            f"{source} needs an extra ({error.name or error} is not installed)",
            remedy=f"pip install 'onetape[{extra}]'",
        ) from None
