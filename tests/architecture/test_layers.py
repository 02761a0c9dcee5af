"""The import rules of the house (import-linter contracts in pyproject.toml)."""

from __future__ import annotations

import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

from tests.architecture.source_tree import SOURCE


def test_imports_keep_every_contract(capsys: pytest.CaptureFixture[str]) -> None:
    config = SOURCE.parents[1] / "pyproject.toml"
    status = lint_imports(config_filename=str(config), no_cache=True, show_timings=False)
    assert status == EXIT_STATUS_SUCCESS, capsys.readouterr().out
