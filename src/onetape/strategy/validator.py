"""The validator: reads the source of a strategy and lists what would make it unreliable.

It reads and never runs. It is a help for people of good will and no sandbox: what it can't see in
the source, `onetape.strategy.guard` refuses while a session runs.
"""

from __future__ import annotations

import ast
import tokenize

from onetape.domain.errors import StrategyError
from onetape.strategy.checks.anatomy import find_malformations
from onetape.strategy.checks.finding import Finding
from onetape.strategy.checks.hidden_state import find_hidden_state
from onetape.strategy.checks.purity import find_impurities
from onetape.strategy.checks.set_order import find_unordered


def check_source(text: str, filename: str) -> list[Finding]:
    """What is wrong with a strategy's source, in the order of its lines; empty when it is fine."""
    try:
        tree = ast.parse(text, filename)
        compile(tree, filename, "exec")  # finds what the grammar alone does not
    except SyntaxError as error:
        return [Finding(error.lineno or 1, "syntax", f"not Python: {error.msg}", "correct it")]
    except ValueError as error:
        return [Finding(1, "syntax", f"not Python: {error}", "save it as a text file")]
    finders = (find_impurities, find_unordered, find_hidden_state, find_malformations)
    return sorted({finding for find in finders for finding in find(tree)})


def check_file(path: str) -> list[Finding]:
    """`check_source` of a file.

    Raises:
        StrategyError: The file can't be read.
    """
    return check_source(read_source(path), path)


def read_source(path: str) -> str:
    """The text of a Python file, decoded as Python would.

    Raises:
        StrategyError: The file can't be read.
    """
    try:
        with tokenize.open(path) as file:
            return file.read()
    except (OSError, SyntaxError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a Python text file"
        raise StrategyError(
            f"the strategy file can't be read: {reason}",
            where=path,
            remedy="give the path of an existing .py file",
        ) from None
