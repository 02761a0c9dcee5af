"""The configuration of a session, validated: `load_config`.

Precedence: defaults < file < environment `ONETAPE__SECTION__KEY` (keys in lower case) < `--set
key=value`. Relative paths are relative to the working directory.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, ValidationError, model_validator

from onetape.domain.breakers import BreakerAction, BreakerKind
from onetape.domain.errors import ConfigError
from onetape.domain.instrument import InstrumentId
from onetape.domain.market import BOOK, QUOTES
from onetape.domain.nearest import did_you_mean, nearest
from onetape.domain.timestamps import has_length
from onetape.marketdata.loading import TICK_DATA
from onetape.marketdata.membership import Filters, UniverseChoice
from onetape.marketdata.side_files import PINNED_KEYS, SideFiles
from onetape.marketdata.timeline import Reading
from onetape.risk.breakers import BreakerLimits
from onetape.risk.limits import AccountLimits, RiskLimits, ShortSaleLimits
from onetape.runtime.config_document import (
    ConfigDocument,
    apply_environment,
    apply_overrides,
    read_document,
)
from onetape.runtime.config_drift import DriftConfig
from onetape.runtime.config_execution import ExecutionConfig
from onetape.runtime.config_live import Connection, LiveConfig
from onetape.runtime.config_overrides import list_unmatched, tell_no_overrides
from onetape.runtime.config_problems import explain
from onetape.runtime.config_section import Section
from onetape.runtime.config_values import (
    Count,
    Currency,
    Exact,
    Instrument,
    Limit,
    Moment,
    Name,
    Percent,
    Quantity,
    RefusedError,
    Speed,
    TapePassword,
    TapeUrl,
    Timeframe,
)


class HistoricalClock(Section):
    """Time of the data, from `start` up to but not including `end`."""

    type: Literal["historical"]
    ts_start: Moment = Field(alias="start")
    """First moment, ISO 8601, UTC unless it has an offset."""
    ts_end: Moment = Field(alias="end")
    """End, exclusive, ISO 8601, UTC unless it has an offset."""
    speed: Speed = "max"
    """`max`, or how many seconds of history pass in one second (1, 10, 10x)."""

    @model_validator(mode="after")
    def _end_after_start(self) -> HistoricalClock:
        if self.ts_end <= self.ts_start:
            raise RefusedError("is not after clock.start", "end is exclusive", ("end",))
        return self


class LiveClock(Section):
    """Time of the machine, or of what the feed tells."""

    type: Literal["live"]
    source: Literal["machine", "feed"] = "machine"
    """`feed`: the newest event's own time, running on in between; for local venues that replay."""


class UniverseConfig(Section):
    """Who may be bought or sold short: members of a universe of the catalog, point in time."""

    name: Annotated[str, Field(min_length=1)]
    """As its membership is stored."""
    sectors: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Other universes of the catalog; a member of none of them is left out. Empty: not asked."""
    min_price: Annotated[Exact, Field(gt=0)] | None = None
    """Least close of the newest bar; null: no such bound."""
    min_turnover: Annotated[Exact, Field(gt=0)] | None = None
    """Least median of close x volume over the newest `window` bars; null: no such bound."""
    min_market_value: Annotated[Exact, Field(gt=0)] | None = None
    """Least close x newest `shares` of the catalog's fundamentals; null: no such bound."""
    window: Count = 20
    """Bars that turnover looks at; who has fewer is left out."""

    def choice(self) -> UniverseChoice:
        """What the catalog is asked for."""
        bounds = (self.min_price, self.min_turnover, self.min_market_value)
        price, turnover, value = (None if each is None else float(each) for each in bounds)
        return UniverseChoice(
            name=self.name,
            filters=Filters(
                sectors=self.sectors, min_price=price, min_turnover=turnover,
                min_market_value=value, window=self.window,
            ),
        )  # fmt: skip


