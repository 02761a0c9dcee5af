"""Importing onetape or its command line is light: heavy libraries come where they are used."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"deltalake", "exchange_calendars", "numba", "pandas", "plotly", "polars", "scipy"}


@pytest.mark.parametrize("module", ["onetape", "onetape.control.cli"])
def test_import_loads_no_heavy_library(module: str) -> None:
    program = f"import {module}, sys; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    loaded = set(result.stdout.split())
    assert module in loaded
    assert loaded & HEAVY == set()
