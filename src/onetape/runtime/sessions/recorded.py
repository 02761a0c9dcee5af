"""A session built again from the header of its tape: the same inputs, or what has become of them.

`python -m onetape.runtime.sessions.recorded TAPE CATALOG RECORDS` runs one again and
writes its records into a file: how `verify` gets a run of another process, with another hash seed.
"""

from __future__ import annotations

import copy
import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from enum import Enum
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import msgspec
from pydantic import ValidationError

import onetape
from onetape.domain.errors import ConfigError, DataError, StrategyError
from onetape.domain.events import (
    DatasetPin,
    KillSwitchSet,
    Payload,
    SessionStarted,
    StrategyQuarantined,
)
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.legs import are_hedged, markets_among
from onetape.domain.ports import TapeWriter
from onetape.execution.simulated.terms import VenueTerms
from onetape.marketdata.catalog import Catalog
from onetape.marketdata.corporate_actions import ACTIONS
from onetape.marketdata.fundamentals import FUNDAMENTALS
from onetape.marketdata.funding import FUNDING
from onetape.marketdata.halts import HALTS
from onetape.marketdata.loading import load_market_data
from onetape.marketdata.membership import MEMBERSHIP
from onetape.marketdata.side_files import (
    NO_FILES,
    PINNED_FILES,
    PINNED_KEYS,
    SideFiles,
    pinned_versions,
)
from onetape.marketdata.timeline import Timeline
from onetape.risk.limits import RiskLimits
from onetape.runtime.config import (
    DataConfig,
    HistoricalClock,
    SessionConfig,
    StrategyConfig,
)
from onetape.runtime.config_overrides import tell_no_overrides
from onetape.runtime.live_pipeline import FEATURE
from onetape.runtime.sessions.backtest import (
    BacktestSession,
    OnProgress,
    SessionIdentity,
    Snapshots,
    StrategySpec,
    build_spec,
    build_terms,
    compute_features,
)
from onetape.runtime.sessions.live_timeline import read_timeline
from onetape.runtime.sessions.run_features import pin_features, read_archive
from onetape.strategy.guard import watching
from onetape.tape.block import decode_record
from onetape.tape.opening import open_tape

_LENGTH_BYTES = 4

_QUARANTINED = str(StrategyQuarantined.__struct_config__.tag).encode()
_CONTROL = str(KillSwitchSet.__struct_config__.tag).encode()
"""Bytes of every record that holds one; reading all records would cost as much as the session."""

_NOT_DECIDING = (
    "output", "host", "data.path", *(f"data.{key}" for key in PINNED_KEYS), "clock.speed",
    "data.connection", "execution.connection",
)  # fmt: skip
"""Keys of config.json that change no decision and are not on the tape."""

_NOT_SET = "null"
"""What a key that is not there says, as JSON."""


_WORDS: dict[str, str] = {
    ACTIONS: "corporate actions", FUNDING: "funding rates", FUNDAMENTALS: "published figures",
    HALTS: "trading statuses",
}  # fmt: skip
"""What a file of each timeframe holds."""


class InputKind(Enum):
    """Which input of a session."""

    DATA = "data"
    CONFIG = "config"
    CODE = "code"


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """An input that is not what the tape says. `what` is one sentence.

    `recorded` and `found` are both sides; empty where there is none, as of a file that is gone.
    """

    kind: InputKind
    what: str
    recorded: str = ""
    found: str = ""