class DataConfig(Section):
    """Which market data."""

    source: Literal["catalog", "alpaca", "binance", "ibkr"] = "catalog"
    """Where the rows come from: history, or in paper and live a feed."""
    connection: Connection | None = None
    """How the feed is reached; null: as the provider's client does."""
    history_bars: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] | None = None
    """Bars or ticks of each that strategies may ask back for in paper and live; null: 2000."""
    path: Annotated[str, Field(min_length=1)] = "data/catalog"
    """Directory of the catalog."""
    instruments: tuple[Instrument, ...] = ()
    """Ids `SYMBOL.VENUE`; their order breaks ties in time. With a universe they may be left out:
    all that are in it at any moment of the session, sorted by id."""
    universe: UniverseConfig | None = None
    """Positions may be opened in its members only; null: in every instrument."""
    timeframe: Timeframe
    """Length of a bar: a count and one of s, m, h, d, w; or what bars count (`100tick`), or ticks:
    trades, quotes, book, quotes+trades, book+trades."""
    versions: dict[str, Annotated[int, Field(strict=True, ge=0)]] = Field(default_factory=dict)
    """Dataset versions to use instead of the newest, by instrument id, name of the universe, or
    `corporate_actions`, `funding`, `fundamentals`, `halts`."""
    knowledge: Literal["now", "then"] = "now"
    """Corrected bars: as they are now, or then, as they were first stored."""
    slice_grace_ms: Annotated[int, Field(strict=True, ge=0)] | None = None
    """How long the bars of one close time wait for each other; null: not at all."""
    corporate_actions: Annotated[str, Field(min_length=1)] | None = None
    """Splits, dividends, mergers and the like: `catalog`, or a CSV file; null: none."""
    funding: Annotated[str, Field(min_length=1)] | None = None
    """Funding rates of perpetuals: `catalog`, or a CSV file; null: none."""
    fundamentals: Annotated[str, Field(min_length=1)] | None = None
    """Published figures, which features can read: `catalog`, or a CSV file; null: none."""
    halts: Annotated[str, Field(min_length=1)] | None = None
    """Trading halts and resumptions: `catalog`, or a CSV file; null: none."""
    sectors: dict[Instrument, Annotated[str, Field(min_length=1)]] = Field(default_factory=dict)
    """Sector of instruments, by id: how reports group what was held. It decides nothing."""

    @property
    def reading(self) -> Reading:
        """How bars are read."""
        return Reading(
            knowledge=self.knowledge,
            slice_grace_ms=self.slice_grace_ms,
            universe=self.universe.choice() if self.universe is not None else None,
        )

    @property
    def files(self) -> SideFiles:
        """What is read beside bars, in the order of `PINNED_KEYS`."""
        named = (self.corporate_actions, self.funding, self.fundamentals, self.halts)
        return SideFiles(*(None if each is None else Path(each) for each in named))

    @model_validator(mode="after")
    def _consistent(self) -> DataConfig:
        if not self.instruments and self.universe is None:
            raise RefusedError("names no instrument", "list at least one id, or name a universe",
                               ("instruments",))  # fmt: skip
        for index, instrument in enumerate(self.instruments):
            if instrument in self.instruments[:index]:
                raise RefusedError(f"names {instrument} twice", at=("instruments", index))
        known = (
            *self.instruments,
            *PINNED_KEYS,
            *([self.universe.name] if self.universe is not None else []),
        )
        for instrument in self.versions:
            if self.instruments and instrument not in known:
                raise RefusedError("is not in data.instruments", at=("versions", instrument))
        for instrument in self.sectors:
            if instrument not in self.instruments:
                raise RefusedError("is not in data.instruments", at=("sectors", instrument))
        return self


class AccountRiskConfig(Section):
    """Limits over the sum of the strategies; null: no such limit."""

    max_gross_exposure_pct: Percent | None = None
    """Sum of all notionals of all strategies, in percent of the account's equity."""
    max_net_exposure_pct: Percent | None = None
    """Longs minus shorts, either way, in percent of the account's equity."""
    max_leverage: Annotated[Limit, Field(le=1000)] | None = None
    """Gross exposure as a multiple of the account's equity."""
    max_daily_loss_pct: Percent | None = None
    """Loss since the start of the day, in percent of the account's equity then."""
    max_drawdown_pct: Percent | None = None
    """Loss since the account's highest equity, in percent of it."""
    max_orders_per_minute: Count | None = None
    """Orders of all strategies within any 60 seconds of engine time."""
    pattern_day_trader: bool = False
    """FINRA's rule: below 25,000 of equity no four day trades within five trading days."""


ShrinkingGate = Literal[
    "order_quantity", "order_notional", "position_quantity", "position_ratio", "concentration",
    "gross_exposure", "net_exposure", "leverage", "buying_power", "account_gross_exposure",
    "account_net_exposure", "account_leverage",
]  # fmt: skip


