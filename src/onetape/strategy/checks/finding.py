"""`Finding`: one thing that is wrong with the source of a strategy."""

from __future__ import annotations

import ast

import msgspec


class Finding(msgspec.Struct, frozen=True, order=True):
    """What is wrong, on which line (from 1), and what to do about it.

    `code` is a stable word for programs; `message` and `remedy` are sentences for people.
    """

    line: int
    code: str
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.message} ({self.remedy}) [{self.code}]"


def at(node: ast.stmt | ast.expr, code: str, message: str, remedy: str) -> Finding:
    """A finding at the line of `node`."""
    return Finding(node.lineno, code, message, remedy)


# Remedies that several findings, and the guard, give.
DECLARE_STATE = "declare `name: int = state(0)` in the class body and assign self.name"
ASK_CTX_NOW = "ctx.now is the time in every mode"
DERIVE_FROM_PARAMS = "derive variation from params, so that every run decides the same"
TAKE_DATA = "data reaches a strategy as bars, features and params"
