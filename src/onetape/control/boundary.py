"""The edge of the process: every error becomes one readable line and an exit code.

| exit code | meaning                                                           |
| --------- | ----------------------------------------------------------------- |
| 0         | done                                                              |
| 2         | fix the input: command line, configuration, data, strategy        |
| 3         | try again: disk full, file locked, venue away                     |
| 4         | call a person: a tape is damaged, re-runs differ, orders are left |
| 5         | the run is complete, but a strategy of it was quarantined         |
| 70        | a bug of ours                                                     |
| 130       | interrupted                                                       |
"""

from __future__ import annotations

import re
import sys
import traceback
from typing import Any

import typer
from typer.core import TyperGroup

from onetape.domain.errors import FixInput, InvariantBroken, OnetapeError, TryAgain

DAMAGED = 4
QUARANTINED = 5
INTERRUPTED = 130

_DEBUG = "onetape.debug"
_WRONG_PATH = (FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError,
               PermissionError)  # fmt: skip


class ErrorBoundary(TyperGroup):
    """The root command; what escapes from any command ends here."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; an exception becomes a line on stderr and an exit code."""
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, typer.TyperException, BrokenPipeError):
            raise
        except (Exception, KeyboardInterrupt) as error:
            if ctx.meta.get(_DEBUG):
                traceback.print_exc()
            line, code = describe(error)
            print_error(line)
            raise typer.Exit(code) from error


def describe(error: BaseException) -> tuple[str, int]:
    """The line that tells a person about `error`, and the exit code."""
    match error:
        case OnetapeError():
            return str(error), error.exit_code
        case KeyboardInterrupt():
            return "interrupted", INTERRUPTED
        case OSError() if error.strerror:
            place = f"{error.filename}: " if error.filename else ""
            kind = FixInput if isinstance(error, _WRONG_PATH) else TryAgain
            return f"{place}{error.strerror}", kind.exit_code
        case _:
            what = f"unexpected {type(error).__name__}: {error}"
            return f"{what} (a bug: please rerun with --debug)", InvariantBroken.exit_code


def print_error(line: str) -> None:
    """One line on stderr; line breaks and control characters of the text become blanks."""
    joined = re.sub(r"\s*\n\s*", " ", line)
    readable = "".join(each if each.isprintable() else " " for each in joined)
    print(f"error: {readable}", file=sys.stderr)


def remember_debug(ctx: typer.Context, *, value: bool) -> bool:
    """Callback of `--debug`."""
    ctx.meta[_DEBUG] = value
    return value