class _BreakerConfig(Section):
    """What every circuit breaker has in common."""

    action: Literal["pause", "flatten", "kill"]
    """Refuse what opens anything; also close everything; or set the kill switch."""
    scope: Literal["strategy", "account"] = "strategy"
    """Each strategy by itself, or all of them together."""
    cooldown_minutes: Count | None = None
    """Minutes of engine time after which it re-arms; null: it does not by time."""
    rearm_next_session: bool = False
    """Whether it re-arms with the next trading session."""

    def limits(self) -> BreakerLimits:
        """What the session builds the breaker from."""
        values = self.model_dump(exclude={"type", "action", "scope"})
        return BreakerLimits(
            kind=BreakerKind(getattr(self, "type")),  # noqa: B009 - each kind declares its own
            action=BreakerAction(self.action),
            is_account=self.scope == "account",
            **values,
        )

    @model_validator(mode="after")
    def _killed_for_good(self) -> _BreakerConfig:
        if self.action == "kill" and (self.cooldown_minutes or self.rearm_next_session):
            raise RefusedError(
                "kills and is to re-arm", "the kill switch is lifted by an operator, never by time"
            )
        return self


class DailyLossBreaker(_BreakerConfig):
    """Trips on a loss since the start of the trading day."""

    type: Literal["daily_loss"]
    pct: Percent
    """Of equity at the start of the day; a loss beyond it trips."""


class DrawdownBreaker(_BreakerConfig):
    """Trips on a fall from the highest equity."""

    type: Literal["drawdown"]
    pct: Percent
    """Of the highest equity; a fall beyond it trips."""


class LosingStreakBreaker(_BreakerConfig):
    """Trips on round trips in a row that lose money."""

    type: Literal["losing_streak"]
    round_trips: Count
    """So many in a row trip it."""


class RejectionRateBreaker(_BreakerConfig):
    """Trips when the venue rejects too many orders."""

    type: Literal["rejection_rate"]
    pct: Percent
    """Of the last `orders`; a share beyond it trips."""
    orders: Count
    """How many of the venue's last answers to new orders count."""


class StaleDataBreaker(_BreakerConfig):
    """Trips when an instrument falls silent while its session is open."""

    type: Literal["stale_data"]
    minutes: Count
    """Minutes without a market event, up to the end of the newest event's session."""


BreakerConfig = Annotated[
    DailyLossBreaker
    | DrawdownBreaker
    | LosingStreakBreaker
    | RejectionRateBreaker
    | StaleDataBreaker,
    Field(discriminator="type"),
]


class ShortSaleConfig(Section):
    """Rules of short sales, off where they are empty."""

    hard_to_borrow: tuple[Instrument, ...] = ()
    """Of these only what is located may be short."""
    locates: dict[Instrument, Quantity] = Field(default_factory=dict)
    """Units located, by instrument id; nothing of an id that is absent."""
    uptick_rule: bool = False
    """SEC Rule 201: after a fall of 10 % no short sale at or below the newest price."""

    @model_validator(mode="after")
    def _consistent(self) -> ShortSaleConfig:
        for instrument in self.locates:
            if instrument not in self.hard_to_borrow:
                raise RefusedError(
                    "is not in hard_to_borrow", "name it there, or leave it out",
                    ("locates", instrument),
                )  # fmt: skip
        return self


