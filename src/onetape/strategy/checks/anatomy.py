"""How a strategy class is built: its declarations, callbacks, state and features.

| code                      | refused                                                          |
| ------------------------- | ---------------------------------------------------------------- |
| `no-strategy`             | a file without a subclass of `Strategy`                          |
| `declaration`             | a param or state without one of the four annotations             |
| `mutable-class-attribute` | a container shared by all instances                              |
| `undeclared-state`        | `self.name` assigned or read that nothing declares               |
| `assigned-param`          | a param assigned                                                 |
| `unknown-callback`        | an `on_...` that the engine never calls                          |
| `callback-shape`          | a callback that can't be called as the engine calls it           |
| `unknown-feature`         | a feature read that `features()` does not return                 |

A class that inherits from one outside of its file is checked for what can be known of it.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from difflib import get_close_matches

import msgspec

from onetape.domain.nearest import nearest
from onetape.strategy.checks.finding import Finding, at
from onetape.strategy.checks.hidden_state import is_mutable
from onetape.strategy.checks.source_tree import (
    Function,
    assigned_names,
    assigned_value,
    called_name,
    dotted_name,
    imported_names,
)
from onetape.strategy.sdk import Strategy

_STRATEGY = "onetape.strategy.sdk.Strategy"
_SHIPPED = "onetape.strategy.library."
_SCALARS = ("int", "float", "bool", "str")
_CALLBACKS = {
    name: tuple(inspect.signature(getattr(Strategy, name)).parameters)
    for name in dir(Strategy)
    if name.startswith("on_") or name in ("check_params", "features", "generate_orders")
}
_OWN_MACHINERY = (
    "__new__", "__init__", "__setattr__", "__getattr__", "__getattribute__", "__delattr__",
    "__init_subclass__", "__del__",
)  # fmt: skip


class _Anatomy(msgspec.Struct):
    """What a strategy class declares, what it inherits inside its file included.

    `features` is None when the names can't be read from the source; `is_open` says that a base
    outside of the file may declare more.
    """

    node: ast.ClassDef
    params: set[str]
    states: set[str]
    others: set[str]
    features: set[str] | None
    is_open: bool


def find_malformations(tree: ast.Module) -> Iterator[Finding]:
    """Everything in `tree` that this file's table refuses."""
    strategies = _dissect_module(tree)
    if not strategies:
        remedy = "write `class Name(Strategy):`, from onetape.strategy.sdk"
        yield Finding(1, "no-strategy", "the file has no subclass of Strategy", remedy)
    for anatomy in strategies:
        for statement in anatomy.node.body:
            yield from _check_declaration(statement)
            if isinstance(statement, Function):
                yield from _check_method(statement)
                yield from _check_self(statement, anatomy)
                if anatomy.features is not None:
                    yield from _check_features(statement, anatomy.features)


def _dissect_module(tree: ast.Module) -> list[_Anatomy]:
    """The strategy classes of a module, in order."""
    imports = imported_names(tree)
    known: dict[str, _Anatomy] = {}
    for node in tree.body:
        if not isinstance(node, ast.ClassDef):
            continue
        local = [
            known[each.id] for each in node.bases if isinstance(each, ast.Name) and each.id in known
        ]
        names = [dotted_name(each, imports) for each in node.bases]
        is_closed = len(local) + names.count(_STRATEGY) == len(node.bases)
        if local or _STRATEGY in names or any(name.startswith(_SHIPPED) for name in names):
            known[node.name] = _dissect(node, local, is_open=not is_closed)
    return list(known.values())


def _dissect(node: ast.ClassDef, bases: list[_Anatomy], *, is_open: bool) -> _Anatomy:
    features: set[str] | None = set()
    if is_open or any(each.features is None for each in bases):
        features = None
    found = _Anatomy(node, set(), set(), set(dir(Strategy)), features, is_open)
    for each in bases:
        found.params |= each.params
        found.states |= each.states
        found.others |= each.others
        found.is_open |= each.is_open
        if found.features is not None:
            found.features |= each.features or set()
    for statement in node.body:
        kind = called_name(assigned_value(statement))
        names = {"param": found.params, "state": found.states}.get(kind, found.others)
        names |= assigned_names(statement)
        if isinstance(statement, Function | ast.ClassDef):
            found.others.add(statement.name)
        if isinstance(statement, Function) and statement.name == "features":
            found.features = _feature_names(statement)
    return found


def _feature_names(method: Function) -> set[str] | None:
    """Keys of the dicts that `features()` returns; None when they aren't all written out."""
    names: set[str] = set()
    for node in ast.walk(method):
        if isinstance(node, ast.Return):
            keys = node.value.keys if isinstance(node.value, ast.Dict) else [None]
            for key in keys:
                if not isinstance(key, ast.Constant) or not isinstance(key.value, str):
                    return None
                names.add(key.value)
    return names