class RecordedSession(msgspec.Struct, frozen=True, kw_only=True, eq=False, dict=True):
    """What a session can be run again with: always the configuration that stands on the tape.

    `read_market` gives the rows that it ran on, when `timeline` is asked for: a paper or live
    session gets them from its tape one by one when it runs again.
    `restored` tells which features are run by a definition of then. `records` gives those of the
    tape of a paper or live session, which hold its inputs; None: it is a backtest. `broken` are the
    strategies of which a feature failed: it may not be computed to tell what it was.
    """

    header: SessionStarted
    config: SessionConfig
    specs: tuple[StrategySpec, ...]
    read_market: Callable[[], Timeline]
    terms: VenueTerms
    restored: tuple[str, ...] = ()
    records: Callable[[], Iterable[bytes]] | None = None
    broken: frozenset[str] = frozenset()

    @cached_property
    def timeline(self) -> Timeline:
        """All rows that it ran on.

        Raises:
            DataError: The tape of a paper or live session holds none.
            TryAgain: There is no room on the disk to lay them aside.
        """
        return self.read_market()

    def open(self, tape: TapeWriter, audit: RiskLimits | None = None) -> BacktestSession:
        """The session, about to begin, into `tape`; once, because strategies hold state.

        `audit` are other limits, asked beside; what they say changes nothing.
        """
        identity = SessionIdentity(
            session=self.header.session,
            config=self.header.config,
            config_hash=self.header.config_hash,
            seed=self.header.seed,
            mode=self.header.mode,
            feature_versions=self.header.feature_versions,
        )
        limits = self.config.risk.limits()
        drift = self.config.drift.settings() if self.config.drift else None
        return BacktestSession(
            self.timeline, self.specs, self.terms, limits, tape, identity, drift, audit
        )

    def run(
        self,
        tape: TapeWriter,
        on_progress: OnProgress | None = None,
        controls: Sequence[tuple[int, KillSwitchSet]] = (),
        snapshots: Snapshots | None = None,
    ) -> None:
        """Run it into `tape`, unpaced, with the operators' commands that `read_controls` gives.

        Raises:
            InvariantBroken: A promise of ours does not hold.
        """
        if self.records is not None:
            self._run_again(tape, self.records())
            return
        session = self.open(tape)
        with self.watching():
            session.run(on_progress, controls=controls, snapshots=snapshots)

    def _run_again(self, tape: TapeWriter, records: Iterable[bytes]) -> None:
        """Give a realtime session its inputs again."""
        from onetape.runtime.sessions.live_inputs import give, read_inputs
        from onetape.runtime.sessions.live_run import open_session

        session = open_session(
            self.config, self.specs, self.header.instruments, tape, self.header, ts_start=0
        )
        with self.watching():
            for each in read_inputs(records):
                give(session, each)

    def watching(self) -> AbstractContextManager[None]:
        """The guard of its strategies; see `onetape.strategy.guard`."""
        return watching([type(each.strategy) for each in self.specs])

    def features(self) -> dict[str, Mapping[str, Any]]:
        """Feature columns of each strategy, in the order of the timeline; none of the `broken`."""
        everything = tuple(each.id for each in self.timeline.instruments)
        return {
            spec.name: compute_features(
                self.timeline, spec.strategy, spec.instruments or everything, spec.features
            )
            for spec in self.specs
            if spec.name not in self.broken
        }


def load_recorded(
    header: SessionStarted,
    catalog: Path,
    run_dir: Path | None = None,
    records: Callable[[], Iterable[bytes]] | None = None,
) -> tuple[RecordedSession | None, list[Change]]:
    """The session of `header`, and every input that has changed since; None: it can't be run.

    Args:
        header: First event of the tape.
        catalog: Where the catalog is now.
        run_dir: Where the definitions of its features are, and where config.json says which files
            it read beside the catalog; None: only the features of now count, without such files.
        records: The records of the tape, for a paper or live session.

    Raises:
        ConfigError: The tape is of another mode, or its configuration is not for this onetape.
        DataError: The tape pins no market data.
    """
    is_realtime = header.mode != "backtest"
    if is_realtime and records is None:
        raise ConfigError(f"a session of mode {header.mode} can't be run again here",
                          remedy="onetape verify runs it again")  # fmt: skip
    config = _config_of(header)
    changes: list[Change] = []
    if header.code_version != onetape.__version__:
        what = f"onetape {header.code_version} wrote the tape, and this is {onetape.__version__}"
        changes.append(_change(InputKind.CODE, what, header.code_version, onetape.__version__))
    specs: list[StrategySpec] = []
    restored: list[str] = []
    archive = read_archive(run_dir)
    for each in config.enabled_strategies:
        spec = _load_strategy(each, header, changes)
        if spec is not None:
            # Of a strategy that was edited the features of now count, as its code does.
            is_same = spec.version == header.strategy_versions.get(spec.name)
            recorded = header.feature_versions.get(spec.name, {}) if is_same else {}
            pinned = pin_features(spec.name, spec.strategy, recorded, archive)
            changes += [_change(InputKind.CODE, what) for what in pinned.lost]
            restored += pinned.restored
            specs.append(msgspec.structs.replace(spec, features=pinned.features))
    heard = records if is_realtime else None
    if heard is not None:
        instruments = markets_among(header.instruments)
        read_market = partial(read_timeline, header, heard)
    else:
        files = NO_FILES if run_dir is None else find_files(run_dir)
        timeline = _load_pinned(header, config, catalog, files, changes)
        if timeline is None:
            return None, changes
        instruments = timeline.instruments
        read_market = lambda: timeline  # noqa: E731
    if len(specs) < len(config.enabled_strategies):
        return None, changes
    return (
        RecordedSession(
            header=header,
            config=config,
            specs=tuple(specs),
            read_market=read_market,
            terms=build_terms(config.execution, config.seed, instruments),
            restored=tuple(restored),
            records=heard,
            broken=find_broken(heard()) if heard is not None else frozenset(),
        ),
        changes,
    )


