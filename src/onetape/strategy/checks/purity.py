"""What the source of a strategy may touch: anything else could decide differently tomorrow.

| code               | refused                                                              |
| ------------------ | -------------------------------------------------------------------- |
| `forbidden-import` | a module that is not in `ALLOWED_IMPORTS`                            |
| `forbidden-call`   | files, terminal, generated code, hidden attributes, memory addresses |
| `clock`            | the wall clock, the machine's time zone                              |
| `randomness`       | `numpy.random`                                                       |
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from onetape.strategy.checks.finding import (
    ASK_CTX_NOW,
    DECLARE_STATE,
    DERIVE_FROM_PARAMS,
    TAKE_DATA,
    Finding,
    at,
)
from onetape.strategy.checks.source_tree import (
    bound_names,
    called_name,
    dotted_name,
    imported_names,
)

ALLOWED_IMPORTS = (
    "__future__", "bisect", "collections", "dataclasses", "datetime", "enum", "heapq", "itertools",
    "math", "numpy", "onetape.domain", "onetape.features", "onetape.strategy.context",
    "onetape.strategy.declaration", "onetape.strategy.library", "onetape.strategy.sdk", "operator",
    "typing",
)  # fmt: skip
"""Importable with everything below them, except what `FORBIDDEN_BELOW` names."""

FORBIDDEN_BELOW = ("numpy.ctypeslib", "numpy.f2py", "numpy.random", "numpy.testing")

_SAY = "ctx.signal(name, value) puts a number on the tape"
_CODE = "write the code itself, so that it can be read and compiled"
_ORDER = "compare and sort by values: these change from run to run"

_IMPORT_REMEDIES = {
    "time": ASK_CTX_NOW,
    "random": DERIVE_FROM_PARAMS,
    "secrets": DERIVE_FROM_PARAMS,
    "numpy.random": DERIVE_FROM_PARAMS,
    "uuid": "ctx.buy and ctx.sell return the id of the order",
    "logging": _SAY,
}
_FORBIDDEN_NAMES = {
    **dict.fromkeys(("open", "input"), TAKE_DATA),
    **dict.fromkeys(("print", "breakpoint", "help", "exit", "quit"), _SAY),
    **dict.fromkeys(("eval", "exec", "compile", "__import__"), _CODE),
    **dict.fromkeys(("__builtins__", "__loader__", "__spec__"), _CODE),
    **dict.fromkeys(("globals", "locals", "vars", "setattr", "delattr"), DECLARE_STATE),
    **dict.fromkeys(("id", "hash"), _ORDER),
}
_PLAIN_DUNDERS = {"__class__", "__doc__", "__init__", "__name__", "__post_init__", "__qualname__"}
_NUMPY_FILES = {
    "DataSource", "fromfile", "fromregex", "genfromtxt", "load", "loadtxt", "memmap", "save",
    "savetxt", "savez", "savez_compressed",
}  # fmt: skip


def find_impurities(tree: ast.Module) -> Iterator[Finding]:
    """Everything in `tree` that this file's table refuses."""
    imports = imported_names(tree)
    own = bound_names(tree)
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                for each in node.names:
                    yield from _check_import(node, each.name)
            case ast.ImportFrom():
                yield from _check_import_from(node)
            case ast.Name(id=name, ctx=ast.Load()) if name in _FORBIDDEN_NAMES and name not in own:
                yield at(node, "forbidden-call", f"use of {name}", _FORBIDDEN_NAMES[name])
            case ast.Attribute():
                yield from _check_attribute(node, dotted_name(node, imports))
            case ast.Call(func=ast.Attribute() as function):
                yield from _check_clock_call(node, dotted_name(function, imports), function.attr)
            case ast.Call(args=[_, ast.Constant(value=str(name)), *_]):
                if called_name(node) == "getattr" and name.startswith("_"):
                    yield at(node, "forbidden-call", f"getattr of the hidden {name}", DECLARE_STATE)
            case _:
                pass


def _check_import_from(node: ast.ImportFrom) -> Iterator[Finding]:
    if node.level:
        message = "a relative import, but a strategy file is loaded alone"
        yield at(node, "forbidden-import", message, "move what it needs into the file")
        return
    for each in node.names:
        if each.name == "*":
            message = f"import of everything in {node.module}"
            yield at(node, "forbidden-import", message, "name what you import")
        else:
            yield from _check_import(node, f"{node.module}.{each.name}")


def _check_import(node: ast.stmt, name: str) -> Iterator[Finding]:
    if _is_below(name, ALLOWED_IMPORTS) and not _is_below(name, FORBIDDEN_BELOW):
        return
    remedy = "a strategy may import from " + ", ".join(ALLOWED_IMPORTS)
    for module, better in _IMPORT_REMEDIES.items():
        if _is_below(name, (module,)):
            remedy = better
    yield at(node, "forbidden-import", f"import of {name}", remedy)


def _is_below(name: str, modules: tuple[str, ...]) -> bool:
    return any(name == module or name.startswith(module + ".") for module in modules)


def _check_attribute(node: ast.Attribute, name: str) -> Iterator[Finding]:
    top, _, rest = name.partition(".")
    if node.attr.startswith("__") and node.attr.endswith("__"):
        if node.attr not in _PLAIN_DUNDERS:
            yield at(node, "forbidden-call", f"use of the hidden {node.attr}", DECLARE_STATE)
    elif node.attr.startswith("_") and not _is_self(node.value):
        yield at(node, "forbidden-call", f"use of the hidden {node.attr}", TAKE_DATA)
    elif top == "datetime" and node.attr in ("now", "today", "utcnow"):
        yield at(node, "clock", f"use of {name}", ASK_CTX_NOW)
    elif name == "numpy.random":
        yield at(node, "randomness", f"use of {name}", DERIVE_FROM_PARAMS)
    elif (top == "numpy" and rest in _NUMPY_FILES) or node.attr == "tofile":
        yield at(node, "forbidden-call", f"use of {name or node.attr}", TAKE_DATA)


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def _check_clock_call(node: ast.Call, name: str, attribute: str) -> Iterator[Finding]:
    given = len(node.args) + len(node.keywords)
    is_datetime = name.startswith("datetime.") and attribute == "fromtimestamp"
    if (is_datetime and given < 2) or (attribute == "astimezone" and given == 0):
        message = f"{attribute} in the machine's own time zone"
        yield at(node, "clock", message, "pass datetime.UTC")
    match node.args:
        case [ast.Constant(value="now" | "today" as word)] if name == "numpy.datetime64":
            yield at(node, "clock", f"use of {name}({word!r})", ASK_CTX_NOW)
        case _:
            pass
