"""The `execution` section: which venue, and with what latency, and what else there is to agree.

Each model has the keys of the model of the same name in `onetape.execution.simulated`, which says
what it assumes. Fees, slippage, fills and overrides have files of their own.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, Field, model_validator

from onetape.domain.instrument import Instrument
from onetape.execution.simulated import routes
from onetape.execution.simulated.latency import LatencyModel
from onetape.runtime.config_carrying import CarryingConfig
from onetape.runtime.config_fees import Fees, NoFees
from onetape.runtime.config_fills import FillConfig
from onetape.runtime.config_live import Connection
from onetape.runtime.config_margin import Margin
from onetape.runtime.config_overrides import (
    ExecutionOverride,
    VolumeShare,
    list_fitting,
    read_fill_overrides,
)
from onetape.runtime.config_section import Section
from onetape.runtime.config_slippage import NoSlippage, Slippage
from onetape.runtime.config_values import (
    Bps,
    Exact,
    Limit,
    Moment,
    Money,
    Name,
    RefusedError,
)

_ZERO = Decimal(0)

Milliseconds = Annotated[Exact, Field(ge=0, le=3_600_000, decimal_places=6)]


class Latency(Section):
    """Normal delays, drawn by the number of the command in the session: the form without `model`.

    A strategy more, or an order more, gives other delays to all that come later.
    """

    model: Literal["numbered"] = "numbered"
    mean_ms: Milliseconds = _ZERO
    std_ms: Milliseconds = _ZERO


class FixedLatency(Section):
    """The same delay for every command."""

    model: Literal["fixed"] = "fixed"
    ms: Milliseconds

    def delay(self) -> routes.DelayModel:
        """The venue's model."""
        return routes.FixedDelay(ms=self.ms)


class NormalLatency(Section):
    """Normal delays, never below zero, drawn by the order."""

    model: Literal["normal"] = "normal"
    mean_ms: Milliseconds = _ZERO
    std_ms: Milliseconds = _ZERO

    def delay(self) -> routes.DelayModel:
        """The venue's model."""
        return routes.NormalDelay(mean_ms=self.mean_ms, std_ms=self.std_ms)


class RecordedLatency(Section):
    """Delays drawn by the order from measured ones."""

    model: Literal["recorded"] = "recorded"
    path: str | None = None
    """A file whose first line is latency_ns or latency_ms, with one delay on each further line."""
    samples_ms: Annotated[tuple[Milliseconds, ...], Field(max_length=routes.SAMPLES_MAX)] = ()
    """Instead of a file, the delays themselves; those of a file stand here in the resolved form."""

    @model_validator(mode="before")
    @classmethod
    def _read(cls, given: Any) -> Any:
        if not isinstance(given, dict) or not (set(given) <= set(cls.known_keys())):
            return given  # which is told elsewhere
        path = given.get("path")
        if (path is None) == (not given.get("samples_ms")):
            which = "neither" if path is None else "both"
            raise RefusedError(f"has {which} of path and samples_ms", "give one of them")
        if not isinstance(path, str):
            return given
        return {"model": "recorded", "samples_ms": _read_samples(Path(path))}

    def delay(self) -> routes.DelayModel:
        """The venue's model."""
        return routes.RecordedDelay(samples_ms=self.samples_ms)


Delay = Annotated[FixedLatency | NormalLatency | RecordedLatency, Field(discriminator="model")]


class CommandLatency(Section):
    """A delay of its own for each kind of command."""

    model: Literal["by_command"] = "by_command"
    submit: Delay
    cancel: Delay | None = None
    """null: as `submit`."""
    replace: Delay | None = None
    """null: as `submit`."""


def _name_old_form(given: Any) -> Any:
    if isinstance(given, dict) and "model" not in given:
        return {"model": "numbered", **given}
    return given


AnyLatency = Annotated[
    Annotated[
        Latency | FixedLatency | NormalLatency | RecordedLatency | CommandLatency,
        Field(discriminator="model"),
    ],
    BeforeValidator(_name_old_form),
]