class RiskConfig(Section):
    """Limits of each strategy on its own books; null: no such limit."""

    max_order_quantity: Quantity | None = None
    """Units per order."""
    max_order_notional: Limit | None = None
    """Currency per order."""
    max_position_quantity: Quantity | None = None
    """Units held of one instrument, either way."""
    max_position_pct: Percent | None = None
    """Notional of one instrument, in percent of equity."""
    max_concentration_pct: Percent | None = None
    """Notional of one instrument, in percent of the larger of equity and gross exposure."""
    max_gross_exposure_pct: Percent | None = None
    """Sum of all notionals, in percent of equity."""
    max_net_exposure_pct: Percent | None = None
    """Longs minus shorts, either way, in percent of equity."""
    max_leverage: Annotated[Limit, Field(le=1000)] | None = None
    """Gross exposure as a multiple of equity; null: a cash account."""
    max_daily_loss_pct: Percent | None = None
    """Loss since the start of the day, in percent of equity then."""
    trading_day: str | None = None
    """When such a day begins, like 17:00 America/New_York; null: with the session, at 00:00 UTC
    where the instruments have several calendars."""
    max_drawdown_pct: Percent | None = None
    """Loss since the highest equity, in percent of it."""
    max_orders_per_minute: Count | None = None
    """Orders within any 60 seconds of engine time."""
    allowed_instruments: tuple[Instrument, ...] | None = None
    """Only these may be traded; null: all."""
    forbidden_instruments: tuple[Instrument, ...] = ()
    """These may never be traded."""
    allow_short: bool = True
    """Whether a position may go below zero."""

    shrink: tuple[ShrinkingGate, ...] = ()
    """Gates, by the code of their refusals, that shrink an order to what they allow."""
    account: AccountRiskConfig = AccountRiskConfig()
    """Limits over the sum of the strategies."""
    breakers: tuple[BreakerConfig, ...] = ()
    """What stops a strategy or the account when something goes wrong."""
    trading_status: bool = False
    """Refuse orders before an instrument is listed and after it is delisted."""
    short_sale: ShortSaleConfig = ShortSaleConfig()
    """Rules of short sales."""

    def limits(self) -> RiskLimits:
        """The limits that the gates are built from."""
        values = self.model_dump(exclude={"account", "breakers", "short_sale"})
        return RiskLimits(
            **values,
            account=AccountLimits(**self.account.model_dump()),
            short_sale=ShortSaleLimits(**self.short_sale.model_dump()),
            breakers=tuple(each.limits() for each in self.breakers),
        )


class StrategyConfig(Section):
    """One strategy and the money it may use."""

    name: Name
    """Registered name, or the name to give to the strategy in `path`."""
    version: str | None = None
    """Refuse to run another version of the strategy than this."""
    enabled: bool = True
    capital: Limit
    """Cash its books begin with."""
    currency: Currency = "USD"
    params: dict[str, JsonValue] = Field(default_factory=dict)
    """Values for the parameters the strategy declares."""
    instruments: Annotated[tuple[Instrument, ...], Field(min_length=1)] | None = None
    """The part of data.instruments it sees; null: all."""
    path: Annotated[str, Field(min_length=1)] | None = None
    """`FILE.py` or `FILE.py:Class`, for a strategy that is not registered."""


class OutputConfig(Section):
    """Where runs go."""

    path: Annotated[str, Field(min_length=1)] = "runs"
    """Directory in which each run makes its own."""
    snapshot_events: Annotated[int, Field(strict=True, ge=1)] = 50_000
    """Events between two snapshots, from which a killed run goes on."""
    tape: TapeUrl | None = None
    """A PostgreSQL database for the tape, `postgresql://USER@HOST/NAME`; null: a file."""
    tape_password: TapePassword | None = None
    """Where the password of that database is: `env:NAME` or `file:PATH`; null: libpq finds it."""

    @model_validator(mode="after")
    def _has_a_server(self) -> OutputConfig:
        if self.tape_password is not None and self.tape is None:
            raise RefusedError("is the password of no server", "set output.tape, or remove it",
                               ("tape_password",))  # fmt: skip
        return self


Clock = Annotated[HistoricalClock | LiveClock, Field(discriminator="type")]


