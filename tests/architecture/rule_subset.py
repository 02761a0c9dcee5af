"""The subset of Python that a `@rule` may use (see `onetape.domain.rules`), checked on its AST."""

from __future__ import annotations

import ast
import inspect
import textwrap
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Rule = Callable[..., object]
Namespace = Mapping[str, Any]

SCALARS = {"int": int, "float": float, "bool": bool}
BUILTINS = {"min", "max", "abs", "int", "float"}
MATH = {"sqrt", "floor", "ceil", "isnan"}
NODES = (
    ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Return, ast.If, ast.While, ast.Break,
    ast.Continue, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.Call,
    ast.Name, ast.Attribute, ast.Subscript, ast.Constant, ast.expr_context, ast.boolop,
    ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.USub, ast.UAdd, ast.Not,
    ast.BitAnd, ast.BitOr, ast.BitXor, ast.LShift, ast.RShift,
    ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE,
)  # fmt: skip


def parse_rule(function: Rule) -> ast.FunctionDef:
    """The definition of `function`."""
    definition = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    assert isinstance(definition, ast.FunctionDef)
    return definition


def resolve_type(annotation: ast.expr | None, namespace: Namespace) -> Any:
    """int, float, bool, a record's class, or None when it is none of them."""
    name = ast.unparse(annotation) if annotation else ""
    hint = SCALARS.get(name, namespace.get(name))
    while isinstance(hint, typing.NewType):
        hint = hint.__supertype__
    if hint in SCALARS.values():
        return hint
    is_record = isinstance(hint, type) and bool(typing.get_type_hints(hint))
    return hint if is_record else None


def parameter_types(definition: ast.FunctionDef, namespace: Namespace) -> list[Any]:
    """`resolve_type` of each parameter."""
    return [resolve_type(argument.annotation, namespace) for argument in definition.args.args]


def result_types(definition: ast.FunctionDef, namespace: Namespace) -> list[Any]:
    """`resolve_type` of each result: none, one, or those of a tuple."""
    match definition.returns:
        case ast.Constant(value=None):
            return []
        case ast.Subscript(value=ast.Name(id="tuple"), slice=ast.Tuple(elts=parts)):
            return [resolve_type(part, namespace) for part in parts]
        case single:
            return [resolve_type(single, namespace)]


def find_violations(
    definition: ast.FunctionDef, namespace: Namespace, rules: set[Rule]
) -> list[str]:
    """What in a rule is outside the subset.

    `namespace` holds its globals, `rules` are the functions it may call.
    """
    return [*_signature(definition, namespace), *_body(definition, namespace, rules)]


def _signature(definition: ast.FunctionDef, namespace: Namespace) -> Iterator[str]:
    arguments = definition.args
    if arguments.defaults or arguments.kwonlyargs or arguments.vararg or arguments.kwarg:
        yield f"parameters: {ast.unparse(arguments)}"
    for argument in arguments.args:
        if resolve_type(argument.annotation, namespace) is None:
            yield f"parameter: {ast.unparse(argument)}"
    if any(result not in SCALARS.values() for result in result_types(definition, namespace)):
        yield f"result: {ast.unparse(definition.returns) if definition.returns else 'no type'}"


def _body(definition: ast.FunctionDef, namespace: Namespace, rules: set[Rule]) -> Iterator[str]:
    body = definition.body[1:] if ast.get_docstring(definition) else definition.body
    nodes = [node for statement in body for node in _walk(statement)]
    local = {argument.arg for argument in definition.args.args}
    local |= {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    results = {part for n in nodes if isinstance(n, ast.Return) for part in _branches(n.value)}
    for node in nodes:
        match node:
            case ast.Tuple() if node in results or isinstance(node.ctx, ast.Store):
                pass
            case _ if not isinstance(node, NODES):
                yield type(node).__name__
            case ast.Constant(value=value) if type(value) not in SCALARS.values():
                yield f"constant: {value!r}"
            case ast.Call() if node.keywords or not _may_call(node.func, namespace, rules):
                yield f"call: {ast.unparse(node)}"
            case ast.Name(id=name) if name not in local:
                if not _may_name(name, namespace, rules):
                    yield f"name: {name}"
            case _:
                pass


def _branches(result: ast.expr | None) -> Iterator[ast.expr | None]:
    """What `return` gives: the expression, and either side where it is a choice."""
    yield result
    if isinstance(result, ast.IfExp):
        yield from _branches(result.body)
        yield from _branches(result.orelse)


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    """`node` and all below it, but not the types that local variables are annotated with."""
    yield node
    for name, value in ast.iter_fields(node):
        children = value if isinstance(value, list) else [value]
        for child in children:
            if isinstance(child, ast.AST) and name != "annotation":
                yield from _walk(child)


def _may_call(function: ast.expr, namespace: Namespace, rules: set[Rule]) -> bool:
    match function:
        case ast.Name(id=name):
            return name in BUILTINS if name not in namespace else namespace[name] in rules
        case ast.Attribute(value=ast.Name(id="math"), attr=name):
            return name in MATH
        case _:
            return False


def _may_name(name: str, namespace: Namespace, rules: set[Rule]) -> bool:
    """Rules, allowed functions, `math`, and scalar constants (in capitals)."""
    if name not in namespace:
        return name in BUILTINS
    value = namespace[name]
    if inspect.isfunction(value):
        return value in rules
    return name == "math" or (name.isupper() and type(value) in SCALARS.values())