def read_controls(records: Iterable[bytes]) -> list[tuple[int, KillSwitchSet]]:
    """Operators' commands among the records of a tape, with their times (ns UTC), in order.

    They are inputs of a session. Each is a step of its own, which nothing has caused.

    Raises:
        DataError: A record can't be read.
    """
    controls: list[tuple[int, KillSwitchSet]] = []
    for data in records:
        if _CONTROL in data:
            record = decode_record(data)
            payload, _, cause = record.events[0]
            if isinstance(payload, KillSwitchSet) and not cause:
                controls.append((record.ts, payload))
    return controls


def find_broken(records: Iterable[bytes]) -> frozenset[str]:
    """The strategies of which a feature raised or did not come back.

    Raises:
        DataError: A record can't be read.
    """
    return frozenset(
        payload.strategy
        for data in records
        if _QUARANTINED in data
        for payload, _, _ in decode_record(data).events
        if isinstance(payload, StrategyQuarantined) and payload.callback.startswith(FEATURE)
    )


def find_catalog(run_dir: Path) -> Path:
    """Where config.json of a run says that the catalog is; the default where it does not say."""
    try:
        return Path(msgspec.json.decode((run_dir / "config.json").read_bytes())["data"]["path"])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError):
        return Path(DataConfig.model_fields["path"].default)


def find_files(run_dir: Path) -> SideFiles:
    """Where config.json of a run says that the files beside the catalog are."""
    try:
        data = msgspec.json.decode((run_dir / "config.json").read_bytes())["data"]
        named = [data.get(key) for key in PINNED_KEYS]
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError):
        return NO_FILES
    return SideFiles(*(Path(each) if isinstance(each, str) else None for each in named))