class SessionConfig(Section):
    """All that a session is told, besides secrets."""

    mode: Literal["backtest", "paper", "live"] = "backtest"
    host: Literal["auto", "python", "mixed", "compiled"] = "auto"
    """What runs a backtest: the same tape either way. `auto`: compiled code where that pays."""
    seed: Annotated[int, Field(strict=True, ge=0, lt=2**63)] = 0
    """Seed of everything random in the session."""
    clock: Clock
    data: DataConfig
    execution: ExecutionConfig = ExecutionConfig()
    risk: RiskConfig = RiskConfig()
    drift: DriftConfig | None = None
    """Watch features for drift; null: no."""
    live: LiveConfig | None = None
    """How a paper or live session behaves; null: the defaults."""
    strategies: Annotated[tuple[StrategyConfig, ...], Field(min_length=1)]
    output: OutputConfig = OutputConfig()
    name: Name = Field(default_factory=lambda given: _first_name(given["strategies"]))
    """Name of the session; the first enabled strategy's when absent."""

    @property
    def enabled_strategies(self) -> tuple[StrategyConfig, ...]:
        """The strategies that run."""
        return tuple(each for each in self.strategies if each.enabled)

    @model_validator(mode="after")
    def _consistent(self) -> SessionConfig:
        names = [each.name for each in self.strategies]
        for index, strategy in enumerate(self.strategies):
            if strategy.name in names[:index]:
                raise RefusedError(f"is {strategy.name!r} again", "give each its own name",
                                   ("strategies", index, "name"))  # fmt: skip
            for place, instrument in enumerate(strategy.instruments or ()):
                if self.data.instruments and instrument not in self.data.instruments:
                    raise RefusedError(
                        f"is {instrument!r}, which data.instruments does not list",
                        did_you_mean(instrument, self.data.instruments),
                        ("strategies", index, "instruments", place),
                    )
        unmatched = list_unmatched(self.execution.overrides, self.data.instruments)
        for at, name, known in unmatched if self.data.instruments else ():
            raise RefusedError(
                f"is {name!r}, and data.instruments lists none such", nearest(name, known),
                ("execution", "overrides", *at),
            )  # fmt: skip
        enabled = [each.name for each in self.enabled_strategies]
        for index, transfer in enumerate(self.execution.transfers):
            for key, name in (("from", transfer.source), ("to", transfer.target)):
                if name not in enabled:
                    raise RefusedError(
                        f"is {name!r}, which is no enabled strategy",
                        did_you_mean(name, enabled),
                        ("execution", "transfers", index, key),
                    )
        if self.live is not None:
            self._check_adoption(self.live, enabled)
        if not self.enabled_strategies:
            raise RefusedError("has no enabled strategy", "set enabled: true", ("strategies",))
        if self.mode == "backtest" and not isinstance(self.clock, HistoricalClock):
            raise RefusedError("must be historical in a backtest", at=("clock", "type"))
        if self.mode != "backtest":
            self._check_realtime()
        elif self.data.source != "catalog":
            raise RefusedError("must be catalog in a backtest", at=("data", "source"))
        if self.mode != "live" and self.execution.venue != "simulated":
            raise RefusedError("must be simulated unless the mode is live",
                               at=("execution", "venue"))  # fmt: skip
        return self

    def adopters(self) -> dict[InstrumentId, str]:
        """Which strategy gets orders that were given by hand, by instrument."""
        if self.live is None or self.live.foreign_orders != "adopt":
            return {}
        into, found = self.live.adopt_into, dict[InstrumentId, str]()
        for instrument in self.data.instruments:
            names = self._traders_of(instrument)
            if into in names or (into is None and len(names) == 1):
                found[instrument] = into or names[0]
        return found

    def _traders_of(self, instrument: InstrumentId) -> list[str]:
        """The strategies that trade an instrument."""
        return [
            each.name
            for each in self.enabled_strategies
            if each.instruments is None or instrument in each.instruments
        ]

    def _check_adoption(self, live: LiveConfig, enabled: Sequence[str]) -> None:
        """Whether it is clear who gets orders that were given by hand."""
        into = live.adopt_into
        if into is not None and live.foreign_orders != "adopt":
            raise RefusedError("is who adopts orders, and none are adopted",
                               "set foreign_orders: adopt, or leave it out",
                               ("live", "adopt_into"))  # fmt: skip
        if into is not None and into not in enabled:
            raise RefusedError(f"is {into!r}, which is no enabled strategy",
                               did_you_mean(into, enabled), ("live", "adopt_into"))  # fmt: skip
        if into is None and live.foreign_orders == "adopt":
            for instrument in self.data.instruments:
                names = self._traders_of(instrument)
                if len(names) > 1:
                    raise RefusedError(
                        f"is adopt, and {' and '.join(names)} trade {instrument}",
                        "name who gets its orders: adopt_into", ("live", "foreign_orders"),
                    )  # fmt: skip

    def _check_realtime(self) -> None:
        if self.host in ("mixed", "compiled"):
            raise RefusedError(f"is {self.host}, which runs backtests only", "leave it out",
                               ("host",))  # fmt: skip
        if isinstance(self.clock, HistoricalClock):
            raise RefusedError("must be live in paper and live", at=("clock", "type"))
        if self.data.source == "catalog":
            raise RefusedError("must be a feed in paper and live", "name alpaca, binance or ibkr",
                               ("data", "source"))  # fmt: skip
        if self.mode == "live" and self.execution.venue == "simulated":
            raise RefusedError("must be a real venue in live", "name alpaca, binance or ibkr, or "
                               "use mode: paper", ("execution", "venue"))  # fmt: skip
        self._check_feed(self.data.source, self.data.timeframe)
        for key in (*PINNED_KEYS, "universe"):
            if key == "corporate_actions":
                self._check_live_actions()
            elif getattr(self.data, key) is not None:
                raise RefusedError("is not carried in paper and live", "leave it out",
                                   ("data", key))  # fmt: skip

    def _check_live_actions(self) -> None:
        """Announced actions, of what comes in prices as they were paid."""
        data, at = self.data, ("data", "corporate_actions")
        if data.corporate_actions is None:
            return
        if data.source == "ibkr":
            raise RefusedError("is not carried with the feed of ibkr, whose history is adjusted "
                               "for splits", "leave it out, or take another feed", at)  # fmt: skip
        if data.timeframe.startswith((QUOTES, BOOK)):
            raise RefusedError(f"is not carried over {data.timeframe}",
                               "take bars or trades, or leave it out", at)  # fmt: skip
        if "corporate_actions" in data.versions:
            raise RefusedError("is read anew in paper and live, at the newest version",
                               at=("data", "versions", "corporate_actions"))  # fmt: skip

    def _check_feed(self, source: str, timeframe: str) -> None:
        """What streams tell: bars of a length, and ticks."""
        if not has_length(timeframe) and timeframe not in TICK_DATA:
            raise RefusedError(f"is {timeframe}, and no feed tells such bars",
                               "give the length of a bar, such as 1m, or trades, quotes, book",
                               ("data", "timeframe"))  # fmt: skip
        if source == "ibkr" and not has_length(timeframe):
            raise RefusedError(f"is {timeframe}, and the feed of ibkr tells bars",
                               "give the length of a bar, such as 1m",
                               ("data", "timeframe"))  # fmt: skip
        if source == "alpaca" and timeframe.startswith(BOOK):
            raise RefusedError("is depth, which alpaca does not tell", "use quotes+trades",
                               ("data", "timeframe"))  # fmt: skip


