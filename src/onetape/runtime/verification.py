"""Does a tape prove what it says? Runs its session again and compares every record.

| verdict          | when                                                                       |
| ---------------- | -------------------------------------------------------------------------- |
| `identical`      | every record of the re-run says what the tape's says, and no input has      |
|                  | changed                                                                     |
| `tape`           | the hash chain is broken, or seal or metrics.json know another tape         |
| `incomplete`     | the tape has no end; as far as it goes it is identical                      |
| `data`           | a pinned dataset holds other bars, or a file beside the catalog other       |
|                  | rows, than were read, or can't be read                                      |
| `config`         | config.json beside the tape is not what the session ran with                |
| `code`           | another version of onetape or of a strategy; or, when nothing else is left, |
|                  | other code, libraries or definitions than at the time of the run            |
| `nondeterminism` | re-runs differ from one another                                             |

The re-run always takes its configuration from the tape. A record is one engine step with all its
payloads, seqs, times, correlation and causation ids, so equal bytes are equal in all of them.
Where the bytes differ, both are read and written anew: fields that an older writer did not know
have their defaults then, and only what is left is a difference. Operators' commands are inputs,
like the bars: the re-run gets them from the tape.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from enum import Enum
from itertools import islice, zip_longest
from pathlib import Path
from typing import get_args

import msgspec

from onetape.domain.events import (
    Event,
    KillSwitchSet,
    OrderEvent,
    Payload,
    SessionStarted,
    SignalRecorded,
    StrategyQuarantined,
    TimerFired,
)
from onetape.domain.market import CorporateAction
from onetape.domain.orders import Intent
from onetape.domain.timestamps import to_iso
from onetape.runtime.runner import STEP_CALLBACKS
from onetape.runtime.sessions.backtest import OnProgress
from onetape.runtime.sessions.backtest_run import encode_versions
from onetape.runtime.sessions.recorded import (
    Change,
    InputKind,
    RecordedSession,
    compare_config,
    find_catalog,
    load_recorded,
    read_controls,
    read_records,
)
from onetape.strategy.sdk import Strategy
from onetape.tape.audit import Damage
from onetape.tape.block import GENESIS, Record, decode_record, is_same_record
from onetape.tape.envelope import expand
from onetape.tape.opening import open_tape
from onetape.tape.reader import BlockReader
from onetape.tape.seal import check_seal
from onetape.telemetry.why import Link, Records, explain, trace_event

_DECISIONS = frozenset(get_args(Intent))
_ORDER = (InputKind.DATA, InputKind.CODE, InputKind.CONFIG)
"""Which change is told first; the re-run has its configuration from the tape."""

_encode = msgspec.msgpack.Encoder().encode

_HASH_SEEDS = ("1", "4711")
"""PYTHONHASHSEED of the re-runs that tell nondeterminism from changed code."""


class Verdict(Enum):
    """What `verify` found; see the table above."""

    IDENTICAL = "identical"
    TAPE = "tape"
    INCOMPLETE = "incomplete"
    DATA = "data"
    CONFIG = "config"
    CODE = "code"
    NONDETERMINISM = "nondeterminism"

    @property
    def exit_code(self) -> int:
        """0 identical, 2 an input is another one, 4 nothing here can be trusted."""
        match self:
            case Verdict.IDENTICAL:
                return 0
            case Verdict.TAPE | Verdict.NONDETERMINISM:
                return 4
            case _:
                return 2


_VERDICTS = {
    InputKind.DATA: Verdict.DATA,
    InputKind.CODE: Verdict.CODE,
    InputKind.CONFIG: Verdict.CONFIG,
}


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """The first event in which two runs differ; None where a run has come to its end.

    `record` counts records from 0. The chains say how each side came to it, as far as it knows.
    """

    record: int
    tape: Event | None
    rerun: Event | None
    tape_chain: tuple[Link, ...] = ()
    rerun_chain: tuple[Link, ...] = ()


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """What came out. `what` says it in one sentence; `digest` is that of the tape, hex.

    `decisions` and `events` count what was found identical; of a re-run that differs, before the
    first difference.
    """

    verdict: Verdict
    what: str
    session: str = ""
    digest: str = ""
    records: int = 0
    events: int = 0
    decisions: int = 0
    damage: Damage | None = None
    changes: tuple[Change, ...] = ()
    difference: Difference | None = None


def verify_tape(
    tape: Path, catalog: Path | None = None, on_progress: OnProgress | None = None
) -> Verification:
    """Run the session of a tape again, in memory, and compare. Nothing is written beside it.

    Args:
        tape: The tape's file; config.json and metrics.json of its run are looked for beside it.
        catalog: Where the catalog is now; None: where config.json says.
        on_progress: Told after each block of the re-run.

    Raises:
        DataError: There is no tape, it is of another version, or pins no market data.
        ConfigError: It is of another mode, or its configuration is not for this onetape.
        TryAgain: The tape is locked.
    """
    reader = open_tape(tape)
    try:
        return _Verifier(tape, reader, catalog or find_catalog(tape.parent)).verify(on_progress)
    finally:
        reader.close()


class _Verifier:
    def __init__(self, tape: Path, reader: BlockReader, catalog: Path) -> None:
        self._tape = tape
        self._reader = reader
        self._catalog = catalog

    def verify(self, on_progress: OnProgress | None) -> Verification:
        audit = check_seal(self._tape, self._reader.audit())
        if audit.damage is not None:
            return Verification(
                verdict=Verdict.TAPE, what=f"tape damaged: {audit.damage}", damage=audit.damage,
                digest=audit.digest,
            )  # fmt: skip
        header = self._reader.header
        session, changes = load_recorded(
            header, self._catalog, self._tape.parent, self._reader.encoded_records
        )
        changes += compare_config(header, self._tape.with_name("config.json"))
        rerun = ComparedTape(self._reader.encoded_records(), is_whole=audit.complete)
        difference = None
        if session is not None:
            controls = read_controls(self._reader.encoded_records())
            difference = self._explained(_run(session, rerun, controls, on_progress), session)
        verdict, what = self._judge(session, changes, difference, rerun)
        return Verification(
            verdict=verdict,
            what=what,
            session=header.session,
            digest=audit.digest,
            records=rerun.records,
            events=rerun.events,
            decisions=rerun.decisions,
            changes=tuple(changes),
            difference=difference,
        )

    def _judge(
        self,
        session: RecordedSession | None,
        changes: list[Change],
        difference: Difference | None,
        rerun: ComparedTape,
    ) -> tuple[Verdict, str]:
        parted = f"the re-run parts from the tape at {_place(difference)}" if difference else ""
        is_config_only = all(each.kind is InputKind.CONFIG for each in changes)
        if changes and not (difference is not None and is_config_only):
            changes.sort(key=lambda each: _ORDER.index(each.kind))
            first = changes[0]
            more = f" (and {len(changes) - 1} more)" if len(changes) > 1 else ""
            outcome = parted or "the re-run makes the same decisions all the same"
            outcome = f"; {outcome}" if session is not None else ""
            return _VERDICTS[first.kind], f"{first.kind.value} changed: {first.what}{more}{outcome}"
        if difference is not None and session is not None:
            culprit = self._find_nondeterminism(session, difference)
            if culprit:
                return Verdict.NONDETERMINISM, f"nondeterminism: {culprit}; {parted}"
            libraries = self._changed_libraries(session)
            changes += libraries
            named = f": {libraries[0].what}" if libraries else ""
            return Verdict.CODE, (
                f"code changed{named}; data, config and strategies are those of the tape and "
                f"re-runs agree, so onetape, a library or an instrument's definition is another "
                f"one; {parted}"
            )
        if not rerun.is_whole:
            return Verdict.INCOMPLETE, (
                f"the tape is incomplete: it ends at {to_iso(rerun.ts)} without session.stopped "
                f"(still running, killed, or cut off); its {rerun.events:,} events are identical"
            )
        restored = f", with {'; '.join(session.restored)}" if session and session.restored else ""
        return Verdict.IDENTICAL, (
            f"identical, {rerun.decisions:,} decisions, {rerun.events:,} events, "
            f"digest {rerun.digest}{restored}"
        )

    def _explained(
        self, parting: tuple[int, bytes, bytes] | None, session: RecordedSession
    ) -> Difference | None:
        """The difference with its chains, as the tape and the re-run have them."""
        if parting is None:
            return None
        index, recorded, rerun = parting
        tape_event, rerun_event = first_pair(recorded, rerun)
        features = session.features()

        def told(records: Records, event: Event | None) -> tuple[Link, ...]:
            if event is None:
                return ()
            return tuple(explain(trace_event(records, event.seq), session.timeline, features))

        def rerun_records() -> Iterator[Record]:
            yield from islice(self._reader.records(), index)
            yield decode_record(rerun)

        return Difference(
            record=index,
            tape=tape_event,
            rerun=rerun_event,
            tape_chain=told(self._reader.records, tape_event),
            rerun_chain=told(rerun_records, rerun_event),
        )

    def _find_nondeterminism(self, session: RecordedSession, difference: Difference) -> str:
        """What two more re-runs, in processes of their own, show; empty when all re-runs agree."""
        with tempfile.TemporaryDirectory(prefix="onetape-verify-") as folder:
            files = [Path(folder) / seed for seed in _HASH_SEEDS]
            for seed, file in zip(_HASH_SEEDS, files, strict=True):
                failure = self._run_apart(seed, file)
                if failure:
                    return f"a re-run in a process of its own fails: {failure}"
            for index, (one, other) in enumerate(zip_longest(*map(read_records, files))):
                if one != other:
                    return _blame(session, files, index, first_pair(one or b"", other or b""))
                if index == difference.record:
                    events = list(expand(decode_record(one))) if one else []
                    if not _is_as_rerun(difference, events):
                        pair = (difference.rerun, events[0] if events else None)
                        return _blame(session, files, index, pair)
                    break
        return ""

    def _run_apart(self, hash_seed: str, file: Path) -> str:
        """Run the session in a process of its own; returns why it failed, or nothing."""
        module = "onetape.runtime.sessions.recorded"
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                module,
                str(self._tape),
                str(self._catalog),
                str(file),
            ],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        return done.stderr.strip().rpartition("\n")[2] if done.returncode else ""

    def _changed_libraries(self, session: RecordedSession) -> list[Change]:
        """What versions.json beside the tape says otherwise than this process."""
        try:
            recorded = json.loads(self._tape.with_name("versions.json").read_bytes())
            before = {"python": recorded["python"], **recorded["libraries"]}
        except (OSError, ValueError, KeyError, TypeError):
            return []
        current = json.loads(encode_versions(session.specs))
        now = {"python": current["python"], **current["libraries"]}
        return [
            Change(kind=InputKind.CODE, recorded=str(version), found=str(now.get(name, "")),
                   what=f"{name} was {version} and is {now.get(name, 'gone')}")
            for name, version in before.items()
            if now.get(name) != version
        ]  # fmt: skip


class ComparedTape:
    """A tape that keeps nothing: each step is compared with the next record of another tape.

    When the other one's header is by another code, its first event is left out of the comparison.

    Args:
        recorded: The records to compare with, in order.
        is_whole: Whether they are those of a whole session.
    """

    def __init__(self, recorded: Iterator[bytes], *, is_whole: bool) -> None:
        self.is_whole = is_whole
        self.records = 0
        self.events = 0
        self.decisions = 0
        self.ts = 0
        self._recorded = recorded
        self._digest = GENESIS
        self._encode = msgspec.msgpack.Encoder().encode

    @property
    def digest(self) -> str:
        """Digest of the last record that was compared, hex: as the other tape has it."""
        return self._digest.hex()

    def append(
        self, first_seq: int, ts: int, market_index: int, events: Sequence[tuple[Payload, int, int]]
    ) -> None:
        """Compare one step (see `TapeWriter`)."""
        data = self._encode((first_seq, ts, market_index, events))
        recorded = next(self._recorded, b"")
        if data != recorded:
            if not recorded and not self.is_whole:
                raise Ended
            is_same = recorded and is_same_record(data, recorded)
            if not is_same and (self.records or not _same_but_header(data, recorded)):
                raise Parted(self.records, recorded, data)
        self._digest = hashlib.sha256(self._digest + recorded).digest()
        self.records += 1
        self.events += len(events)
        self.ts = ts
        for payload, _, _ in events:
            if type(payload) in _DECISIONS:
                self.decisions += 1

    def commit(self) -> None:
        """Nothing waits to be written."""

    def check_end(self) -> None:
        """Part where the other tape goes on."""
        left = next(self._recorded, b"")
        if left:
            raise Parted(self.records, left, b"")


class Parted(Exception):
    """Ends a re-run at the record in which it differs: (record, recorded bytes, its bytes)."""


class Ended(Exception):
    """Ends a re-run where an incomplete tape ends."""


def _run(
    session: RecordedSession,
    tape: ComparedTape,
    controls: Sequence[tuple[int, KillSwitchSet]],
    on_progress: OnProgress | None,
) -> tuple[int, bytes, bytes] | None:
    """Run until the end or the first difference: (record, recorded bytes, bytes of the re-run)."""
    try:
        session.run(tape, on_progress, controls)
        tape.check_end()
    except Ended:
        return None
    except Parted as parted:
        index, recorded, rerun = parted.args
        return index, recorded, rerun
    return None


def _same_but_header(data: bytes, recorded: bytes) -> bool:
    """Whether two first records agree in everything but what `load_recorded` tells of by itself."""
    if not recorded:
        return False
    one, other = decode_record(data), decode_record(recorded)
    mine, theirs = one.events[0][0], other.events[0][0]
    if not isinstance(mine, SessionStarted) or not isinstance(theirs, SessionStarted):
        return False
    renamed = msgspec.structs.replace(
        mine,
        code_version=theirs.code_version,
        strategy_versions=theirs.strategy_versions,
        instruments=theirs.instruments,
    )
    one.events[0] = (renamed, *one.events[0][1:])
    return _encode(one) == _encode(other)


def first_pair(one: bytes, other: bytes) -> tuple[Event | None, Event | None]:
    """The first events of two records (empty: none) that differ."""
    mine, theirs = (list(expand(decode_record(each))) if each else [] for each in (one, other))
    pairs = list(zip_longest(mine, theirs))
    # As bytes: NaN never equals itself.
    return next((pair for pair in pairs if _encode(pair[0]) != _encode(pair[1])), pairs[0])


def _is_as_rerun(difference: Difference, events: Sequence[Event]) -> bool:
    """Whether the events of another re-run's record part from the tape as the first one's did."""
    told = {_encode(each) for each in events}
    if difference.rerun is None:  # where it had fewer events than the tape
        return _encode(difference.tape) not in told
    return _encode(difference.rerun) in told


def _place(difference: Difference) -> str:
    event = min(
        (each for each in (difference.tape, difference.rerun) if each),
        key=lambda each: (each.ts_event, each.seq),
    )
    return f"event {event.seq} (record {difference.record}, {to_iso(event.ts_event)})"


def _blame(
    session: RecordedSession,
    files: Sequence[Path],
    index: int,
    pair: tuple[Event | None, Event | None],
) -> str:
    """Who decided otherwise: the strategy and its callback, or the part of onetape."""
    event = min((each for each in pair if each), key=lambda each: (each.ts_event, each.seq))
    at = f"re-runs differ from one another at event {event.seq} ({to_iso(event.ts_event)})"
    payload = event.payload
    if isinstance(payload, StrategyQuarantined):
        return f"{at}: {payload.callback} of strategy {payload.strategy}"
    if not isinstance(payload, Intent | SignalRecorded):
        return f"{at}: {event.type} of {event.source}"
    return f"{at}: {_callback_of(session, files, index, event)} of strategy {payload.strategy}"


_CALLBACKS = ("on_market_event", "on_bar", "on_trade", "on_quote", "on_book", "on_slice")


def _callback_of(session: RecordedSession, files: Sequence[Path], index: int, event: Event) -> str:
    """Which callback asked for `event`, by what caused it."""
    strategy = next(
        type(each.strategy) for each in session.specs if event.source == f"strategy:{each.name}"
    )
    if strategy.generate_orders is not Strategy.generate_orders:
        return "generate_orders"
    cause: Payload | None = None
    for file in files:
        for data in islice(read_records(file), index, index + 1):
            for each in expand(decode_record(data)):
                if each.seq == event.causation_id:
                    cause = each.payload
    if isinstance(cause, TimerFired):
        return "on_timer"
    if isinstance(cause, OrderEvent):
        return "on_order_update"
    if isinstance(cause, CorporateAction):
        return "on_corporate_action"
    if type(cause) in STEP_CALLBACKS:
        return STEP_CALLBACKS[type(cause)]
    if event.causation_id == 0:
        return "on_start"
    own = [name for name in _CALLBACKS if getattr(strategy, name) is not getattr(Strategy, name)]
    return " or ".join(own)
