"""The artifacts of a run: metrics.json and the parquet files, and reading a run back."""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from onetape.domain.errors import DataError
from onetape.domain.events import Event, SessionStarted
from onetape.domain.legs import are_hedged
from onetape.domain.timestamps import from_iso
from onetape.marketdata.side_files import NO_FILES, SideFiles
from onetape.research.run_summary import ReportedTimeline, RunSummary, summarize_run
from onetape.runtime.run_files import write_whole

if TYPE_CHECKING:
    from onetape.marketdata.timeline import Timeline
    from onetape.tape.reader import BlockReader


def write_artifacts(
    run_dir: Path, timeline: ReportedTimeline, events: Iterable[Event], *, digest: str
) -> RunSummary:
    """Measure a run and save what was measured: `summarize_run`, then `save_summary`.

    Args:
        run_dir: The run's directory.
        timeline: Market data of the session.
        events: Its whole tape, in order.
        digest: Digest of the tape, hex.

    Raises:
        DataError: The tape is empty or doesn't fit the timeline.
        InvariantBroken: The books on the tape and the curve disagree.
        TryAgain: A file can't be written.
    """
    summary = summarize_run(timeline, events, digest=digest)
    save_summary(run_dir, summary)
    return summary


def save_summary(run_dir: Path, summary: RunSummary) -> None:
    """Write metrics.json and the frames of `build_frames` as parquet.

    The content depends on the summary alone, byte for byte. Each file appears whole.

    Raises:
        TryAgain: A file can't be written.
    """
    from onetape.research.frames import build_frames

    for name, frame in build_frames(summary).items():
        buffer = BytesIO()
        frame.write_parquet(buffer, compression="zstd", compression_level=1)
        write_whole(run_dir / f"{name}.parquet", buffer.getvalue())
    write_whole(run_dir / "metrics.json", encode_metrics(summary.metrics()))


def encode_metrics(metrics: dict[str, Any]) -> bytes:
    """Canonical JSON: sorted keys, two spaces, exact decimals as numbers, NaN as null."""
    encoder = msgspec.json.Encoder(order="sorted", decimal_format="number")
    return msgspec.json.format(encoder.encode(metrics), indent=2) + b"\n"


def load_run(run_dir: Path, catalog: Path | None = None) -> RunSummary:
    """Measure a run again, from its tape and the very bars that it ran on; complete or not.

    Args:
        run_dir: The run's directory.
        catalog: Where the catalog is now; None: where config.json of the run says.

    Raises:
        DataError: There is no tape, it can't be read or says too little; or the catalog is gone or
            does not hold the bars that the session read.
        TryAgain: The tape is locked.
    """
    from onetape.runtime.sessions.recorded import find_files
    from onetape.tape.opening import open_tape, tape_path

    reader = open_tape(tape_path(run_dir))
    try:
        timeline = load_tape_timeline(reader, catalog or _catalog_of(run_dir), find_files(run_dir))
        return summarize_run(timeline, reader.events(), digest=reader.digest)
    finally:
        reader.close()


def load_tape_timeline(reader: BlockReader, catalog: Path, files: SideFiles = NO_FILES) -> Timeline:
    """The bars that a session ran on: those that its tape pins or, of paper and live, holds.

    Raises:
        DataError: As `load_pinned_timeline`, or the tape holds no bar.
    """
    from onetape.runtime.sessions.live_timeline import read_timeline

    header = reader.header
    if header.mode == "backtest":
        return load_pinned_timeline(header, catalog, files)
    return read_timeline(header, reader.encoded_records)


def load_pinned_timeline(
    header: SessionStarted,
    catalog: Path,
    files: SideFiles = NO_FILES,
) -> Timeline:
    """The bars that a session ran on, at the versions that its tape pins, with its `files`.

    Raises:
        DataError: The tape pins nothing, the catalog is not there, or it holds other bars; or the
            one of the files holds other rows.
    """
    from onetape.marketdata.catalog import Catalog
    from onetape.marketdata.loading import load_market_data
    from onetape.marketdata.membership import MEMBERSHIP
    from onetape.marketdata.side_files import PINNED_FILES, pinned_versions
    from onetape.marketdata.timeline import Reading

    others = (*PINNED_FILES, MEMBERSHIP)  # nothing is measured of a universe
    pins = [each for each in header.datasets if each.timeframe not in others]
    action_pins = [each for each in header.datasets if each.timeframe in PINNED_FILES]
    config = msgspec.json.decode(header.config)
    clock = config.get("clock", {})
    if not pins or not {"start", "end"} <= clock.keys():
        raise DataError(
            f"the tape of session {header.session} pins no market data",
            remedy="only a session on bars of a catalog can be measured again",
        )
    timeline = load_market_data(
        Catalog(catalog),
        [pin.instrument for pin in pins],
        pins[0].timeframe,
        from_iso(clock["start"], "clock.start", error=DataError),
        from_iso(clock["end"], "clock.end", error=DataError),
        {pin.instrument: pin.table_version for pin in pins} | pinned_versions(action_pins, files),
        files,
        Reading(
            knowledge=config.get("data", {}).get("knowledge", "now"),
            slice_grace_ms=config.get("data", {}).get("slice_grace_ms"),
        ),
    )
    for pin, found in zip(pins, timeline.datasets, strict=True):
        if pin.content_hash != found.content_hash:
            raise DataError(
                f"{pin.instrument} {pin.timeframe} version {pin.table_version} holds other bars "
                f"than the session read: {found.content_hash[:12]}, not {pin.content_hash[:12]}",
                where=str(catalog),
                remedy="point to the catalog of the run",
            )
    if list(timeline.action_pins) != action_pins:
        raise DataError(
            "these are not the corporate actions, funding rates, figures or halts that the session "
            "read",
            where=", ".join(map(str, filter(None, files)))
            or "config.json of the run names no file of them",
            remedy="bring back the file of the run",
        )
    if are_hedged(header.instruments):
        timeline = timeline.with_legs()
    if config.get("execution", {}).get("marks") == "closing_side":
        timeline = timeline.at_closing_side()
    return timeline


def _catalog_of(run_dir: Path) -> Path:
    path = run_dir / "config.json"
    try:
        return Path(msgspec.json.decode(path.read_bytes())["data"]["path"])
    except (OSError, msgspec.DecodeError, KeyError, TypeError) as error:
        raise DataError(
            f"it does not say where the catalog is: {error}",
            where=str(path),
            remedy="name the catalog with --catalog",
        ) from error