def _check_declaration(statement: ast.stmt) -> Iterator[Finding]:
    value = assigned_value(statement)
    if is_mutable(value):
        message = "a container in the class body is shared by all instances"
        remedy = "use a tuple for constants, and declared state for what changes"
        yield at(statement, "mutable-class-attribute", message, remedy)
    kind = called_name(value)
    hint = statement.annotation if isinstance(statement, ast.AnnAssign) else None
    if kind in ("param", "state") and not (isinstance(hint, ast.Name) and hint.id in _SCALARS):
        message = f"a {kind} is one of {', '.join(_SCALARS)}, and says which"
        yield at(statement, "declaration", message, f"write `name: int = {kind}(...)`")


def _check_method(method: Function) -> Iterator[Finding]:
    name = method.name
    if name in _OWN_MACHINERY:
        message = f"{name} belongs to Strategy"
        yield at(method, "callback-shape", message, "check in check_params, begin in on_start")
    elif name not in _CALLBACKS:
        close = get_close_matches(name, _CALLBACKS, n=1, cutoff=0.85)
        if name.startswith("on_") or (close and not name.startswith("_")):
            message = f"the engine never calls {name}"
            yield at(method, "unknown-callback", message, nearest(name, list(_CALLBACKS)))
    elif isinstance(method, ast.AsyncFunctionDef) or _is_generator(method):
        message = f"{name} is async or a generator"
        yield at(method, "callback-shape", message, "write it as a plain function")
    elif method.decorator_list:
        yield at(method, "callback-shape", f"{name} is decorated", "write it as a plain method")
    elif not _accepts(method.args, len(_CALLBACKS[name])):
        wanted = ", ".join(_CALLBACKS[name])
        message = f"{name} can't be called with ({wanted})"
        yield at(method, "callback-shape", message, f"write def {name}({wanted})")


def _is_generator(method: Function) -> bool:
    return any(isinstance(node, ast.Yield | ast.YieldFrom) for node in ast.walk(method))


def _accepts(arguments: ast.arguments, count: int) -> bool:
    """Whether a call with `count` positional arguments binds."""
    most = len(arguments.posonlyargs) + len(arguments.args)
    least = most - len(arguments.defaults)
    needs_keyword = any(default is None for default in arguments.kw_defaults)
    return least <= count and (count <= most or arguments.vararg is not None) and not needs_keyword


def _check_self(method: Function, anatomy: _Anatomy) -> Iterator[Finding]:
    """Assignments to, and reads of, attributes of the strategy itself."""
    arguments = [*method.args.posonlyargs, *method.args.args]
    own = arguments[0].arg if arguments else ""
    for node in ast.walk(method):
        match node:
            case ast.Attribute(value=ast.Name(id=owner), attr=name, ctx=use) if owner == own:
                yield from _check_own(node, name, anatomy, assigned=not isinstance(use, ast.Load))
            case _:
                pass


def _check_own(
    node: ast.Attribute, name: str, anatomy: _Anatomy, *, assigned: bool
) -> Iterator[Finding]:
    if assigned and name in anatomy.params:
        remedy = "params never change: declare state for what does"
        yield at(node, "assigned-param", f"param {name} is assigned", remedy)
    elif name in anatomy.states or anatomy.is_open:
        return
    elif assigned:
        remedy = f"write `{name}: int = state(0)` in the class body, with the type it has"
        yield at(node, "undeclared-state", f"self.{name} is assigned and not declared", remedy)
    elif name not in anatomy.params | anatomy.others:
        known = sorted(anatomy.params | anatomy.states)
        yield at(node, "undeclared-state", f"self.{name} is not declared", nearest(name, known))


def _check_features(method: Function, known: set[str]) -> Iterator[Finding]:
    """Reads of `ctx.features.NAME`, `ctx.features_of(...).NAME`, and of variables that hold one."""
    rows: set[str] = set()
    others: set[str] = set()
    for node in ast.walk(method):
        value = assigned_value(node)
        (rows if value is not None and _is_row(value) else others).update(assigned_names(node))
    for node in ast.walk(method):
        if not isinstance(node, ast.Attribute) or node.attr in known:
            continue
        owner = node.value
        held = isinstance(owner, ast.Name) and owner.id in rows - others
        if held or _is_row(owner):
            message = f"features() returns no {node.attr!r}"
            yield at(node, "unknown-feature", message, nearest(node.attr, sorted(known)))


def _is_row(node: ast.expr) -> bool:
    match node:
        case ast.Call(func=ast.Attribute(attr="features_of")):
            return True
        case ast.Attribute(value=ast.Name(id=owner), attr="features"):
            return owner != "self"
        case _:
            return False
