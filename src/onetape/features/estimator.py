"""The contract of an estimator: one `update`, written once, that runs in batch and live.

```python
class DrawdownState(State):
    peak: float = -math.inf

@rule
def update_drawdown(state: DrawdownState, close: float) -> float:
    state.peak = max(state.peak, close)
    return close - state.peak

class Drawdown(Estimator, frozen=True):
    '''Fall from the highest close so far, in its unit. A NaN gives NaN and is skipped.'''

    update = staticmethod(update_drawdown)

    @property
    def warm_up(self) -> int:
        return 1

    def start_state(self) -> DrawdownState:
        return DrawdownState()
```

Estimators combine: `Ema(12) - Ema(26)`, `Ema(9).of(Rsi(14))` (`Expression`).
"""

from __future__ import annotations

import hashlib
import inspect
import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, ClassVar, Literal, get_args

import msgspec

from onetape.domain.errors import StrategyError
from onetape.domain.rule_definition import compute_definition_hash, compute_layout
from onetape.features.arithmetic import (
    ADD,
    DIVIDE,
    DIVIDE_INTO,
    MULTIPLY,
    SUBTRACT,
    SUBTRACT_FROM,
    CombinedState,
    CombinedWithNumberState,
    update_combined,
    update_combined_with_number,
)
from onetape.features.plan import ExpressionState, Plan, Step, update_expression
from onetape.features.state import FloatColumn, State, Window

__all__ = [
    "Estimator",
    "Expression",
    "FeatureMap",
    "FloatColumn",
    "RunningEstimator",
    "State",
    "Window",
]


@cache
def list_arguments(update: Callable[..., float]) -> tuple[str, ...]:
    """The names of what a rule takes besides the state."""
    return tuple(inspect.signature(update).parameters)[1:]


@cache
def _list_fields(kind: type[msgspec.Struct]) -> tuple[tuple[str, Any], ...]:
    """Name and type of each field of a class. Read once: msgspec evaluates annotations anew."""
    return tuple((field.name, field.type) for field in msgspec.structs.fields(kind))


class Estimator(msgspec.Struct, frozen=True, kw_only=True):
    """A number known at each bar: parameters, initial state, and the rule that moves it on.

    A subclass declares its parameters as fields (`Annotated[int, msgspec.Meta(ge=1)]` states a
    range), `update`, `start_state`, `warm_up`, and in its docstring what a NaN input does.

    `inputs` names the bar columns that `update` takes; left out, they are the names of its own
    arguments: `Sma(20)` is of the close, `Sma(20, inputs=("volume",))` of the volume.

    Raises:
        StrategyError: A parameter is of the wrong type or out of range, or the number of inputs is
            not what `update` takes.
    """

    update: ClassVar[Callable[..., float]]
    """The `@rule` (state, *inputs) -> value; NaN means "no value at this bar"."""

    inputs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        name = type(self).__name__
        for field, kind in _list_fields(type(self)):
            value = getattr(self, field)
            try:  # an int for a float becomes one, so that equal parameters are one version
                msgspec.structs.force_setattr(self, field, msgspec.convert(value, kind))
            except msgspec.ValidationError as error:
                choices = [repr(each) for each in get_args(kind) if isinstance(each, str)]
                raise StrategyError(
                    f"{field} {value!r} is not valid",
                    where=name,
                    remedy=f"one of {', '.join(choices)}" if choices else str(error),
                ) from None
        self._check_inputs()

    def _check_inputs(self) -> None:
        name = type(self).__name__
        arguments = list_arguments(type(self).update)
        if not self.inputs:
            msgspec.structs.force_setattr(self, "inputs", arguments)
        if len(self.inputs) != len(arguments) or not arguments:
            raise StrategyError(
                f"inputs {self.inputs!r} are {len(self.inputs)} columns",
                where=name,
                remedy=f"update takes {len(arguments)} ({', '.join(arguments)}), and at least one",
            )

    @property
    def warm_up(self) -> int:
        """Bars until the first value: it stands at row `warm_up - 1`, the rows before are NaN."""
        raise StrategyError("has no warm_up", where=type(self).__name__, remedy="declare it")

    def start_state(self) -> State:
        """The state before the first bar."""
        raise StrategyError("has no start_state", where=type(self).__name__, remedy="define it")

    @property
    def version(self) -> str:
        """16 hex digits that change with the definition (source of the rules) or a parameter.

        Raises:
            StrategyError: `update` or a rule it calls breaks the rules of a `@rule`.
        """
        state = self.start_state()
        definition = compute_definition_hash(type(self).update, compute_layout(type(state)))
        whole = (type(self).__name__, definition, self, state)
        return hashlib.sha256(msgspec.json.encode(whole)).hexdigest()[:16]

    def start(self) -> RunningEstimator:
        """The live form, before its first bar."""
        return RunningEstimator(self)

    def dump_state(self, state: Any) -> Any:
        """A state of this estimator as plain data."""
        return msgspec.to_builtins(state)

    def load_state(self, plain: Any) -> State:
        """The state that `dump_state` made plain data of."""
        return msgspec.convert(plain, type(self.start_state()))

    def of(self, *features: Estimator | str) -> Expression:
        """This estimator over other features (or bar columns, by name) in place of its inputs.

        Raises:
            StrategyError: The number of features is not what `update` takes, or this estimator
                names columns already.
        """
        return Composed(self, features)

    def __add__(self, other: Estimator | float) -> Expression:
        return _combine("+", self, other)

    def __radd__(self, other: float) -> Expression:
        return _combine("+", self, other)

    def __sub__(self, other: Estimator | float) -> Expression:
        return _combine("-", self, other)

    def __rsub__(self, other: float) -> Expression:
        return _combine("number -", self, other)

    def __mul__(self, other: Estimator | float) -> Expression:
        return _combine("*", self, other)

    def __rmul__(self, other: float) -> Expression:
        return _combine("*", self, other)

    def __truediv__(self, other: Estimator | float) -> Expression:
        return _combine("/", self, other)

    def __rtruediv__(self, other: float) -> Expression:
        return _combine("number /", self, other)

    def __neg__(self) -> Expression:
        return _combine("*", self, -1.0)

    def add_to(self, plan: Plan) -> int:
        """Add this estimator, and before it what it reads, to a plan; the place of its value."""
        return plan.add(self, tuple(map(plan.columns.index, self.inputs)))


