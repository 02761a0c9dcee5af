"""Where the shared real data lies, and the mark for tests that need it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"

needs_shared = pytest.mark.skipif(
    not SHARED.is_dir() and not os.environ.get("CI"),
    reason="the shared data folder is not beside the project",
)
"""Skips where the folder is absent, never under CI: there a missing folder fails the test."""
