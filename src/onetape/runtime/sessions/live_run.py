"""Paper and live: a realtime session with its tape, its shell and its inbox, from start to stop."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec

import onetape
from onetape.domain.errors import ConfigError, DataError, OnetapeError, TapeDamaged
from onetape.domain.events import Payload, SessionStarted, StrategyQuarantined
from onetape.domain.instrument import Instrument
from onetape.domain.legs import markets_among
from onetape.domain.market import TradeTick
from onetape.domain.ports import TapeWriter
from onetape.domain.timestamps import has_length, timeframe_ns
from onetape.domain.venue import (
    BarClosed,
    OperatorAction,
    OperatorCommand,
    RowHeard,
    SessionResumed,
)
from onetape.execution.gateway import VenueGateway
from onetape.execution.reconciliation import OnDifference, ReconciliationPolicy
from onetape.features.estimator import Estimator
from onetape.marketdata.announced_actions import AnnouncedAction, Announcements
from onetape.marketdata.feeds.port import Feed, History
from onetape.runtime.config import SessionConfig, config_hash, decision_json, resolved_json
from onetape.runtime.config_live import LiveConfig
from onetape.runtime.live_market import HISTORY_BARS
from onetape.runtime.realtime.clock import Clock
from onetape.runtime.realtime.control_socket import ControlSocket
from onetape.runtime.realtime.heard_tape import HeardTape
from onetape.runtime.realtime.shell import RealtimeShell, ShellFigures, ShellTerms
from onetape.runtime.realtime.slices import BarSlices
from onetape.runtime.realtime.watchdog import Watchdog, list_feature_modules, list_modules
from onetape.runtime.run_files import write_whole
from onetape.runtime.sessions import run_features
from onetape.runtime.sessions.adoption_lock import adopting_alone
from onetape.runtime.sessions.backtest import StrategySpec, build_spec, build_terms
from onetape.runtime.sessions.backtest_run import encode_versions
from onetape.runtime.sessions.live_inputs import give, read_inputs
from onetape.runtime.sessions.realtime import (
    RealtimeIdentity,
    RealtimePolicy,
    RealtimeSession,
    decode_realtime,
)
from onetape.runtime.sessions.run_features import archive_features
from onetape.runtime.sessions.session_status import describe_session
from onetape.runtime.sessions.tape_choice import create_tape, remove_empty_tape, reopen_tape
from onetape.strategy.guard import watching
from onetape.tape.continued import ContinuedTape
from onetape.tape.opening import open_tape, tape_path
from onetape.tape.reader import BlockReader
from onetape.tape.sqlite_store import Durability
from onetape.tape.store import TapeStore
from onetape.telemetry.session_news import News, SessionNews

_POLICIES = {
    "ignore": OnDifference.UNALLOCATED, "stop": OnDifference.STOP, "adopt": OnDifference.ADOPT,
}  # fmt: skip

_MISSED_MAX = 10_000
"""The most bars that are asked for again after a kill; behind a longer gap some are missing."""

_GRACE_MS = 2_000
"""How long a slice of several instruments waits for the rest, unless the configuration says."""


class LiveParts(msgspec.Struct, frozen=True, kw_only=True):
    """What connects a session with the world.

    Attributes:
        feed: Market data.
        clock: Time.
        gateway: The venue; None in paper.
        account: Tells its account from others; empty: nobody can say.
    """

    feed: Feed
    clock: Clock
    gateway: VenueGateway | None = None
    account: str = ""


class LiveResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a paper or live session leaves behind.

    `status` is what `status` would answer now; `uncanceled` whether orders are open that were to be
    canceled.
    """

    run_dir: Path
    session: str
    reason: str
    digest: str
    market_events: int
    quarantined: tuple[StrategyQuarantined, ...]
    figures: ShellFigures
    status: Mapping[str, Any]
    uncanceled: bool


OnStatus = Callable[[Mapping[str, Any]], None]

OnNews = Callable[[News], None]
"""Told what an operator may want to hear, as it happens."""