def _combine(operation: Any, feature: Estimator, other: Any) -> Expression:
    if isinstance(other, Estimator):
        return Combined(operation).of(feature, other)
    if isinstance(other, int | float) and not isinstance(other, bool):
        return CombinedWithNumber(operation, float(other)).of(feature)
    return NotImplemented


class RunningEstimator:
    """An estimator on its way through time, one bar an `update`.

    Attributes:
        estimator: The definition.
        value: The value at the last bar; NaN before the first and while there is none.
    """

    __slots__ = ("_state", "_update", "estimator", "value")

    def __init__(self, estimator: Estimator) -> None:
        self.estimator = estimator
        self.value = math.nan
        self._update = type(estimator).update
        self._state = estimator.start_state()

    def update(self, *inputs: float) -> float:
        """Take the next bar's inputs, in the order of `estimator.inputs`, and give the value."""
        self.value = value = self._update(self._state, *inputs)
        return value

    def snapshot(self) -> dict[str, Any]:
        """Everything needed to go on from here, as plain data."""
        return {
            "version": self.estimator.version,
            "value": self.value,
            "state": self.estimator.dump_state(self._state),
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Go on where `snapshot` was taken.

        Raises:
            StrategyError: It is of another definition or other parameters.
        """
        version = self.estimator.version
        if snapshot["version"] != version:
            raise StrategyError(
                f"a snapshot of version {snapshot['version']} can't continue version {version}",
                where=repr(self.estimator),
                remedy="start it anew over the history",
            )
        self.value = snapshot["value"]
        self._state = self.estimator.load_state(snapshot["state"])


class Expression(Estimator, frozen=True):
    """A feature made of others: arithmetic (`Ema(12) - Ema(26)`) or a chain (`Ema(9).of(Rsi(14))`).

    A subclass gives an expression a name: it declares parameters as fields, and `build`. It is a
    feature like all others: it can stand in `features()`, be combined, run live and be restored.
    What a NaN does is told by its parts. Equal parts are computed once.

    A batch computes the plan column by column, live moves it bar by bar; both run the same `update`
    on the same numbers, so they give the same bits. Parts exist before what is made of them and
    can't be changed, so there are no cycles.

    Raises:
        StrategyError: As `Estimator`, or it gets inputs itself, or `build` builds it again.
    """

    update = staticmethod(update_expression)

    def build(self) -> Estimator:
        """The feature that this one is a name of."""
        raise StrategyError("has no build", where=type(self).__name__, remedy="define it")

    def _check_inputs(self) -> None:
        try:
            columns = self._list_columns()
        except RecursionError:
            raise StrategyError(
                "is made of itself",
                where=type(self).__name__,
                remedy="build may only use features that don't build this one",
            ) from None
        if self.inputs not in ((), columns):
            raise StrategyError(
                f"takes no inputs {self.inputs!r}",
                where=type(self).__name__,
                remedy=f"its parts read {', '.join(columns)}: give those their inputs",
            )
        msgspec.structs.force_setattr(self, "inputs", columns)

    def _list_columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.build().inputs))

    @property
    def plan(self) -> Plan:
        """What to compute from what."""
        plan = Plan(self.inputs)
        self.add_to(plan)
        return plan

    def add_to(self, plan: Plan) -> int:
        """Add its parts to a plan; the place of its value."""
        return self.build().add_to(plan)

    @property
    def warm_up(self) -> int:
        """That of its parts, one after the other."""
        bars = [1] * len(self.inputs)
        for node in self.plan.nodes:
            bars.append(max(bars[at] for at in node.sources) + node.estimator.warm_up - 1)
        return bars[-1]

    @property
    def version(self) -> str:
        """16 hex digits that change with a parameter, the plan, or the version of a part."""
        parts = [(each.estimator.version, each.sources) for each in self.plan.nodes]
        whole = (type(self).__name__, parts, self)
        return hashlib.sha256(msgspec.json.encode(whole)).hexdigest()[:16]

    def start_state(self) -> State:
        """The initial state of every part."""
        steps = [
            Step(type(estimator).update, estimator.start_state(), sources)
            for estimator, sources in self.plan.nodes
        ]
        return ExpressionState(steps=steps)

    def dump_state(self, state: Any) -> Any:
        """The states of its parts as plain data."""
        steps = zip(self.plan.nodes, state.steps, strict=True)
        return [node.estimator.dump_state(step.state) for node, step in steps]

    def load_state(self, plain: Any) -> State:
        """The state that `dump_state` made plain data of."""
        state: Any = self.start_state()
        for node, step, each in zip(self.plan.nodes, state.steps, plain, strict=True):
            step.state = node.estimator.load_state(each)
        return state


class Composed(Expression, frozen=True):
    """An estimator over other features; what `of` and the operators make.

    Raises:
        StrategyError: As `Estimator.of`.
    """

    outer: Estimator
    parts: tuple[Estimator | str, ...]

    def __post_init__(self) -> None:
        where = repr(self.outer)
        if isinstance(self.outer, Expression):
            raise StrategyError(
                "is made of features already",
                where=where,
                remedy="put of() behind the estimator inside it that is to read the feature",
            )
        arguments = list_arguments(type(self.outer).update)
        if self.outer.inputs != arguments:
            raise StrategyError(
                f"reads the columns {', '.join(self.outer.inputs)} and is to be of features",
                where=where,
                remedy="leave its inputs out; of() takes names of columns too",
            )
        if len(self.parts) != len(arguments):
            raise StrategyError(
                f"is of {len(self.parts)} features",
                where=where,
                remedy=f"it takes {len(arguments)} ({', '.join(arguments)})",
            )
        for part in self.parts:
            if not isinstance(part, Estimator | str):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise StrategyError(
                    f"is of {part!r}", where=where, remedy="features or names of columns"
                )
        self._check_inputs()

    def build(self) -> Estimator:
        """Itself."""
        return self

    def _list_columns(self) -> tuple[str, ...]:
        read = [(each,) if isinstance(each, str) else each.inputs for each in self.parts]
        return tuple(dict.fromkeys(name for names in read for name in names))

    def add_to(self, plan: Plan) -> int:
        """Add its parts, then the estimator that is over them."""
        places = [
            plan.columns.index(each) if isinstance(each, str) else each.add_to(plan)
            for each in self.parts
        ]
        return plan.add(self.outer, tuple(places))


class Combined(Estimator, frozen=True):
    """One arithmetic operation on two features or columns; what `a + b` or `a / b` makes.

    NaN policy: NaN where either is, and where the divisor is zero.
    """

    operation: Literal["+", "-", "*", "/"]

    update = staticmethod(update_combined)

    @property
    def warm_up(self) -> int:
        """1."""
        return 1

    def start_state(self) -> CombinedState:
        """The operation."""
        return CombinedState(operation=_OPERATIONS[self.operation])


class CombinedWithNumber(Estimator, frozen=True):
    """One arithmetic operation with a constant number; what `2 * a` or `1 - a` makes.

    NaN policy: NaN where the feature is, and where the divisor is zero.
    """

    operation: Literal["+", "-", "*", "/", "number -", "number /"]
    number: float

    update = staticmethod(update_combined_with_number)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not math.isfinite(self.number):
            raise StrategyError(
                f"number {self.number!r} is not valid",
                where=type(self).__name__,
                remedy="combine a feature with a finite number",
            )
        if self.operation == "/" and self.number == 0.0:
            raise StrategyError(
                "divides by zero", where=type(self).__name__, remedy="divide by another number"
            )

    @property
    def warm_up(self) -> int:
        """1."""
        return 1

    def start_state(self) -> CombinedWithNumberState:
        """The operation and its number."""
        return CombinedWithNumberState(
            operation=_OPERATIONS[self.operation], number=float(self.number)
        )


_OPERATIONS = {
    "+": ADD,
    "-": SUBTRACT,
    "*": MULTIPLY,
    "/": DIVIDE,
    "number -": SUBTRACT_FROM,
    "number /": DIVIDE_INTO,
}

FeatureMap = Mapping[str, Estimator]
"""The features of a strategy by name."""
