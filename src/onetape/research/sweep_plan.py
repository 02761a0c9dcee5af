"""The plan of a sweep: one strategy of a configuration, the sets to run, and what is left out."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import msgspec

import onetape
from onetape.domain.errors import ConfigError, StrategyError
from onetape.domain.events import DatasetPin
from onetape.domain.nearest import nearest
from onetape.research.grid import Grid, Value, read_axis, split_param
from onetape.research.sweep_metric import Metric, find_metric
from onetape.research.sweep_where import Condition
from onetape.runtime.config import SessionConfig, StrategyConfig, decision_json
from onetape.runtime.sessions.backtest import StrategySpec, build_spec
from onetape.strategy.registry import load_strategy, strategy_version
from onetape.strategy.sdk import Strategy

MAX_COMBINATIONS = 1_000_000
"""More than these are asked about before they are looked at."""

_NAME = re.compile(r"(?:(?:strategies\.(\d+)\.params|(\d+))\.)?(\w+)")
_UNSAFE = re.compile(r'["\\]|[^ -~]')
_BROKEN_CODE = (
    ArithmeticError, AttributeError, LookupError, NameError, RuntimeError, TypeError, ValueError,
)  # fmt: skip
"""What Python raises when the code of `check_params` is wrong."""


class SetCounts(msgspec.Struct, frozen=True, kw_only=True):
    """How many combinations there are and what becomes of them.

    `refusal` is what `check_params` said of the first set that it refused.
    """

    combinations: int
    left_out: int
    refused: int
    sets: int
    refusal: str = ""


class SweepPlan:
    """What a sweep does, before anything has run.

    Attributes:
        config: The session that every set is run as.
        position: Which of `config.strategies` varies.
        kind: Its class.
        grid: The combinations.
        where: The condition on them; None: all.
        metric: What ranks the sets.

    Made by `make_plan`.
    """

    def __init__(
        self,
        config: SessionConfig,
        position: int,
        kind: type[Strategy],
        grid: Grid,
        where: Condition | None,
        metric: Metric,
    ) -> None:
        self.config = config
        self.position = position
        self.kind = kind
        self.grid = grid
        self.where = where
        self.metric = metric
        defaults = {name: each.default for name, each in kind.declared_params.items()}
        self._fixed = defaults | self.strategy.params

    @property
    def strategy(self) -> StrategyConfig:
        """The part of the configuration that varies."""
        return self.config.strategies[self.position]

    @property
    def is_large(self) -> bool:
        """Whether a person should say yes before it is begun."""
        return self.grid.combinations > MAX_COMBINATIONS

    def params(self, values: Sequence[Value]) -> dict[str, Any]:
        """All params of a set: those that vary, as configured, or their defaults."""
        return self._fixed | dict(zip(self.grid.names, values, strict=True))

    def overrides(self, values: Mapping[str, Value]) -> list[str]:
        """The set as `key=value` of `--set`."""
        at = f"strategies.{self.position}.params"
        return [f"{at}.{name}={_as_yaml(values[name])}" for name in self.grid.names]

    def sets(self) -> Iterator[tuple[Value, ...]]:
        """The sets to run, in the order of the grid; the same ones each time.

        Raises:
            ConfigError: `--where` can't be computed for a set.
            StrategyError: `check_params` breaks.
        """
        return (values for values in self.grid if self._verdict(values) is None)

    @cached_property
    def counts(self) -> SetCounts:
        """How many sets there are; looks at every combination once.

        Raises:
            ConfigError: None is left, or `--where` can't be computed for one.
            StrategyError: `check_params` breaks.
        """
        left_out = refused = 0
        refusal = ""
        for values in self.grid:
            verdict = self._verdict(values)
            if verdict == "":
                left_out += 1
            elif verdict is not None:
                refused += 1
                refusal = refusal or verdict
        combinations = self.grid.combinations
        counts = SetCounts(
            combinations=combinations, left_out=left_out, refused=refused,
            sets=combinations - left_out - refused, refusal=refusal,
        )  # fmt: skip
        if counts.sets == 0:
            raise self._nothing_left(counts)
        return counts

    def _verdict(self, values: Sequence[Value]) -> str | None:
        """None: the set is run; "": `--where` leaves it out; else why `check_params` refuses it."""
        params = self.params(values)
        if self.where is not None and not self.where.holds(params):
            return ""
        try:
            self.kind(**params)
        except StrategyError as refusal:
            return str(refusal)
        except _BROKEN_CODE as error:
            told = ", ".join(f"{name}={value}" for name, value in params.items())
            raise StrategyError(
                f"check_params raises {type(error).__name__} for {told}: {error}",
                where=self.kind.__name__,
                remedy="let it raise StrategyError for sets that make no sense",
            ) from error
        return None

    def _nothing_left(self, counts: SetCounts) -> ConfigError:
        if counts.refused == 0 and self.where is not None:
            return ConfigError(
                f"--where {self.where.text!r} leaves out all {counts.combinations:,} combinations",
                remedy="relax it, or widen the grid",
            )
        return ConfigError(
            f"no combination is left: --where leaves out {counts.left_out:,}, and "
            f"{self.kind.__name__}.check_params refuses {counts.refused:,} ({counts.refusal})",
            remedy="widen the grid",
        )

    def build_spec(self) -> StrategySpec:
        """The strategy of the first set.

        Raises:
            ConfigError: No set is left, or the version is not the one that is asked for.
        """
        params = self.params(next(iter(self.sets()), ()))
        return build_spec(self.strategy.model_copy(update={"params": params}))

    def describe(self, datasets: Sequence[DatasetPin]) -> dict[str, Any]:
        """What the results depend on, as plain values: the beginning of sweep.json."""
        counts = self.counts
        return {
            "name": self.config.name,
            "strategy": {
                "name": self.strategy.name,
                "position": self.position,
                "version": strategy_version(self.kind),
            },
            "config": msgspec.json.decode(decision_json(self.config)),
            "grid": [axis.describe() for axis in self.grid.axes],
            "where": self.where.text if self.where else "",
            "metric": self.metric.field,
            "seed": self.config.seed,
            "code_version": onetape.__version__,
            "datasets": msgspec.to_builtins(datasets),
            "combinations": counts.combinations,
            "left_out": counts.left_out,
            "refused": counts.refused,
            "sets": counts.sets,
        }

    @cached_property
    def hash(self) -> str:
        """SHA-256 (hex) of configuration, grid, condition and metric."""
        parts = [decision_json(self.config), self.where.text if self.where else ""]
        parts += [self.metric.field, repr([axis.describe() for axis in self.grid.axes])]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def make_plan(
    config: SessionConfig,
    params: Mapping[str, object] | Sequence[str],
    where: str | None = None,
    metric: str = "sharpe",
) -> SweepPlan:
    """The plan of a sweep.

    Args:
        config: A backtest with one enabled strategy.
        params: Values by name of param, or texts `name=values` (see `grid`). A name may be written
            as `strategies.N.params.name` or `N.name`.
        where: A condition on the params (see `sweep_where`).
        metric: A figure of a run, or a short name like `sharpe`.

    Raises:
        ConfigError: No backtest, several strategies, an unknown or repeated param, values or a
            condition that make no sense, or an unknown metric.
        StrategyError: The strategy can't be loaded, or a value is of another type or out of range.
    """
    if config.mode != "backtest":
        raise ConfigError(f"a sweep runs backtests, and this is mode {config.mode}",
                          remedy="set mode: backtest")  # fmt: skip
    position = _find_position(config)
    strategy = config.strategies[position]
    kind = load_strategy(strategy.name, strategy.path)
    build_spec(strategy)
    given = [*params.items()] if isinstance(params, Mapping) else [*map(split_param, params)]
    if not given:
        raise ConfigError("there is nothing to vary", remedy="give --param, like fast=5:50:5")
    axes: dict[str, Any] = {}
    for written, values in given:
        name = _find_param(written, config, position)
        declared = kind.declared_params.get(name)
        if declared is None:
            raise ConfigError(f"{strategy.name} has no param {name!r}", where=f"--param {written}",
                              remedy=nearest(name, kind.declared_params))  # fmt: skip
        if name in axes:
            raise ConfigError(f"{name} comes twice", where=f"--param {written}",
                              remedy="give all its values at once")  # fmt: skip
        axes[name] = read_axis(name, values, declared)
    kinds = {name: each.type_name for name, each in kind.declared_params.items()}
    return SweepPlan(
        config, position, kind, Grid([*axes.values()]),
        Condition(where, kinds) if where else None, find_metric(metric),
    )  # fmt: skip


def _find_position(config: SessionConfig) -> int:
    enabled = [at for at, each in enumerate(config.strategies) if each.enabled]
    if len(enabled) > 1:
        names = ", ".join(config.strategies[at].name for at in enabled)
        raise ConfigError(
            f"a sweep varies one strategy, and {len(enabled)} are enabled: {names}",
            where="strategies",
            remedy=f"disable the others, like --set strategies.{enabled[-1]}.enabled=false",
        )
    return enabled[0]


def _find_param(written: str, config: SessionConfig, position: int) -> str:
    match = _NAME.fullmatch(written)
    if match is None:
        raise ConfigError(
            f"{written!r} names no param",
            where="--param",
            remedy="write it like fast, 0.fast or strategies.0.params.fast",
        )
    index = match[1] or match[2]
    if index is not None and int(index) != position:
        raise ConfigError(
            f"strategies.{index} is not the enabled strategy", where=f"--param {written}",
            remedy=f"strategies.{position} is {config.strategies[position].name}",
        )  # fmt: skip
    return match[3]


def _as_yaml(value: Value) -> str:
    """A value as a configuration reads it back."""
    if isinstance(value, str):
        escaped = _UNSAFE.sub(lambda match: f"\\U{ord(match[0]):08x}", value)
        return f'"{escaped.replace("${", "$${")}"'
    return str(value).lower() if isinstance(value, bool) else repr(value)
