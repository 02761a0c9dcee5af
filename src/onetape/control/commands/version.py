"""`onetape version`."""

from __future__ import annotations

import platform

from onetape import __version__


def version() -> None:
    """Print the version."""
    print(f"onetape {__version__} (Python {platform.python_version()})")
