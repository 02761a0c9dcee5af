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
"""

from __future__ import annotations

import hashlib
import inspect
import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Any, ClassVar

import msgspec
import numpy as np
import numpy.typing as npt

from onetape.domain.errors import StrategyError
from onetape.domain.rule_definition import compute_definition_hash, compute_layout

FloatColumn = npt.NDArray[np.float64]
"""A feature or a bar column, float64 of shape (rows,)."""

Window = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
"""A count of bars."""


class State(msgspec.Struct):
    """What an estimator remembers: fields of int, float, or list[float] of fixed length.

    `update` mutates it in place. It runs on this object in the Python host and on a block of memory
    of the same fields in the compiled host, so no list may grow or shrink, and an int field takes
    ints only (the compiled host would cut off a fraction).
    """


@cache
def _list_inputs(update: Callable[..., float]) -> tuple[str, ...]:
    """The names of what a rule takes besides the state."""
    return tuple(inspect.signature(update).parameters)[1:]


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
        for field in msgspec.structs.fields(type(self)):
            value = getattr(self, field.name)
            try:
                msgspec.convert(value, field.type)
            except msgspec.ValidationError as error:
                raise StrategyError(
                    f"{field.name} {value!r} is not valid", where=name, remedy=str(error)
                ) from None
        arguments = _list_inputs(type(self).update)
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
            "state": msgspec.to_builtins(self._state),
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
        self._state = msgspec.convert(snapshot["state"], type(self._state))


FeatureMap = Mapping[str, Estimator]
"""The features of a strategy by name."""
