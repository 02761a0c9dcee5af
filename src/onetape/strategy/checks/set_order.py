"""`unordered-iteration`: going through a set, whose order changes from run to run."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from onetape.strategy.checks.finding import Finding, at
from onetape.strategy.checks.source_tree import (
    Function,
    assigned_names,
    assigned_value,
    bound_names,
    called_name,
    walk_functions,
)

_REMEDY = "use a list or a dict, or go through sorted(...)"
_GOES_THROUGH = {
    "enumerate", "filter", "iter", "list", "map", "next", "reversed", "sum", "tuple", "zip",
}  # fmt: skip
_ORDER_FREE = {"all", "any", "frozenset", "len", "max", "min", "set", "sorted"}
_SET_METHODS = {"difference", "intersection", "symmetric_difference", "union"}


def find_unordered(tree: ast.Module) -> Iterator[Finding]:
    """Every place in `tree` where the order of a set can reach a decision."""
    known: dict[tuple[Function, ...], set[str]] = {(): _set_variables(tree.body, set())}
    harmless: set[ast.AST] = set()
    for node, around in walk_functions(tree):
        if around not in known:
            outer = known[around[:-1]] - bound_names(around[-1])
            known[around] = outer | _set_variables(ast.walk(around[-1]), outer)
        sets = known[around]
        if isinstance(node, ast.Call) and called_name(node) in _ORDER_FREE and not _by_key(node):
            harmless.update(node.args)
        elif node not in harmless and isinstance(node, ast.stmt | ast.expr):
            what = _goes_through_set(node, sets)
            if what:
                yield at(node, "unordered-iteration", f"{what}: its order is not fixed", _REMEDY)


def _goes_through_set(node: ast.stmt | ast.expr, sets: set[str]) -> str:
    match node:
        case ast.For(iter=iterated) if _is_set(iterated, sets):
            return "a loop over a set"
        case ast.ListComp() | ast.DictComp() | ast.GeneratorExp():
            if any(_is_set(each.iter, sets) for each in node.generators):
                return "a comprehension over a set"
        case ast.Starred(value=value) if _is_set(value, sets):
            return "a set unpacked with *"
        case ast.Call(func=ast.Attribute(value=owner, attr="pop")) if _is_set(owner, sets):
            return "pop() of a set"
        case ast.Call(func=ast.Name(id=name), args=args):
            goes_through = name in _GOES_THROUGH or (name in _ORDER_FREE and _by_key(node))
            if goes_through and any(_is_set(each, sets) for each in args):
                return f"{name}() of a set"
        case _:
            pass
    return ""


def _by_key(node: ast.Call) -> bool:
    """Whether equal keys leave the order of the set in the result."""
    return any(each.arg == "key" for each in node.keywords)


def _set_variables(nodes: Iterable[ast.AST], sets: set[str]) -> set[str]:
    """Variables that `nodes` assign, and never anything but a set."""
    yes: set[str] = set()
    no: set[str] = set()
    for node in nodes:
        value = assigned_value(node)
        is_set = value is not None and _is_set(value, sets | yes)
        (yes if is_set else no).update(assigned_names(node))
    return yes - no


def _is_set(node: ast.expr, sets: set[str]) -> bool:
    match node:
        case ast.Set() | ast.SetComp():
            return True
        case ast.Name(id=name):
            return name in sets
        case ast.Call(func=ast.Name(id="set" | "frozenset")):
            return True
        case ast.Call(func=ast.Attribute(value=owner, attr=attr)):
            return attr in _SET_METHODS and _is_set(owner, sets)
        case ast.BinOp(left=left, right=right):
            return _is_set(left, sets) or _is_set(right, sets)
        case _:
            return False
