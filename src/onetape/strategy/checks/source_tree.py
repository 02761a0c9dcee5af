"""Small questions about the syntax tree of a Python source."""

from __future__ import annotations

import ast
from collections.abc import Iterator

Function = ast.FunctionDef | ast.AsyncFunctionDef


def walk_functions(tree: ast.AST) -> Iterator[tuple[ast.AST, tuple[Function, ...]]]:
    """Every node below `tree` in the order of the source, with the functions around it."""
    waiting: list[tuple[ast.AST, tuple[Function, ...]]] = [(tree, ())]
    while waiting:
        node, around = waiting.pop()
        yield node, around
        inside = (*around, node) if isinstance(node, Function) else around
        waiting += [(child, inside) for child in reversed(list(ast.iter_child_nodes(node)))]


def root_name(node: ast.expr) -> str:
    """The variable that a chain such as `a.b[c].d` begins with; empty when it is none."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def called_name(node: ast.AST | None) -> str:
    """The name called in `name(...)`; empty for anything else."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id
    return ""


def assigned_value(node: ast.AST) -> ast.expr | None:
    """The right side of `name = value` or `name: type = value`."""
    return node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None


def assigned_targets(node: ast.AST) -> Iterator[ast.expr]:
    """Every single target that a statement assigns or deletes, tuples taken apart."""
    waiting: list[ast.expr] = []
    match node:
        case ast.Assign(targets=targets) | ast.Delete(targets=targets):
            waiting = list(targets)
        case ast.AugAssign(target=target) | ast.For(target=target):
            waiting = [target]
        case ast.AnnAssign(target=target, value=value) if value is not None:
            waiting = [target]
        case ast.With(items=items):
            waiting = [each.optional_vars for each in items if each.optional_vars is not None]
        case _:
            pass
    while waiting:
        target = waiting.pop(0)
        if isinstance(target, ast.Tuple | ast.List):
            waiting = [*target.elts, *waiting]
        elif isinstance(target, ast.Starred):
            waiting.insert(0, target.value)
        else:
            yield target


def assigned_names(node: ast.AST) -> set[str]:
    """The variables among `assigned_targets`."""
    return {each.id for each in assigned_targets(node) if isinstance(each, ast.Name)}


def bound_names(tree: ast.AST) -> set[str]:
    """Every variable and argument that something below `tree` binds."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names


def imported_names(tree: ast.Module) -> dict[str, str]:
    """Local name -> full dotted name of everything that the module imports."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for each in node.names:
                local = each.asname or each.name.partition(".")[0]
                names[local] = each.name if each.asname else local
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            for each in node.names:
                names[each.asname or each.name] = f"{node.module}.{each.name}"
    return names


def dotted_name(node: ast.expr, imports: dict[str, str]) -> str:
    """Full name of an imported thing, such as `numpy.random.rand`; empty when it is none."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.insert(0, node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or node.id not in imports:
        return ""
    return ".".join([imports[node.id], *parts])
