"""The features that a session ran on: their versions on the tape, their definitions beside it.

`features.json` of a run holds the definition of every feature of its strategies. When the code of
one has changed since, the session is run again with the definition of then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from onetape.domain.errors import OnetapeError, StrategyError
from onetape.features.archive import ArchivedFeature, archive_feature, load_feature
from onetape.features.estimator import Estimator, FeatureMap
from onetape.strategy.sdk import Strategy

FILE = "features.json"

Archive = Mapping[str, Mapping[str, ArchivedFeature]]
"""Definitions by strategy and feature."""


class PinnedFeatures(msgspec.Struct, frozen=True, kw_only=True):
    """What a strategy's features are to be in a re-run.

    `features` is None where they are those of the strategy; `restored` tells which are of the
    archive, `lost` which are other ones than recorded, each a sentence.
    """

    features: FeatureMap | None = None
    restored: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()


def archive_features(strategy: Strategy) -> dict[str, ArchivedFeature]:
    """The definitions of a strategy's features; one that is no rule has none and is left out."""
    try:
        features = strategy.features()
    except Exception:  # noqa: BLE001 - the edge to user code: the session tells of it
        return {}
    return dict(_archive(features))


def _archive(features: FeatureMap) -> Iterator[tuple[str, ArchivedFeature]]:
    for name, feature in features.items():
        try:
            yield name, archive_feature(feature)
        except StrategyError:
            continue


def encode_archive(archive: Archive) -> bytes:
    """The content of `features.json`."""
    return msgspec.json.format(msgspec.json.encode(archive), indent=1)


def read_archive(run_dir: Path | None) -> Archive:
    """What `features.json` of a run says; nothing where it is not there or can't be read."""
    if run_dir is None:
        return {}
    try:
        data = (run_dir / FILE).read_bytes()
        return msgspec.json.decode(data, type=dict[str, dict[str, ArchivedFeature]])
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return {}


def pin_features(
    name: str, strategy: Strategy, recorded: Mapping[str, str], archive: Archive
) -> PinnedFeatures:
    """The features of a strategy in the versions that its tape names.

    Args:
        name: Of the strategy in the session.
        strategy: As it is now.
        recorded: Versions by feature, from the header of the tape.
        archive: From `features.json` beside it.
    """
    if not recorded:
        return PinnedFeatures()
    now = strategy.features()
    pinned: dict[str, Estimator] = dict(now)
    restored: list[str] = []
    lost: list[str] = []
    for feature, version in recorded.items():
        found = _version_of(now.get(feature))
        if found == version:
            continue
        try:
            archived = archive[name][feature]
            pinned[feature] = load_feature(archived)
            if archived.version != version:
                raise KeyError(version)
        except (KeyError, OnetapeError):
            lost.append(
                f"feature {feature} of strategy {name} has version {found or 'none'}, and the "
                f"session ran version {version}"
            )
            continue
        restored.append(f"feature {feature} of strategy {name} in its version {version} of then")
    if lost or not restored:
        return PinnedFeatures(lost=tuple(lost))
    return PinnedFeatures(features=pinned, restored=tuple(restored))


def _version_of(feature: Estimator | None) -> str:
    if feature is None:
        return ""
    try:
        return feature.version
    except StrategyError:
        return ""