def compare_config(header: SessionStarted, path: Path) -> list[Change]:
    """Keys of the config.json at `path` that differ from the tape, where they decide anything.

    A file that is not there is no change: the tape holds the whole configuration.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return []
    try:
        values = json.loads(text)
    except ValueError as error:
        return [_change(InputKind.CONFIG, f"{path} can't be read any more: {error}")]
    if isinstance(values, dict) and isinstance(values.get("execution"), dict):
        tell_no_overrides(values["execution"])  # as the tape does
    recorded, found = _flatten(json.loads(header.config)), _flatten(values)
    return [
        _change(
            InputKind.CONFIG,
            f"{key} is {found.get(key, 'not set')} in {path}, and the session ran with "
            f"{recorded.get(key, 'no such key')}",
            recorded.get(key, ""),
            found.get(key, ""),
        )
        for key in sorted(recorded.keys() | found.keys())
        if recorded.get(key, _NOT_SET) != found.get(key, _NOT_SET)
        and not _is_below(key, _NOT_DECIDING)
    ]


def _is_below(key: str, sections: Sequence[str]) -> bool:
    return any(key == each or key.startswith(f"{each}.") for each in sections)


def _flatten(value: Any, place: str = "") -> dict[str, str]:
    """Leaves of a JSON document by their dotted place, each as JSON."""
    if isinstance(value, dict | list) and value:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        leaves: dict[str, str] = {}
        for name, each in items:
            leaves |= _flatten(each, f"{place}.{name}" if place else str(name))
        return leaves
    return {place: json.dumps(value)}


def _change(kind: InputKind, what: str, recorded: str = "", found: str = "") -> Change:
    return Change(kind=kind, what=what, recorded=recorded, found=found)


def _config_of(header: SessionStarted) -> SessionConfig:
    if header.mode == "backtest" and not header.datasets:
        raise DataError(f"the tape of session {header.session} pins no market data",
                        remedy="only a session on bars of a catalog can be run again")  # fmt: skip
    if hashlib.sha256(header.config.encode()).hexdigest() != header.config_hash:
        raise ConfigError(
            "the configuration on the tape does not have the hash that stands beside it",
            remedy="the tape was written by something else than onetape",
        )
    try:
        return SessionConfig.model_validate_json(header.config)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ConfigError(
            f"the configuration on the tape is not one of this onetape: {first['msg']}",
            where=place,
            remedy=f"use onetape {header.code_version}, which wrote it",
        ) from error


def _load_strategy(
    config: StrategyConfig, header: SessionStarted, changes: list[Change]
) -> StrategySpec | None:
    """The strategy as it is now; what is other than recorded goes into `changes`."""
    recorded = header.strategy_versions.get(config.name, "")
    try:
        spec = build_spec(config)
    except (StrategyError, ConfigError) as error:
        what = f"strategy {config.name} can't be run any more: {error}"
        changes.append(_change(InputKind.CODE, what, recorded))
        return None
    if spec.version != recorded:
        place = config.path or type(spec.strategy).__module__
        what = (
            f"strategy {config.name} ({place}) has version {spec.version}, and the session ran "
            f"version {recorded}"
        )
        changes.append(_change(InputKind.CODE, what, recorded, spec.version))
    return spec


def _load_pinned(
    header: SessionStarted,
    config: SessionConfig,
    catalog: Path,
    files: SideFiles,
    changes: list[Change],
) -> Timeline | None:
    """The pinned bars and files as they are now; what is another one goes into `changes`."""
    clock = config.clock
    if not isinstance(clock, HistoricalClock):
        raise ConfigError("a backtest needs a historical clock", where="clock.type")
    members = next((each for each in header.datasets if each.timeframe == MEMBERSHIP), None)
    others = (*PINNED_FILES, MEMBERSHIP)
    pins = [each for each in header.datasets if each.timeframe not in others]
    action_pins = {
        (each.timeframe, each.instrument): each
        for each in header.datasets
        if each.timeframe in PINNED_FILES
    }
    for path, timeframe in zip(files, PINNED_FILES, strict=True):
        missing = [name for kind, name in action_pins if kind == timeframe]
        if missing and path is None:
            what = (
                f"the {_WORDS[timeframe]} of {', '.join(missing)} can't be read any more: "
                "config.json names no file of them"
            )
            changes.append(_change(InputKind.DATA, what))
            return None
    versions = {str(pin.instrument): pin.table_version for pin in pins}
    versions |= pinned_versions(header.datasets, files)
    if members is not None:
        versions[members.instrument] = members.table_version
    names = config.data.instruments or [pin.instrument for pin in pins]  # of the universe then
    try:
        timeline = load_market_data(
            Catalog(catalog), names, config.data.timeframe,
            clock.ts_start, clock.ts_end, versions, files, config.data.reading,
        )  # fmt: skip
    except DataError as error:
        wanted = ", ".join(f"{name} at version {version}" for name, version in versions.items())
        what = f"the pinned bars ({wanted}) can't be read any more: {error}"
        changes.append(_change(InputKind.DATA, what))
        return None
    for pin, found in zip(pins, timeline.datasets, strict=True):
        if pin.content_hash != found.content_hash:
            what = (
                f"{pin.instrument} {pin.timeframe} version {pin.table_version} in {catalog} holds "
                f"{found.rows:,} bars with content {found.content_hash[:12]}, and the session read "
                f"{pin.rows:,} with {pin.content_hash[:12]}"
            )
            changes.append(_change(InputKind.DATA, what, pin.content_hash, found.content_hash))
    universe = copy.copy(timeline.universe)
    if members is not None and universe is not None:
        if members.content_hash != universe.pin.content_hash:
            what = (
                f"other instruments are in universe {members.instrument} of {catalog} at version "
                f"{members.table_version}, or at other times, than the session read"
            )
            changes.append(
                _change(InputKind.DATA, what, members.content_hash, universe.pin.content_hash)
            )
        universe.pin = members
    changes += _compare_files(action_pins, timeline, files)
    if are_hedged(header.instruments):
        timeline = timeline.with_legs()
    if config.execution.marks == "closing_side":
        timeline = timeline.at_closing_side()
    defined = {each.id: each for each in timeline.tradable}
    for each in header.instruments:
        if each != defined[each.id]:
            changes.append(_redefined(each, defined[each.id], catalog))
    pinned = copy.copy(timeline)
    pinned.datasets = tuple(pins)  # as they stand in the header
    pinned.universe = universe
    pinned.action_pins = tuple(action_pins.values())
    return pinned


def _compare_files(
    pins: Mapping[tuple[str, InstrumentId], DatasetPin],
    timeline: Timeline,
    paths: SideFiles,
) -> list[Change]:
    """Instruments of which a file holds other rows than the session read."""
    now = {(each.timeframe, each.instrument): each for each in timeline.action_pins}
    changes: list[Change] = []
    for key in sorted(pins.keys() | now.keys()):
        timeframe, name = key
        before, found = (
            (side[key].rows, side[key].content_hash) if key in side else (0, "")
            for side in (pins, now)
        )
        if before != found:
            path = paths[PINNED_FILES.index(timeframe)]
            what = (
                f"{path} holds {found[0]} {_WORDS[timeframe]} of {name}"
                f"{f' with content {found[1][:12]}' if found[1] else ''}, and the session read "
                f"{before[0]}{f' with {before[1][:12]}' if before[1] else ''}"
            )
            changes.append(_change(InputKind.DATA, what, before[1], found[1]))
    return changes


def _redefined(recorded: Instrument, found: Instrument, catalog: Path) -> Change:
    """The change of an instrument's definition: its fields that differ."""
    before, now = (msgspec.to_builtins(each, enc_hook=str) for each in (recorded, found))
    fields = [name for name in before if before[name] != now[name]]
    differing = ", ".join(f"{name} {before[name]} -> {now[name]}" for name in fields)
    what = f"{recorded.id} is defined otherwise in {catalog} than at the time: {differing}"
    return _change(InputKind.DATA, what, *(
        json.dumps({name: each[name] for name in fields}) for each in (before, now)
    ))  # fmt: skip