def run_live(
    config: SessionConfig,
    run_dir: Path,
    parts: LiveParts,
    on_status: OnStatus | None = None,
    on_news: OnNews | None = None,
) -> LiveResult:
    """Run a configured paper or live session until it is asked to stop.

    SIGTERM and SIGINT ask it to stop, like an operator; while it connects they end it at once. The
    directory of a session that was killed goes on where its tape ends: what the tape holds behind
    the newest snapshot runs once more and must come out the same, then the venue is asked what
    happened meanwhile.

    Args:
        config: The configuration.
        run_dir: The run's directory, empty for a new session.
        parts: Feed, clock and venue.
        on_status: Told after each step, at most once a second, what `status` answers.
        on_news: Told what happens that an operator may want to hear.

    Raises:
        OnetapeError: The session can't begin or go on; its tape is sound.
        KeyboardInterrupt: A signal came before it had begun or gone on.
    """
    try:
        return asyncio.run(drive_live(config, run_dir, parts, on_status, on_news))
    except asyncio.CancelledError:  # by a signal, before there was a session to stop
        raise KeyboardInterrupt from None


async def drive_live(
    config: SessionConfig,
    run_dir: Path,
    parts: LiveParts,
    on_status: OnStatus | None = None,
    on_news: OnNews | None = None,
) -> LiveResult:
    """`run_live` inside a loop that runs already."""
    try:
        return await _Run(config, run_dir, parts, on_status, on_news).run()
    finally:
        if parts.gateway is not None:  # opened or not: its client may hold connections
            await parts.gateway.close()


