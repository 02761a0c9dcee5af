"""The registry: features by name and version, which may read each other by name.

```python
FEATURES = FeatureRegistry()
FEATURES.add("rsi", Rsi(14), low=0, high=100)
FEATURES.add("calm", Ema(5, inputs=("rsi",)))      # reads the feature, not a column
FEATURES.add("rsi", Rsi(21), version=2)            # version 1 stays computable: "rsi@1"
```
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator

import msgspec

from onetape.domain.errors import StrategyError
from onetape.domain.market import (
    BAR_FLOAT_COLUMNS,
    BAR_INT_COLUMNS,
    TICK_FLOAT_COLUMNS,
    TICK_INT_COLUMNS,
    TRADE_FLOAT_COLUMNS,
    TRADE_INT_COLUMNS,
)
from onetape.domain.nearest import nearest
from onetape.features.estimator import Estimator, Expression
from onetape.features.plan import Plan
from onetape.features.timeframe import Timeframed

COLUMNS = frozenset(
    BAR_INT_COLUMNS + BAR_FLOAT_COLUMNS + TRADE_INT_COLUMNS + TRADE_FLOAT_COLUMNS
    + TICK_INT_COLUMNS + TICK_FLOAT_COLUMNS
)  # fmt: skip
"""What rows of market data have; no feature has such a name."""

_SEPARATOR = "@"


class FeatureDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """A registered feature.

    `number` is its version as people count, `estimator` what was given: inputs that are no columns
    of market data name other features. `low` and `high` bound its values, `nan_ratio_max` the share
    of NaN among them after the warm-up. `place` is the line that registered it, `file:line`,
    `reads` the features that it reads by name, in the order of its inputs.
    """

    name: str
    number: int
    estimator: Estimator
    low: float
    high: float
    nan_ratio_max: float
    place: str
    reads: tuple[str, ...]

    @property
    def key(self) -> str:
        """`name@number`."""
        return f"{self.name}{_SEPARATOR}{self.number}"


class Bound(Expression, frozen=True):
    """A feature with other features in place of the names that it reads; what `resolve` makes."""

    feature: Estimator
    parts: tuple[Estimator | str, ...]

    def __post_init__(self) -> None:
        self._check_inputs()

    def build(self) -> Estimator:
        """Itself."""
        return self

    def _list_columns(self) -> tuple[str, ...]:
        read = [(each,) if isinstance(each, str) else each.inputs for each in self.parts]
        return tuple(dict.fromkeys(name for names in read for name in names))

    def add_to(self, plan: Plan) -> int:
        """Add its parts, then what reads them."""
        places = [
            plan.columns.index(each) if isinstance(each, str) else each.add_to(plan)
            for each in self.parts
        ]
        if isinstance(self.feature, Timeframed) or not isinstance(self.feature, Expression):
            return plan.add(self.feature, tuple(places))
        for estimator, sources in self.feature.plan.nodes:
            places.append(plan.add(estimator, tuple(places[at] for at in sources)))
        return places[-1]


class FeatureRegistry:
    """Features by name; several versions of one stand side by side.

    The order of registration does not matter: names are looked up when a feature is resolved.

    Args:
        columns: Names of further columns that the data has, as of fundamentals.
    """

    def __init__(self, columns: Iterable[str] = ()) -> None:
        self._columns = COLUMNS.union(columns)
        self._features: dict[str, dict[int, FeatureDefinition]] = {}

    def __iter__(self) -> Iterator[FeatureDefinition]:
        """Every version of every feature, by name and number."""
        for name in sorted(self._features):
            versions = self._features[name]
            yield from (versions[number] for number in sorted(versions))

    def add(
        self,
        name: str,
        feature: Estimator,
        *,
        version: int | None = None,
        low: float = -math.inf,
        high: float = math.inf,
        nan_ratio_max: float = 1.0,
        place: str = "",
    ) -> None:
        """Register `feature`; the same one again is nothing new.

        Args:
            name: An identifier that is no column of market data.
            feature: What it is; its inputs are columns of bars or names of features.
            version: 1 and up; left out, the first.
            low: No value may be below.
            high: No value may be above.
            nan_ratio_max: Share of NaN that is allowed after the warm-up.
            place: Where it is defined, for messages; left out, the line that calls.

        Raises:
            StrategyError: The name is taken or no name, the version stands for another definition,
                or a bound makes no sense.
        """
        if not place:
            frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
            place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        if not isinstance(feature, Estimator):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise StrategyError(
                f"feature {name!r} is {feature!r}", where=place, remedy="give it an estimator"
            )
        if not name.isidentifier() or name in self._columns:
            what = "is a column of market data" if name in self._columns else "is no identifier"
            raise StrategyError(
                f"{name!r} {what}", where=place, remedy="give the feature another name"
            )
        if not low <= high or not 0.0 <= nan_ratio_max <= 1.0:
            raise StrategyError(
                f"feature {name!r} is bound to {low:g}..{high:g} with {nan_ratio_max:g} NaN",
                where=place,
                remedy="low may not be above high, and a share is between 0 and 1",
            )
        number = 1 if version is None else version
        if number < 1:
            raise StrategyError(
                f"feature {name!r} has version {number}", where=place, remedy="count from 1"
            )
        definition = FeatureDefinition(
            name=name, number=number, estimator=feature, low=float(low), high=float(high),
            nan_ratio_max=float(nan_ratio_max), place=place,
            reads=tuple(each for each in feature.inputs if each not in self._columns),
        )  # fmt: skip
        versions = self._features.setdefault(name, {})
        known = versions.setdefault(number, definition)
        if known is definition or msgspec.structs.replace(known, place=place) == definition:
            return
        if version is None:
            raise StrategyError(
                f"the name {name!r} is taken by the feature of {known.place}",
                where=place,
                remedy=f"give it another name, or version={max(versions) + 1} to replace that one",
            )
        raise StrategyError(
            f"version {number} of feature {name!r} is defined otherwise at {known.place}",
            where=place,
            remedy=f"a version never changes: give this one version={max(versions) + 1}",
        )

    def find(self, name: str, reader: FeatureDefinition | None = None) -> FeatureDefinition:
        """The newest version of `name`, or the one that `name@number` asks for.

        Raises:
            StrategyError: There is none; names the nearest, and the line of the `reader` of it.
        """
        bare, separator, number = name.partition(_SEPARATOR)
        versions = self._features.get(bare)
        where = reader.place if reader else ""
        whose = f"feature {reader.name!r} reads {name!r}, and there" if reader else "there"
        if versions is None:
            what = "no such feature or column" if reader else f"no feature {name!r}"
            known = [*self._features, *(sorted(self._columns) if reader else ())]
            raise StrategyError(f"{whose} is {what}", where=where, remedy=nearest(bare, known))
        if not separator:
            return versions[max(versions)]
        if not number.isdecimal() or int(number) not in versions:
            raise StrategyError(
                f"{whose} is no version {number!r} of {bare!r}",
                where=where,
                remedy=f"versions: {', '.join(map(str, sorted(versions)))}",
            )
        return versions[int(number)]

    def resolve(self, name: str) -> Estimator:
        """The feature `name` (or `name@number`) as a strategy's `features()` takes it.

        What it reads by name is built in, so that its inputs are columns of bars, and its version
        covers all that it is made of.

        Raises:
            StrategyError: As `find`; or it reads itself in a circle.
        """
        return self._resolve(self.find(name), ())

    def reads(self, definition: FeatureDefinition) -> list[FeatureDefinition]:
        """The features that `definition` reads by name.

        Raises:
            StrategyError: As `find`.
        """
        return [self.find(each, definition) for each in definition.reads]

    def _resolve(self, definition: FeatureDefinition, path: tuple[str, ...]) -> Estimator:
        if definition.key in path:
            circle = (*path[path.index(definition.key) :], definition.key)
            raise StrategyError(
                f"features read each other in a circle: {' -> '.join(circle)}",
                where=definition.place,
                remedy="let one of them read columns instead",
            )
        if not definition.reads:
            return definition.estimator
        parts = tuple(
            each
            if each in self._columns
            else self._resolve(self.find(each, definition), (*path, definition.key))
            for each in definition.estimator.inputs
        )
        return Bound(feature=definition.estimator, parts=parts)

    def check(self) -> list[StrategyError]:
        """What is wrong with the names that features read, one error for each feature at most."""
        errors: dict[str, StrategyError] = {}
        for definition in self:
            try:
                self._resolve(definition, ())
            except StrategyError as error:
                errors.setdefault(str(error), error)
        return list(errors.values())

    def version_of(self, name: str) -> str:
        """16 hex digits of the definition of `name` and of all that it reads.

        Raises:
            StrategyError: As `resolve`; or a rule of it is none.
        """
        return self.resolve(name).version
