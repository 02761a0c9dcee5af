"""The gates of an instrument as one function: the bodies of their rules, one after the other.

Nearly every order passes, and then asking gate by gate costs more than all their comparisons: a
record to fill, and a call each. A rule stays inside a subset (`domain/rules.py`) that lets its body
stand in another function as it is: `order.field` becomes a variable, the limit a global, and
`return condition` goes on to the next gate or ends with None. So each comparison has one source;
`tests/property/test_gate_row.py` shows that rows and gates agree.
"""

from __future__ import annotations

import ast
import functools
import inspect
from collections.abc import Callable, Sequence
from types import CodeType, FunctionType
from typing import Any, TypeVar

from onetape.domain.errors import InvariantBroken
from onetape.risk.input import apply_worst_case

T = TypeVar("T")
Rule = Callable[..., Any]

ROW_FIELDS = (
    "intent", "side", "client_order_id", "ts", "side_sign", "lots", "lot_notional", "notional",
    "equity", "cash", "session_start_equity", "peak_equity", "reduce_only", "reducible_lots", "fee",
    "position_lots", "open_buy_lots", "open_sell_lots", "other_gross_notional",
    "other_net_notional", "open_buy_notional", "kill_active",
    "margin_needed", "margin_power", "currency_needed", "currency_free",
)  # fmt: skip
"""What a row takes, in this order: the side, and of a `RiskInput` all that its maker fills."""

_ROW = f"""
def row({", ".join(ROW_FIELDS)}):
    return approve(intent, lots, side, client_order_id)
"""


def build_gate_row(
    gates: Sequence[tuple[Rule, Any]], approve: Callable[..., T]
) -> Callable[..., T | None]:
    """A function of `ROW_FIELDS`: None when a gate refuses, else what `approve` makes.

    Args:
        gates: (rule, limit) each, in the order of asking.
        approve: Called with intent, lots, side and client_order_id of an order that passes.

    Raises:
        OSError: The source of a rule is not at hand.
        InvariantBroken: A rule is not written so that it can stand in another function.
    """
    code, scope = _compile_row((apply_worst_case, *(check for check, _ in gates)))
    limits = {_own(number, "limit"): limit for number, (_, limit) in enumerate(gates, 1)}
    return FunctionType(code, {**scope, **limits, "approve": approve})


def _own(number: int, name: str) -> str:
    """What rule `number` of a row calls `name` there."""
    return f"_{number}_{name}"


@functools.cache
def _compile_row(rules: tuple[Rule, ...]) -> tuple[CodeType, dict[str, Any]]:
    """The code of every row of these rules, and what the rules call; rows differ in limits."""
    row = ast.parse(_ROW)
    lines: list[ast.stmt] = vars(row.body[0])["body"]
    lines[:0] = [line for number, rule in enumerate(rules) for line in _inline(number, rule)]
    module = compile(ast.fix_missing_locations(row), "<gate row>", "exec")
    code = next(each for each in module.co_consts if isinstance(each, CodeType))
    scope = {
        _own(number, name): value
        for number, rule in enumerate(rules)
        for name, value in rule.__globals__.items()
        if _own(number, name) in code.co_names
    }
    return code, scope


def _inline(number: int, rule: Rule) -> list[ast.stmt]:
    """The body of a rule between others: one round of a loop, which it breaks out of to pass."""
    (definition,) = ast.parse(inspect.getsource(rule)).body
    if not isinstance(definition, ast.FunctionDef):
        raise InvariantBroken(f"{rule} is no function")
    body = definition.body[1:] if ast.get_docstring(definition) else definition.body
    inliner = _Inliner(number, *(each.arg for each in definition.args.args))
    lines = [line for each in body for line in inliner.lines(each)]
    if not inliner.returns:
        return lines
    if inliner.returns == 1 and isinstance(body[-1], ast.Return):
        return lines[:-1]  # passing leads to the next rule anyway
    return [ast.While(ast.Constant(value=True), [*lines, _refuse()], [])]


def _refuse() -> ast.stmt:
    return ast.Return(ast.Constant(value=None))


class _Inliner(ast.NodeTransformer):
    """Rewrites the lines of one rule for its row.

    Attributes:
        returns: How many ways out of the rule there were.
    """

    def __init__(self, number: int, order: str, limit: str = "") -> None:
        self._number = number
        self._order = order
        self._limit = limit
        self.returns = 0

    def lines(self, statement: ast.stmt) -> list[ast.stmt]:
        """What stands in the row for a statement of the rule."""
        lines = self.visit(statement)
        return lines if isinstance(lines, list) else [lines]

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        """A field of the order is a variable of the row."""
        if isinstance(node.value, ast.Name) and node.value.id == self._order:
            return ast.Name(node.attr, node.ctx)
        node.value = self.visit(node.value)
        return node

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """The limit, a variable or a global of the rule gets a name of its own."""
        if node.id == self._order:
            raise InvariantBroken("a gate's rule gives the whole order to another function")
        if node.id in _BUILTINS:
            return node
        name = "limit" if node.id == self._limit else node.id
        return ast.Name(_own(self._number, name), node.ctx)

    def visit_Return(self, node: ast.Return) -> list[ast.stmt]:
        """Refused ends the row; passed goes on behind the rule."""
        self.returns += 1
        if node.value is None:
            raise InvariantBroken("a gate's rule returns nothing")
        fails = ast.UnaryOp(ast.Not(), self.visit(node.value))
        return [ast.If(fails, [_refuse()], []), ast.Break()]

    def visit_While(self, node: ast.While) -> ast.stmt:
        """A loop stays as it is; a way out of the rule from inside would only leave the loop."""
        if any(isinstance(each, ast.Return) for each in ast.walk(node)):
            raise InvariantBroken("a gate's rule returns from inside a loop")
        self.generic_visit(node)
        return node


_BUILTINS = frozenset({"min", "max", "abs", "int", "float"})
