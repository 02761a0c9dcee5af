"""Definitions as plain data: what computes a feature after its code has changed or gone.

A rule is a pure function of scalars and of other rules, and its version is the hash of the source
of all of them. So the sources, the numbers they use and the state before the first bar are the
whole feature: `load_feature` makes it from these again, with the same version and the same bits.
"""

from __future__ import annotations
import __future__

import ast
import hashlib
import math
from collections.abc import Callable
from importlib.abc import ExecutionLoader
from typing import Any, ClassVar

import msgspec

from onetape.domain.errors import DataError
from onetape.domain.rule_definition import (
    compute_definition_hash,
    compute_layout,
    list_globals,
    list_rules,
    parse_function,
)
from onetape.domain.rules import rule
from onetape.features.cross_section import CrossSection
from onetape.features.estimator import Estimator, Expression
from onetape.features.plan import Plan
from onetape.features.state import State
from onetape.features.timeframe import Timeframed

_KINDS: dict[str, Any] = {"int": int, "float": float, "array": list[float]}
_BUILTINS = {"abs": abs, "float": float, "int": int, "max": max, "min": min}
_STATEMENTS = (
    ast.Import, ast.ImportFrom, ast.ClassDef, ast.AsyncFunctionDef, ast.Lambda, ast.Global,
    ast.Nonlocal, ast.With, ast.Try, ast.Raise, ast.Yield, ast.YieldFrom, ast.Await,
)  # fmt: skip