class _Run:
    """One process of a session."""

    def __init__(
        self,
        config: SessionConfig,
        run_dir: Path,
        parts: LiveParts,
        on_status: OnStatus | None,
        on_news: OnNews | None,
    ) -> None:
        self._config = config
        self._run_dir = run_dir
        self._parts = parts
        self._on_status = on_status
        self._on_news = on_news
        self._news = SessionNews()
        self._is_catching_up = False
        self._has_begun = False
        self._live = config.live or LiveConfig()
        self._specs = [build_spec(each) for each in config.enabled_strategies]
        self._begun = time.monotonic()
        self._told = 0.0

    async def run(self) -> LiveResult:
        connecting = asyncio.current_task()
        if connecting is not None:
            self._on_signals(lambda _: connecting.cancel())
        file = tape_path(self._run_dir)
        durability = Durability.POWER_LOSS if self._live.power_loss else Durability.PROCESS_END
        if remove_empty_tape(file):
            instruments = await self._define()
            tape = self._create(durability, instruments)
            try:
                session = self._open(instruments, tape, None)
            except OnetapeError:
                tape.close()
                raise
            return await self._drive(session, tape, tape, instruments, begins=True)
        reader = open_tape(file)
        try:
            audit = reader.audit()
            if audit.complete:
                raise DataError("the session has ended", where=str(self._run_dir),
                                remedy="start a new one")  # fmt: skip
            if audit.damage is not None:
                raise TapeDamaged(f"the tape is damaged: {audit.damage}", where=str(file),
                                  remedy="restore it from a copy")  # fmt: skip
            header = reader.header
            self._check_same(header)
            store = reopen_tape(file, audit, durability)
            try:
                return await self._go_on(reader, header, store)
            finally:
                store.close()
        finally:
            reader.close()

    async def _define(self) -> tuple[Instrument, ...]:
        """The instruments, as the venue says, or in paper the feed."""
        source = self._parts.gateway or self._parts.feed
        return await source.define(self._config.data.instruments)

    def _create(self, durability: Durability, instruments: Sequence[Instrument]) -> TapeStore:
        config = self._config
        for each in self._specs:
            unknown = [name for name in each.instruments or () if
                       name not in {one.id for one in instruments}]  # fmt: skip
            if unknown:
                raise ConfigError(f"strategy {each.name} trades unknown {unknown[0]}")
        archive = {each.name: archive_features(each.strategy) for each in self._specs}
        write_whole(self._run_dir / "versions.json", encode_versions(self._specs))
        write_whole(self._run_dir / run_features.FILE, run_features.encode_archive(archive))
        write_whole(self._run_dir / "config.json", resolved_json(config).encode())
        return create_tape(self._run_dir, config.output, durability)

    def _open(
        self,
        instruments: Sequence[Instrument],
        tape: TapeStore | ContinuedTape,
        header: SessionStarted | None,
    ) -> RealtimeSession:
        self._news = SessionNews(instruments)
        return open_session(
            self._config, self._specs, instruments, HeardTape(tape, self._hear), header,
            ts_start=0 if header is not None else time.time_ns(),
        )  # fmt: skip

    def _hear(self, ts: int, seq: int, payload: Payload) -> None:
        news = self._news.take(ts, seq, payload)
        if news is not None and self._on_news is not None and not self._is_catching_up:
            self._on_news(news)

    def _check_same(self, header: SessionStarted) -> None:
        if header.config_hash != config_hash(self._config):
            raise ConfigError(
                f"the session began with another configuration: {self._tell_changes(header)}",
                where=str(self._run_dir / "config.json"),
                remedy="bring back what it began with, or start a new session",
            )
        for each in self._specs:
            recorded = header.strategy_versions.get(each.name)
            if recorded != each.version:
                raise ConfigError(
                    f"strategy {each.name} has version {each.version}, and the session ran "
                    f"{recorded}",
                    remedy="bring back the strategy that it began with, or start a new session",
                )

    def _tell_changes(self, header: SessionStarted) -> str:
        """The first keys that differ, as `key is NEW and was OLD`."""
        now = msgspec.json.decode(decision_json(self._config))
        changes = list(_list_changes(now, msgspec.json.decode(header.config), ""))
        more = f" and {len(changes) - 3} more" if len(changes) > 3 else ""
        return ", ".join(changes[:3]) + more

    async def _go_on(
        self, reader: BlockReader, header: SessionStarted, store: TapeStore
    ) -> LiveResult:
        """From the newest snapshot, over what the tape holds behind it, to now."""
        snapshot = reader.newest_snapshot()
        first_seq = snapshot.events if snapshot is not None else 0
        tape = ContinuedTape(store, reader.encoded_records(first_seq), iter(()))
        instruments = markets_among(header.instruments)
        session = self._open(instruments, tape, header)
        if snapshot is not None:
            session.restore(decode_realtime(snapshot.state))
        self._is_catching_up = True  # an earlier process has told all that
        for each in read_inputs(reader.encoded_records(first_seq)):
            give(session, each)
        tape.check_over()
        self._is_catching_up = False
        reader.close()  # the tape becomes one file when nobody else has it open
        session.outbox.take()  # sent already, or not: the venue knows
        session.outbox.take_strays()
        return await self._drive(session, tape, store, instruments, begins=False)

    async def _drive(
        self,
        session: RealtimeSession,
        tape: TapeStore | ContinuedTape,
        store: TapeStore,
        instruments: Sequence[Instrument],
        *,
        begins: bool,
    ) -> LiveResult:
        parts, config = self._parts, self._config
        terms = ShellTerms(
            grace_ms=_GRACE_MS if config.data.slice_grace_ms is None
            else config.data.slice_grace_ms,
            inbox=self._live.inbox, stale_seconds=self._live.stale_seconds,
            look_seconds=self._live.look_seconds, stop_seconds=self._live.stop_seconds,
            snapshot_events=config.output.snapshot_events,
            cancels_on_stop=self._live.on_stop == "cancel",
        )  # fmt: skip
        strategies = [each.strategy for each in self._specs]
        with ExitStack() as stack:
            stack.callback(store.close)
            if parts.account:
                adopted = config.adopters()
                stack.enter_context(adopting_alone(self._run_dir, parts.account, adopted))
            stack.enter_context(watching([type(each) for each in strategies]))
            features = [one for each in self._specs for one in _list_features(each)]
            modules = [*list_modules(strategies), *list_feature_modules(features)]
            watchdog = stack.enter_context(Watchdog(modules, self._live.callback_seconds))
            shell = RealtimeShell(
                session, tape, parts.clock, parts.feed, parts.gateway, instruments,
                config.data.timeframe, terms, watchdog, self._tell_status,
                self._find_announcements(instruments),
            )  # fmt: skip
            self._shell, self._session = shell, session
            stack.enter_context(ControlSocket(self._run_dir, shell, watchdog, self._describe))
            if parts.gateway is not None:
                await parts.gateway.open(instruments, shell.hear_venue)
            await self._begin(session, instruments, begins=begins)
            store.commit()
            self._has_begun = True
            self._stop_on_signals(shell)
            reason = await shell.run()
            shell.keep_state()
        return LiveResult(
            run_dir=self._run_dir,
            session=session.session,
            reason=reason,
            digest=store.digest,
            market_events=session.rows,
            quarantined=tuple(session.pipeline.quarantined),
            figures=shell.figures(),
            status=self._describe(),
            uncanceled=self._live.on_stop == "cancel" and bool(session.open_orders),
        )

    async def _begin(
        self, session: RealtimeSession, instruments: Sequence[Instrument], *, begins: bool
    ) -> None:
        """The first inputs: the start or the return, and the bars from before."""
        clock, feed = self._parts.clock, self._parts.feed
        bars = max(self._warm_up(), 1)
        if not begins:
            bars = max(bars, self._count_missed(session))
        history = await feed.read_history(instruments, self._config.data.timeframe, bars)
        for each in history:
            clock.hear(each.ts_close if isinstance(each, BarClosed) else each.ts_event)
        actions: Sequence[AnnouncedAction] = ()
        try:
            actions = await self._shell.find_actions()
        except OnetapeError:
            if begins:
                raise  # later it goes on with those of before, and tells
        if begins:
            with self._shell.watched():
                session.start(max(clock.now(), 1))
        else:
            session.take(
                SessionResumed(
                    onetape.__version__, {each.name: each.version for each in self._specs}
                ),
                max(clock.now(), session.now + 1),
            )
            if self._shell.dispatcher is not None:
                self._shell.dispatcher.know(session.submitted_orders())
                for report in session.unanswered():
                    session.take(report, max(clock.now(), session.now + 1))
        if not begins and not self._has_bars:
            self._shell.ticks.go_on(session.newest_closes())
        if not begins:  # what was missed comes between the rows that were
            self._shell.announce(actions)
        for slice_ in self._slice_history(session, instruments, history):
            with self._shell.watched():
                self._shell.take_history(slice_)
        if begins:
            self._shell.announce(actions)

    def _find_announcements(self, instruments: Sequence[Instrument]) -> Announcements | None:
        data = self._config.data
        if data.corporate_actions is None:
            return None
        everything = tuple(each.id for each in instruments)
        return Announcements(
            Path(data.corporate_actions), Path(data.path), instruments,
            {each.name: each.instruments or everything for each in self._specs},
            is_simulated=self._parts.gateway is None,
        )  # fmt: skip

    @property
    def _has_bars(self) -> bool:
        return has_length(self._config.data.timeframe)

    def _count_missed(self, session: RealtimeSession) -> int:
        """Bars or prints that may have come since the newest that the session has."""
        if not self._has_bars:
            return HISTORY_BARS
        newest = min(session.newest_closes().values())
        now = self._parts.clock.now()
        if newest < 0 or not now:
            return HISTORY_BARS
        length = timeframe_ns(self._config.data.timeframe)
        return min((now - newest) // length + 1, _MISSED_MAX)

    def _warm_up(self) -> int:
        """Bars that the features of the strategies need before their first value."""
        needed = [0]
        for spec in self._specs:
            needed += [each.warm_up for each in _list_features(spec)]
        return max(needed)

    def _slice_history(
        self,
        session: RealtimeSession,
        instruments: Sequence[Instrument],
        history: History,
    ) -> Sequence[Sequence[RowHeard]]:
        """Rows from before, that the session has not got yet, as slices that nobody hears."""
        slices = BarSlices(instruments, 0)
        newest = session.newest_closes()
        found: list[Sequence[RowHeard]] = []
        prints: list[TradeTick] = []
        for each in history:
            if isinstance(each, TradeTick):
                prints.append(each)
            elif each.ts_close > newest[each.instrument]:
                found += slices.add(each, each.ts_close)
        found += slices.expire(2**63 - 1)
        found += [self._shell.ticks.take(each) for each in session.clear_depth()]
        missed = self._shell.ticks.find_missed(prints, session.newest_prints())
        found += [(each,) for each in missed]
        return [tuple(msgspec.structs.replace(each, is_history=True) for each in rows)
                for rows in found]  # fmt: skip

    def _stop_on_signals(self, shell: RealtimeShell) -> None:
        self._on_signals(
            lambda which: shell.tell(OperatorCommand(OperatorAction.STOP, "", which.name))
        )

    def _on_signals(self, act: Callable[[signal.Signals], object]) -> None:
        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, act, each)

    # What is told.

    def _tell_status(self) -> None:
        ts, why = self._shell.passed.take_news()
        if why:
            news = self._news.tell_passed(ts, why, is_first=not self._session.rows)
            if self._on_news is not None:
                self._on_news(news)
        now = time.monotonic()
        if self._on_status is not None and now - self._told >= 1.0:
            self._told = now
            self._on_status(self._describe())

    def _describe(self) -> dict[str, Any]:
        return describe_session(
            self._session,
            self._config,
            self._news,
            self._shell.figures(),
            self._shell.agenda,
            run_dir=self._run_dir,
            seconds=time.monotonic() - self._begun,
            dropped=self._shell.dropped,
            passed_over=self._shell.passed.describe(),
            has_begun=self._has_begun,
        )


