"""What-if: a finished run once more, and each of its orders asked under other limits too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import msgspec
from pydantic import ValidationError

from onetape.domain.errors import ConfigError, DataError
from onetape.runtime.config import RiskConfig
from onetape.runtime.config_document import read_document
from onetape.runtime.config_limits import tell_idle
from onetape.runtime.config_values import RefusedError
from onetape.runtime.risk_audit import AuditedOrder
from onetape.runtime.sessions.backtest import OnProgress
from onetape.runtime.sessions.recorded import (
    find_catalog,
    load_recorded,
    read_controls,
)
from onetape.runtime.verification import ComparedTape, Ended, Parted
from onetape.tape.opening import open_tape

CAVEAT = (
    "Books, open orders and prices are those of the run, order by order: what these limits deny "
    "has still filled there. A strategy would have decided otherwise from the first such order "
    "on, and this can't tell how. Breakers, and orders that their instrument refused, are as in "
    "the run."
)
"""What a reader must know before using the numbers."""


class RiskReplay(msgspec.Struct, frozen=True, kw_only=True):
    """What came out: every order that came to the gates, under both limits.

    `changes` are inputs of the run that are not what they were, one sentence each, and `idle` what
    the limits name and the run does not have.
    """

    session: str
    orders: tuple[AuditedOrder, ...]
    changes: tuple[str, ...]
    idle: tuple[str, ...] = ()

    @property
    def differing(self) -> tuple[AuditedOrder, ...]:
        """Those to which the other limits say something else."""
        return tuple(each for each in self.orders if each.differs)

    def count(self, *, run: bool) -> dict[str, int]:
        """How many passed, were shrunk and were denied."""
        counts = Counter((each.run if run else each.other).verdict for each in self.orders)
        return {verdict: counts[verdict] for verdict in ("passed", "shrunk", "denied")}

    def count_gates(self) -> dict[tuple[str, str], int]:
        """How many orders each gate of the other limits shrank or denied, most first."""
        counts = Counter(
            (each.other.verdict, each.other.gate)
            for each in self.orders
            if each.other.verdict != "passed"
        )
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def read_limits(path: Path, environ: Mapping[str, str]) -> RiskConfig:
    """The limits of a file: a `risk` section, alone or in a configuration.

    Raises:
        ConfigError: The file can't be read, or a limit in it is none.
    """
    values = read_document(path, environ).values
    section = values.get("risk", {} if "strategies" in values else values)
    try:
        return RiskConfig.model_validate(section)
    except ValidationError as error:
        first = error.errors()[0]
        cause = first.get("ctx", {}).get("error")
        at, what, remedy = (), first["msg"], "see docs/configuration.md"
        if isinstance(cause, RefusedError):
            at, what, remedy = cause.at, cause.what, cause.remedy
        place = ".".join(map(str, ("risk", *first["loc"], *at)))
        raise ConfigError(f"{place} {what}", where=str(path), remedy=remedy) from error


def replay_risk(
    tape: Path,
    limits: RiskConfig,
    catalog: Path | None = None,
    on_progress: OnProgress | None = None,
) -> RiskReplay:
    """Run the session of a tape again, and ask `limits` about each order beside its own.

    With the run's own limits every order comes out as in the run.

    Raises:
        DataError: There is no tape, its inputs are gone, or what runs now is not what is on it.
        ConfigError: `limits` has breakers, and others than the run.
    """
    reader = open_tape(tape)
    try:
        session, changes = load_recorded(
            reader.header,
            catalog or find_catalog(tape.parent),
            tape.parent,
        )
        if session is None:
            raise DataError(f"can't run it again: {changes[0].what}", where=str(tape))
        if limits.breakers and limits.breakers != session.config.risk.breakers:
            raise ConfigError(
                "these breakers are not the run's, and what other ones would have stopped can't be "
                "told without running it",
                where="risk.breakers",
                remedy="leave them out, or run the session with them",
            )
        audit = reader.audit()
        compared = ComparedTape(reader.encoded_records(), is_whole=audit.complete)
        running = session.open(compared, limits.limits())
        try:
            with session.watching():
                running.run(on_progress, controls=read_controls(reader.encoded_records()))
            compared.check_end()
        except Ended:
            pass  # the tape of a run that was killed: what it holds is answered
        except Parted as parted:
            raise DataError(
                f"what runs now departs from the tape at its record {parted.args[0]}",
                where=str(tape),
                remedy="`onetape verify` tells what has changed",
            ) from None
        found = running.audit.orders if running.audit is not None else []
        return RiskReplay(
            session=reader.header.session,
            orders=tuple(found),
            changes=tuple(each.what for each in changes),
            idle=tuple(tell_idle(limits, session.config.data.instruments)),
        )
    finally:
        reader.close()