class ArchivedRule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule: its source, the numbers that it uses by name, and the places of the rules it calls.

    Numbers are their `repr`, which holds NaN and infinities too.
    """

    source: str
    numbers: dict[str, str]
    rules: dict[str, int]


class ArchivedFeature(msgspec.Struct, frozen=True, kw_only=True):
    """A feature as plain data.

    `kind` is `rule`, `expression`, `timeframed` or `cross_section`; `fields` its parameters as
    JSON. A rule has `layout`, `state` (each list as pairs of value and count) and `rules`, the
    first of them its `update`; an expression `parts`, with the places of what each reads; the last
    two have one part, and their timeframe or statistic in `fields`.
    """

    version: str
    kind: str
    name: str
    inputs: tuple[str, ...]
    warm_up: int
    fields: str
    layout: list[tuple[str, str]] = []
    state: dict[str, str | list[tuple[str, int]]] = {}
    rules: list[ArchivedRule] = []
    parts: list[tuple[ArchivedFeature, list[int]]] = []


def archive_feature(feature: Estimator) -> ArchivedFeature:
    """`feature` as plain data.

    Raises:
        StrategyError: A rule of it is none, so that it has no version.
    """
    kind, fields = "rule", msgspec.json.encode(feature).decode()
    parts: list[tuple[ArchivedFeature, list[int]]] = []
    more: dict[str, Any] = {}
    if isinstance(feature, _Archived):
        return feature.archived
    if isinstance(feature, CrossSection):
        kind, fields = "cross_section", feature.statistic
        parts = [(archive_feature(feature.feature), [])]
    elif isinstance(feature, Timeframed):
        kind, fields = "timeframed", feature.timeframe
        parts = [(archive_feature(feature.feature), [])]
    elif isinstance(feature, Expression):
        kind = "expression"
        parts = [(archive_feature(each), list(sources)) for each, sources in feature.plan.nodes]
    else:
        state = feature.start_state()
        rules = list_rules(type(feature).update)
        more = {
            "layout": list(compute_layout(type(state))),
            "state": {name: _dump(value) for name, value in msgspec.structs.asdict(state).items()},
            "rules": [_archive_rule(each, rules) for each in rules],
        }
    return ArchivedFeature(
        version=feature.version, kind=kind, name=type(feature).__name__, inputs=feature.inputs,
        warm_up=feature.warm_up, fields=fields, parts=parts, **more,
    )  # fmt: skip


def load_feature(archived: ArchivedFeature) -> Estimator:
    """The feature that `archive_feature` made plain data of.

    Raises:
        DataError: The data is not what its version says, or holds something else than rules.
    """
    match archived.kind:
        case "rule":
            feature = _load_rule(archived)
        case "timeframed":
            ((inside, _),) = archived.parts
            feature = Timeframed(feature=load_feature(inside), timeframe=archived.fields)
        case "cross_section":
            ((inside, _),) = archived.parts
            statistic: Any = archived.fields
            feature = CrossSection(feature=load_feature(inside), statistic=statistic)
        case "expression":
            feature = ArchivedExpression(archived=archived, inputs=archived.inputs)
        case _:
            raise DataError(f"a feature of kind {archived.kind!r}", where=archived.name,
                            remedy="was it written by a newer onetape?")  # fmt: skip
    if feature.version != archived.version:
        raise DataError(
            f"an archived feature has version {feature.version}, and its name says "
            f"{archived.version}",
            where=archived.name,
            remedy="the archive was changed, or is of another onetape; compute the feature anew",
        )
    return feature


class _Archived:
    """The mark of features that were loaded."""

    archived: ArchivedFeature


class ArchivedEstimator(Estimator, _Archived, frozen=True):
    """An estimator from an archive; each has a subclass with its own `update`."""

    archived: ArchivedFeature
    state_type: ClassVar[type[State]]

    def __hash__(self) -> int:
        return hash((self.archived.version, self.inputs))

    @property
    def warm_up(self) -> int:
        """As it was."""
        return self.archived.warm_up

    def start_state(self) -> State:
        """As it was."""
        kinds = dict(self.archived.layout)
        values = {name: _load(kinds[name], each) for name, each in self.archived.state.items()}
        return type(self).state_type(**values)

    @property
    def version(self) -> str:
        """What the parts of the archive hash to."""
        state = self.start_state()
        definition = compute_definition_hash(type(self).update, compute_layout(type(state)))
        whole = (self.archived.name, definition, msgspec.Raw(self.archived.fields.encode()), state)
        return hashlib.sha256(msgspec.json.encode(whole)).hexdigest()[:16]


class ArchivedExpression(Expression, _Archived, frozen=True):
    """An expression from an archive."""

    archived: ArchivedFeature

    def __hash__(self) -> int:
        return hash((self.archived.version, self.inputs))

    def build(self) -> Estimator:
        """Itself."""
        return self

    def _list_columns(self) -> tuple[str, ...]:
        return self.archived.inputs

    def add_to(self, plan: Plan) -> int:
        """Add its parts."""
        places = [plan.columns.index(each) for each in self.archived.inputs]
        for part, sources in self.archived.parts:
            places.append(plan.add(load_feature(part), tuple(places[at] for at in sources)))
        return places[-1]

    @property
    def version(self) -> str:
        """What the parts of the archive hash to."""
        parts = [(load_feature(part).version, sources) for part, sources in self.archived.parts]
        whole = (self.archived.name, parts, msgspec.Raw(self.archived.fields.encode()))
        return hashlib.sha256(msgspec.json.encode(whole)).hexdigest()[:16]


def _archive_rule(
    function: Callable[..., Any], rules: tuple[Callable[..., Any], ...]
) -> ArchivedRule:
    names = list_globals(function)
    return ArchivedRule(
        source=parse_function(function)[0],
        numbers={
            name: repr(value) for name, value in names.items() if isinstance(value, int | float)
        },
        rules={name: rules.index(value) for name, value in names.items() if value in rules},
    )


def _dump(value: Any) -> str | list[tuple[str, int]]:
    if not isinstance(value, list):
        return repr(value)
    pairs: list[tuple[str, int]] = []
    for each in map(repr, value):
        if pairs and pairs[-1][0] == each:
            pairs[-1] = (each, pairs[-1][1] + 1)
        else:
            pairs.append((each, 1))
    return pairs


def _load(kind: str, value: str | list[tuple[str, int]]) -> Any:
    if isinstance(value, str):
        return _KINDS[kind](value)
    return [float(each) for text, count in value for each in [text] * count]


def _load_rule(archived: ArchivedFeature) -> Estimator:
    functions: dict[int, Callable[..., Any]] = {}
    update = _compile(archived, 0, functions, ())
    fields = [(name, _KINDS[kind]) for name, kind in archived.layout]
    state_type = msgspec.defstruct(f"{archived.name}State", fields, bases=(State,))
    kind: Any = msgspec.defstruct(
        archived.name, [], bases=(ArchivedEstimator,), frozen=True,
        namespace={"update": staticmethod(update), "state_type": state_type},
    )  # fmt: skip
    return kind(archived=archived, inputs=archived.inputs)


def _compile(
    archived: ArchivedFeature,
    at: int,
    functions: dict[int, Callable[..., Any]],
    callers: tuple[int, ...],
) -> Callable[..., Any]:
    """The rule at `at` as a function, made once; in a module of its own, from which it is read."""
    if at in functions:
        return functions[at]
    text = archived.rules[at]
    module = f"onetape_archived_{archived.version}_{at}"
    tree = _parse(archived, text.source)
    if at in callers:
        raise DataError("a rule calls itself", where=archived.name)
    scope: dict[str, Any] = {
        "__builtins__": _BUILTINS, "__name__": module,
        "__loader__": _Source(text.source), "math": math, "rule": rule,
        **{name: _number(value) for name, value in text.numbers.items()},
        **{
            name: _compile(archived, other, functions, (*callers, at))
            for name, other in text.rules.items()
        },
    }  # fmt: skip
    flags = __future__.annotations.compiler_flag
    exec(compile(tree, f"<{module}>", "exec", flags, dont_inherit=True), scope)
    functions[at] = scope[tree.body[0].name]  # pyright: ignore[reportAttributeAccessIssue]
    return functions[at]


def _number(text: str) -> int | float:
    if text in ("True", "False"):
        return text == "True"
    try:
        return int(text)
    except ValueError:
        return float(text)


def _parse(archived: ArchivedFeature, source: str) -> ast.Module:
    """The tree of one `def`; what no rule has is refused before it runs."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        tree = ast.Module(body=[], type_ignores=[])
    is_rule = (
        len(tree.body) == 1
        and isinstance(tree.body[0], ast.FunctionDef)
        and [ast.unparse(each) for each in tree.body[0].decorator_list] == ["rule"]
    )
    for node in ast.walk(tree):
        hidden = isinstance(node, ast.Attribute) and node.attr.startswith("_")
        if isinstance(node, _STATEMENTS) or hidden:
            is_rule = False
    if not is_rule:
        raise DataError("an archived rule holds something else than one rule",
                        where=archived.name, remedy="compute the feature anew")  # fmt: skip
    return tree


class _Source(ExecutionLoader):
    """Gives the source of an archived rule to whoever reads it."""

    def __init__(self, source: str) -> None:
        self._source = source

    def get_filename(self, fullname: str) -> str:
        return f"<{fullname}>"

    def get_source(self, fullname: str) -> str:
        return self._source
