"""Every error becomes one line and an exit code."""

from __future__ import annotations

import errno

import pytest
import typer
from typer.testing import CliRunner

from onetape.control.boundary import ErrorBoundary
from onetape.control.options import DebugOption
from onetape.domain.errors import (
    ConfigError,
    DataError,
    InvariantBroken,
    ReconciliationError,
    StrategyError,
    VenueUnavailable,
)

CASES = [
    (ConfigError("bad", where="a.yaml:3", remedy="fix it"), 2, "error: a.yaml:3: bad (fix it)"),
    (DataError("3 rows are bad:\n  row 7\x1b[2J"), 2, "error: 3 rows are bad: row 7 [2J"),
    (StrategyError("bad"), 2, "error: bad"),
    (VenueUnavailable("away"), 3, "error: away"),
    (ReconciliationError("differs"), 4, "error: differs"),
    (InvariantBroken("unbalanced"), 70, "error: unbalanced"),
    (FileNotFoundError(errno.ENOENT, "No such file", "x.csv"), 2, "error: x.csv: No such file"),
    (PermissionError(errno.EACCES, "Permission denied", "x"), 2, "error: x: Permission denied"),
    (OSError(errno.ENOSPC, "No space left on device"), 3, "error: No space left on device"),
    (KeyboardInterrupt(), 130, "error: interrupted"),
    (ZeroDivisionError("division by zero"), 70,
     "error: unexpected ZeroDivisionError: division by zero (a bug: please rerun with --debug)"),
]  # fmt: skip


def make_app(error: BaseException) -> typer.Typer:
    app = typer.Typer(cls=ErrorBoundary, rich_markup_mode=None)

    @app.command()
    def fail(*, _debug: DebugOption = False) -> None:
        raise error

    @app.command()
    def other() -> None: ...

    return app


@pytest.mark.parametrize(("error", "code", "line"), CASES)
def test_error_becomes_one_line_without_traceback(
    error: BaseException, code: int, line: str
) -> None:
    result = CliRunner().invoke(make_app(error), ["fail"])
    assert result.exit_code == code
    assert result.stderr.splitlines() == [line]
    assert result.stdout == ""


def test_error_with_debug_shows_the_traceback_and_the_line() -> None:
    result = CliRunner().invoke(make_app(ConfigError("bad")), ["fail", "--debug"])
    assert result.exit_code == 2
    assert "Traceback (most recent call last)" in result.stderr
    assert result.stderr.splitlines()[-1] == "error: bad"


def test_usage_error_is_typers_own_with_exit_code_2() -> None:
    result = CliRunner().invoke(make_app(ConfigError("bad")), ["fail", "--nonsense"])
    assert result.exit_code == 2
    assert "No such option: --nonsense" in result.stderr