class RecordFile:
    """A tape that is a file of records, each with its length before it.

    Raises:
        OSError: The file can't be written.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._encode = msgspec.msgpack.Encoder().encode

    def append(
        self, first_seq: int, ts: int, market_index: int, events: Sequence[tuple[Payload, int, int]]
    ) -> None:
        """Write one step (see `TapeWriter`)."""
        data = self._encode((first_seq, ts, market_index, events))
        self._file.write(len(data).to_bytes(_LENGTH_BYTES, "little"))
        self._file.write(data)

    def commit(self) -> None:
        """Hand everything to the file system."""
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_records(path: Path) -> Iterator[bytes]:
    """The records of a `RecordFile`, in order."""
    with path.open("rb") as file:
        while head := file.read(_LENGTH_BYTES):
            yield file.read(int.from_bytes(head, "little"))


def main(arguments: Sequence[str]) -> None:
    """Run the session of a tape again into a file of records.

    Raises:
        DataError: An input can't be read.
    """
    tape, catalog, records = map(Path, arguments)
    reader = open_tape(tape)
    try:
        session, changes = load_recorded(
            reader.header, catalog, tape.parent, reader.encoded_records
        )
        if session is None:
            raise DataError(changes[0].what)
        file = RecordFile(records)
        try:
            session.run(file, controls=read_controls(reader.encoded_records()))
        finally:
            file.close()
    finally:
        reader.close()


if __name__ == "__main__":
    main(sys.argv[1:])