def _first_name(strategies: Sequence[StrategyConfig]) -> str:
    return next((each.name for each in strategies if each.enabled), "session")


def load_config(path: Path, overrides: Sequence[str], environ: Mapping[str, str]) -> SessionConfig:
    """The validated configuration of a file, the environment and `key=value` overrides.

    Raises:
        ConfigError: The first problem in the order of the file; it names key, place and remedy.
    """
    config, problems = validate_document(compose_document(path, overrides, environ))
    if config is None:
        raise problems[0]
    return config


def compose_document(
    path: Path, overrides: Sequence[str], environ: Mapping[str, str]
) -> ConfigDocument:
    """File < environment < overrides, not validated yet.

    Raises:
        ConfigError: The file or an override can't be read.
    """
    document = read_document(path, environ)
    apply_environment(document, environ)
    apply_overrides(document, overrides)
    return document


def validate_document(document: ConfigDocument) -> tuple[SessionConfig | None, list[ConfigError]]:
    """The configuration, or else every problem found, in the order of the file."""
    given = {key: value for key, value in document.values.items() if value is not None}
    try:
        return SessionConfig.model_validate(given), []
    except ValidationError as error:
        return None, explain(error, document)


def resolved_json(config: SessionConfig) -> str:
    """Canonical JSON: sorted keys, no spaces, ASCII, exact numbers as text, defaults included."""
    return _canonical(config.model_dump(mode="json", by_alias=True))


def decision_json(config: SessionConfig) -> str:
    """`resolved_json` of what can change a decision, and nothing else.

    Left out are `output`, `host`, `data.path`, the files of `PINNED_KEYS` (the data is pinned by
    its own content hash), `clock.speed` and connections. It loads again, with the defaults in their
    place.
    """
    values = config.model_dump(mode="json", by_alias=True)
    del values["output"], values["host"], values["data"]["path"]
    for key in PINNED_KEYS:
        del values["data"][key]
    values["clock"].pop("speed", None)
    del values["data"]["connection"], values["execution"]["connection"]
    for section, key in (
        ("live", "adopt_into"),
        ("", "drift"),
        ("", "live"),
        ("data", "history_bars"),
        ("execution", "capabilities"),
    ):
        place = values[section] if section else values
        if place is not None and place[key] is None:
            del place[key]  # as in sessions from before there was any
    tell_no_overrides(values["execution"])
    return _canonical(values)


def config_hash(config: SessionConfig) -> str:
    """SHA-256 (hex) of `decision_json`."""
    return hashlib.sha256(decision_json(config).encode()).hexdigest()


def _canonical(values: dict[str, Any]) -> str:
    return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)