def open_session(
    config: SessionConfig,
    specs: Sequence[StrategySpec],
    instruments: Sequence[Instrument],
    tape: TapeWriter,
    header: SessionStarted | None,
    *,
    ts_start: int,
    is_simulated: bool | None = None,
) -> RealtimeSession:
    """The session of a configuration; of a `header` the one that it began.

    Args:
        config: The configuration.
        specs: Its strategies.
        instruments: As defined when it began.
        tape: Where it writes.
        header: What its tape begins with; None: it is a new one.
        ts_start: When a new one begins, ns UTC.
        is_simulated: Whether the venue is the simulated one; None: as configured.

    Raises:
        ConfigError: It asks for what a realtime session does not carry.
    """
    data = config.data
    live = config.live or LiveConfig()
    instruments = markets_among(instruments)
    archive = {each.name: archive_features(each.strategy) for each in specs}
    identity = RealtimeIdentity(
        session=header.session if header is not None else "",
        config=decision_json(config),
        config_hash=config_hash(config),
        seed=config.seed,
        mode=config.mode,
        feature_versions={
            name: {feature: each.version for feature, each in features.items()}
            for name, features in archive.items()
        },
        ts_start=ts_start,
    )
    simulated = config.execution.venue == "simulated" if is_simulated is None else is_simulated
    policy = RealtimePolicy(
        history_bars=data.history_bars or HISTORY_BARS,
        pauses_in_outage=live.outage == "pause",
        cancels_on_stop=live.on_stop == "cancel",
        is_simulated=simulated,
        drift=config.drift.settings() if config.drift else None,
        reconciliation=ReconciliationPolicy(
            foreign_orders=_POLICIES[live.foreign_orders],
            adopt_into=config.adopters(),
            positions=_POLICIES[live.foreign_positions],
            cash=_POLICIES[live.foreign_cash],
        ),
    )  # fmt: skip
    return RealtimeSession(
        instruments, data.timeframe, data.source, specs,
        build_terms(config.execution, config.seed, instruments), config.risk.limits(), tape,
        identity, policy,
    )  # fmt: skip


def _list_changes(now: Any, then: Any, key: str) -> Iterator[str]:
    """The leaves that differ between two configurations."""
    if isinstance(now, dict) and isinstance(then, dict):
        pairs: list[tuple[Any, Any, Any]] = [
            (name, now.get(name), then.get(name)) for name in {**then, **now}
        ]
    elif isinstance(now, list) and isinstance(then, list) and len(now) == len(then):
        pairs = [(at, *both) for at, both in enumerate(zip(now, then, strict=True))]
    else:
        if now != then:
            yield f"{key} is {_short(now)} and was {_short(then)}"
        return
    for name, one, other in pairs:
        yield from _list_changes(one, other, f"{key}.{name}" if key else str(name))


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= 60 else f"{text[:57]}..."


def _list_features(spec: StrategySpec) -> list[Estimator]:
    features = spec.features if spec.features is not None else spec.strategy.features()
    return list(features.values())
