from __future__ import annotations

import linecache
from pathlib import Path

import msgspec
import pytest

from onetape.domain.errors import DataError
from onetape.features import Ema, Estimator, Hurst, Rsi, Sma, Timeframed, compute_feature_columns
from onetape.features.archive import ArchivedFeature, archive_feature, load_feature
from onetape.features.columns import select_inputs
from onetape.features.compiled import compute_column_compiled
from onetape.features.store.feature_file import load_features
from onetape.research.feature_kit import make_walk
from tests.property.test_feature_library import LIBRARY, make_bars

MORE: dict[str, Estimator] = {
    "timeframed": Sma(3) - Timeframed(Sma(2) - Ema(3), "15m"),
    "chain": 2 * Ema(9).of(Rsi(14)) - 1,
    "columns": Sma(4, inputs=("volume",)),
}

FILE = """\
from onetape.domain.rules import rule
from onetape.features import Estimator, FeatureRegistry, State

SCALE = {scale}

class DoubledState(State):
    last: float = 0.0

@rule
def scale(value: float) -> float:
    return value * SCALE

@rule
def update_doubled(state: DoubledState, close: float) -> float:
    state.last = scale(close)
    return state.last

class Doubled(Estimator, frozen=True):
    update = staticmethod(update_doubled)

    @property
    def warm_up(self) -> int:
        return 1

    def start_state(self) -> DoubledState:
        return DoubledState()

FEATURES = FeatureRegistry()
FEATURES.add("doubled", Doubled())
"""


def through_json(feature: Estimator) -> Estimator:
    data = msgspec.json.encode(archive_feature(feature))
    return load_feature(msgspec.json.decode(data, type=ArchivedFeature))


@pytest.mark.parametrize("feature", [*LIBRARY.values(), *MORE.values()], ids=repr)
def test_archived_feature_is_the_same_feature(feature: Estimator) -> None:
    again = through_json(feature)
    assert (again.version, again.warm_up, again.inputs) == (
        feature.version, feature.warm_up, feature.inputs,
    )  # fmt: skip
    columns = {**make_bars(120, 3), **make_walk(120)}
    one, other = compute_feature_columns({"one": feature, "other": again}, columns).values()
    assert one.tobytes() == other.tobytes()


def test_archived_feature_compiles_and_goes_on_from_a_snapshot() -> None:
    feature, columns = Hurst(10), make_walk(120)
    again = through_json(feature)
    inputs = select_inputs("hurst", again, columns)
    expected = compute_feature_columns({"hurst": feature}, columns)["hurst"]
    assert compute_column_compiled(again, inputs).tobytes() == expected.tobytes()
    live, resumed = feature.start(), again.start()
    for value in columns["close"][:60].tolist():
        live.update(value)
    resumed.restore(live.snapshot())
    assert [resumed.update(v) for v in columns["close"][60:].tolist()] == expected[60:].tolist()


def test_old_definition_is_computable_when_its_code_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    features: list[Estimator] = []
    data: list[bytes] = []
    for scale in ("2.0", "3.0"):
        path.write_text(FILE.format(scale=scale), encoding="utf-8")
        linecache.checkcache()
        registry = load_features(path)
        assert registry is not None
        features.append(registry.resolve("doubled"))
        data.append(msgspec.json.encode(archive_feature(features[-1])))
    old = load_feature(msgspec.json.decode(data[0], type=ArchivedFeature))
    new = features[1]
    assert old.version != new.version
    both = compute_feature_columns({"old": old, "new": new}, make_walk(10))
    assert (both["old"] * 1.5 == both["new"]).all()
    assert both["old"][0] == 2.0 * make_walk(10)["close"][0]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("/ state.window", "* state.window"),  # another formula under the old version
        ("@rule", "@rule\nimport os"),
        ("return", "__import__('os').getcwd()\n    return"),
        ("return", "state.__class__\n    return"),
    ],
)
def test_changed_archive_is_refused(before: str, after: str) -> None:
    archived = archive_feature(Sma(5))
    rules = list(archived.rules)
    assert before in rules[0].source
    rules[0] = msgspec.structs.replace(rules[0], source=rules[0].source.replace(before, after, 1))
    with pytest.raises(DataError):
        load_feature(msgspec.structs.replace(archived, rules=rules))
