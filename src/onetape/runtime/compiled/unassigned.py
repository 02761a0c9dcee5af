"""Local names that may be read before they have a value: Python raises there, Numba reads zeros."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence

Known = frozenset[str] | None
"""Names that surely have a value; None where the code can't be reached."""


def find_unassigned(definition: ast.FunctionDef) -> list[ast.Name]:
    """The reads of local names of a function that may have no value there.

    A loop may run zero times, unless its values are written out, and any branch may be taken;
    `while True` ends by `break` alone.
    """
    flow = _Flow(definition)
    arguments = definition.args
    given = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    flow.follow(definition.body, frozenset(each.arg for each in given))
    return flow.found


def _join(states: Iterable[Known]) -> Known:
    """What is known where paths meet."""
    reached = [each for each in states if each is not None]
    return frozenset.intersection(*reached) if reached else None


class _Flow:
    """Follows the statements of one function."""

    def __init__(self, definition: ast.FunctionDef) -> None:
        self.found: list[ast.Name] = []
        self._breaks: list[list[Known]] = []
        self._continues: list[list[Known]] = []
        self._locals = {
            each.id
            for statement in definition.body
            for each in _outside_of_scopes(statement)
            if isinstance(each, ast.Name) and not isinstance(each.ctx, ast.Load)
        }

    def follow(self, statements: Sequence[ast.stmt], known: Known) -> Known:
        """What is known behind `statements`."""
        for statement in statements:
            if known is None:
                return None
            known = self._step(statement, known)
        return known

    def _step(self, statement: ast.stmt, known: frozenset[str]) -> Known:
        match statement:
            case ast.If():
                self._read(statement.test, known)
                branches = (statement.body, statement.orelse)
                return _join(self.follow(each, known) for each in branches)
            case ast.While() | ast.For():
                return self._loop(statement, known)
            case ast.Break():
                self._breaks[-1].append(known)
                return None
            case ast.Continue():
                self._continues[-1].append(known)
                return None
            case ast.Return() | ast.Raise():
                self._read(statement, known)
                return None
            case ast.AnnAssign(value=None):
                return known
            case _:
                self._read(statement, known)
                return known | _stored(statement)

    def _loop(self, loop: ast.While | ast.For, known: frozenset[str]) -> Known:
        self._breaks.append([])
        self._continues.append([])
        head = loop.iter if isinstance(loop, ast.For) else loop.test
        self._read(head, known)
        inside = known | _stored(loop.target) if isinstance(loop, ast.For) else known
        rounds = [self.follow(loop.body, inside), *self._continues.pop()]
        if isinstance(loop, ast.For):
            ended = _join(rounds) if _has_items(head) else known
        else:
            is_endless = isinstance(head, ast.Constant) and bool(head.value)
            ended = None if is_endless else known
        breaks = self._breaks.pop()
        return _join([self.follow(loop.orelse, ended), *breaks])

    def _read(self, node: ast.AST, known: frozenset[str]) -> None:
        """Note the names of an expression or a plain statement that may have no value."""
        if isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp):
            known = known.union(*(_stored(each.target) for each in node.generators))
        elif isinstance(node, ast.Lambda):
            known |= {each.arg for each in node.args.args}
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            self._read(ast.copy_location(ast.Name(node.target.id, ast.Load()), node), known)
        elif isinstance(node, ast.Name) and node.id in self._locals - known:
            self.found += [node] if isinstance(node.ctx, ast.Load) else []
        for each in ast.iter_child_nodes(node):
            self._read(each, known)


def _has_items(node: ast.expr) -> bool:
    """Whether what a loop runs over surely holds something."""
    match node:
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return bool(items)
        case ast.Call(func=ast.Name(id="range"), args=[ast.Constant(value=int(count))]):
            return count > 0
        case _:
            return False


def _outside_of_scopes(node: ast.AST) -> Iterable[ast.AST]:
    """A node and what is below it, but not what comprehensions and lambdas bind for themselves."""
    yield node
    for each in ast.iter_child_nodes(node):
        if not isinstance(each, ast.comprehension | ast.Lambda):
            yield from _outside_of_scopes(each)


def _stored(node: ast.AST) -> frozenset[str]:
    return frozenset(
        each.id
        for each in _outside_of_scopes(node)
        if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)
    )