def _read_samples(path: Path) -> tuple[Decimal, ...]:
    """The delays of a file, in milliseconds."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split()
    except (OSError, UnicodeDecodeError) as error:
        raise RefusedError(f"can't be read: {error}", "give a file of delays", ("path",)) from None
    scale = {"latency_ns": Decimal("1e-6"), "latency_ms": Decimal(1)}.get(lines[0] if lines else "")
    if scale is None:
        raise RefusedError(f"names {path}, whose first line is neither latency_ns nor latency_ms",
                           "begin the file with one of them", ("path",))  # fmt: skip
    if not 0 < len(lines) - 1 <= routes.SAMPLES_MAX:
        raise RefusedError(f"names {path} with {len(lines) - 1:,} delays",
                           f"1 to {routes.SAMPLES_MAX:,} are taken", ("path",))  # fmt: skip
    samples: list[Decimal] = []
    for number, text in enumerate(lines[1:], 2):
        try:
            delay = Decimal(text) * scale
            valid = 0 <= delay <= 3_600_000 and delay == round(delay, 6)
        except InvalidOperation:
            valid, delay = False, Decimal(0)
        if not valid:
            what = f"names {path}, whose line {number} is {text!r}"
            raise RefusedError(what, "give delays of up to an hour, to the nanosecond", ("path",))
        samples.append(delay.normalize())
    return tuple(samples)


class Currencies(Section):
    """Trading in several currencies; the rate is the mark of a pair in data.instruments."""

    foreign_cash: Literal["convert", "hold"] = "convert"
    """Whether foreign cash is converted as soon as it moves, or stays until the strategy does."""
    spread_bps: Bps = _ZERO
    """What a conversion costs, of the amount."""
    minimum: Money = _ZERO
    """The least that a conversion of held cash costs, in the currency of the capital."""

    @model_validator(mode="after")
    def _asks_for_conversions(self) -> Currencies:
        if self.minimum and self.foreign_cash != "hold":
            raise RefusedError("is of conversions that a strategy asks for, and it asks for none",
                               "set foreign_cash: hold, or leave it out", ("minimum",))  # fmt: skip
        return self


class TransferConfig(Section):
    """Capital that goes from one strategy to another, once."""

    at: Moment
    """When, ISO 8601, UTC unless it has an offset; before the bars of that time."""
    source: Name = Field(alias="from")
    """Name of the strategy that gives it."""
    target: Name = Field(alias="to")
    """Name of the strategy that gets it."""
    amount: Limit
    """How much; refused where it is more than free cash."""


class Chosen(NamedTuple):
    """What one instrument is charged, and how it fills; `fees_at` is the key of its fees."""

    fees: Fees
    fees_at: str
    slippage: Slippage
    max_volume_ratio: Decimal | None
    fill: FillConfig


class ExecutionConfig(Section):
    """How orders become fills."""

    venue: Literal["simulated", "alpaca", "binance", "ibkr"] = "simulated"
    """Who fills; a real one in live only."""
    connection: Connection | None = None
    """How a real venue is reached; null: as the provider's client does."""
    slippage: Slippage = NoSlippage()
    limit_slippage: bool = False
    """Whether a limit order that takes liquidity pays slippage, at most up to its limit."""
    latency: AnyLatency = Latency()
    fees: Fees = NoFees()
    limit_fill: Literal["touch", "through"] = "through"
    """Whether a limit order fills when a bar touches its price, or only when it trades through."""
    fill: FillConfig = FillConfig()
    max_volume_ratio: VolumeShare | None = None
    """Largest share of a bar's volume that our fills may take (0.1 is a tenth); null: no cap."""
    while_halted: Literal["reject", "hold"] = "reject"
    """What the venue does with orders while their instrument is halted: reject them, or hold them
    until it trades again."""
    position_mode: Literal["netting", "hedging"] = "netting"
    """Whether buys and sells of an instrument net to one position, or are held side by side as a
    long and a short leg."""
    marks: Literal["market", "closing_side"] = "market"
    """What positions are valued at: the newest price (of quotes and depth the middle), or the side
    that would close them, a long at the bid and a short at the ask."""
    margin: Margin | None = None
    """What a broker asks for positions; null: they are paid for."""

    carrying: CarryingConfig | None = None
    """Borrow fees and interest; null: holding is free."""

    currencies: Currencies | None = None
    """Trading in other currencies than that of the capital; null: none but that."""

    settlement_days: Annotated[int, Field(strict=True, ge=0, le=10)] = 0
    """Trading days until a cash account may spend the proceeds of a sale (T+N); 0: at once."""
    transfers: tuple[TransferConfig, ...] = ()
    """Capital that moves between the strategies."""
    capabilities: Literal["alpaca", "binance", "ibkr"] | None = None
    """Whose abilities the simulated venue has: what that venue lacks is emulated, as in live; null:
    it can everything."""
    overrides: tuple[ExecutionOverride, ...] = ()
    """Other fees, slippage, participation and fills of some instruments; the most specific that
    gives a key counts, of equally specific ones the last."""

    @model_validator(mode="before")
    @classmethod
    def _read_older(cls, given: Any) -> Any:
        fill = given.get("fill") if isinstance(given, dict) else None
        older = fill.get("overrides") if isinstance(fill, dict) else None
        if isinstance(older, list) and all(isinstance(each, dict) for each in older):
            return read_fill_overrides(given)
        return given

    @model_validator(mode="after")
    def _has_its_own(self) -> ExecutionConfig:
        if self.capabilities is not None and self.venue != "simulated":
            raise RefusedError(
                f"gives {self.venue} the abilities of {self.capabilities}",
                "leave it out: a real venue has its own", ("capabilities",),
            )  # fmt: skip
        return self

    def latency_model(self) -> LatencyModel:
        """The venue's latency model; none under `route_terms`."""
        if isinstance(self.latency, Latency):
            return LatencyModel(mean_ms=self.latency.mean_ms, std_ms=self.latency.std_ms)
        return LatencyModel()

    def route_terms(self, seed: int) -> routes.RouteTerms | None:
        """Delays that go by the order; None where they go by the number of the command."""
        match self.latency:
            case Latency():
                return None
            case CommandLatency(submit=submit, cancel=cancel, replace=replace):
                others = (each.delay() if each is not None else None for each in (cancel, replace))
                return routes.build_routes(seed, submit.delay(), *others)
            case single:
                return routes.build_routes(seed, single.delay())

    def chosen_for(self, instrument: Instrument) -> Chosen:
        """What an instrument is charged and how it fills, by the overrides that are for it."""
        fitting = list_fitting(self.overrides, instrument)
        fees, slippage, ratio = self.fees, self.slippage, self.max_volume_ratio
        fees_at = "execution.fees"
        for each in fitting:
            slippage = each.slippage or slippage
            if each.fees is not None:
                fees, fees_at = each.fees, f"execution.overrides.{self.overrides.index(each)}.fees"
            if each.max_volume_ratio is not None:
                ratio = None if each.max_volume_ratio == "none" else each.max_volume_ratio
        return Chosen(
            fees=fees, fees_at=fees_at, slippage=slippage, max_volume_ratio=ratio,
            fill=self.fill.chosen(each.fill for each in fitting if each.fill is not None),
        )  # fmt: skip
