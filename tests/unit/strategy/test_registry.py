from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints
from types import ModuleType

import pytest

from onetape.domain.errors import StrategyError
from onetape.strategy import registry
from onetape.strategy.library.sma_cross import SmaCross
from onetape.strategy.registry import list_strategies, load_strategy, strategy_version
from onetape.strategy.sdk import Strategy
from tests.support.strategies import HEADER, make_source

SHIPPED = {
    "buy_and_hold": "BuyAndHold",
    "mean_reversion": "MeanReversion",
    "momentum_rebalance": "MomentumRebalance",
    "rsi": "RsiReversal",
    "sma_cross": "SmaCross",
}


def write(folder, text, name="mine.py"):
    path = folder / name
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(("name", "class_name"), SHIPPED.items())
def test_shipped_strategy_loads_by_name(name, class_name):
    strategy = load_strategy(name)
    assert strategy.__name__ == class_name
    strategy()


def test_only_the_strategy_asked_for_is_imported():
    code = (
        "import sys; from onetape.strategy.registry import load_strategy; load_strategy('rsi');"
        "print([n for n in sys.modules if n.startswith('onetape.strategy.library.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['onetape.strategy.library.rsi']"


def test_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(StrategyError, match=r"'sma_cros' is not installed .*mean 'sma_cross'"):
        load_strategy("sma_cros")


def test_list_describes_every_shipped_strategy():
    found = {each.name: each for each in list_strategies()}
    assert set(SHIPPED) <= set(found)
    info = found["sma_cross"]
    assert info.version == "1"
    assert (
        info.summary == "Long while the fast average of the close is above the slow one, else flat."
    )
    assert info.source == "onetape.strategy.library.sma_cross:SmaCross"
    fast = info.params["fast"]
    assert (fast.type_name, fast.default, fast.constraint()) == ("int", 10, ">= 2")


def install(monkeypatch, *values):
    points = [EntryPoint("bad", value, registry.GROUP) for value in values]
    monkeypatch.setattr(registry, "entry_points", lambda **kind: EntryPoints(points).select(**kind))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("nowhere:Bad", "can't be imported: ModuleNotFoundError: No module named 'nowhere'"),
        ("onetape.strategy.sdk:Bad", "can't be imported: AttributeError"),
        ("onetape.strategy.sdk:Strategy", "'bad' is no subclass of Strategy"),
        ("onetape.strategy.sdk:param", "'bad' is no subclass of Strategy"),
    ],
)
def test_broken_installed_strategy_is_refused_and_listed_with_the_reason(
    monkeypatch, value, message
):
    install(monkeypatch, value)
    with pytest.raises(StrategyError, match=message):
        load_strategy("bad")
    (info,) = list_strategies()
    assert message.partition(":")[0] in info.summary
    assert (info.name, info.version, info.source) == ("bad", "", value)


def test_name_that_two_packages_offer_is_refused(monkeypatch):
    install(monkeypatch, "a:X", "b:X")
    with pytest.raises(StrategyError, match="installed more than once: a:X, b:X"):
        load_strategy("bad")


def test_file_is_loaded_and_its_class_found(tmp_path):
    path = write(tmp_path, make_source(on_bar="return self.size"))
    strategy = load_strategy("whatever", path)
    assert strategy.__name__ == "Mine"
    assert strategy(size=4).on_bar(None, None) == 4
    assert load_strategy("whatever", path + ":Mine") is strategy


def test_strategy_that_a_file_imports_is_not_one_of_its_own(tmp_path):
    text = HEADER + "from onetape.strategy.library.sma_cross import SmaCross\n"
    path = write(tmp_path, text + "class Mine(SmaCross): pass\n")
    assert load_strategy("mine", path).__name__ == "Mine"
    with pytest.raises(StrategyError, match="the file has no strategy 'SmaCross'"):
        load_strategy("mine", path + ":SmaCross")


def test_module_name_depends_on_file_name_and_content_only(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one = load_strategy("x", write(tmp_path / "a", make_source()))
    same = load_strategy("x", write(tmp_path / "b", make_source()))
    other = load_strategy("x", write(tmp_path / "b", make_source(on_bar="pass")))
    assert one.__module__ == same.__module__ != other.__module__
    assert one.__module__.startswith("onetape_file_mine_")
    assert sys.modules[one.__module__].__file__.endswith("mine.py")


def test_file_that_fails_the_check_is_refused_with_every_finding_and_not_run(tmp_path):
    source = make_source(top="import random\nimport time", on_bar="self.x = 1")
    path = write(tmp_path, source + "raise SystemExit\n")
    with pytest.raises(StrategyError) as caught:
        load_strategy("mine", path)
    text = str(caught.value)
    assert text.startswith(f"{path}: the strategy does not pass the check:\n  line 3: ")
    assert "line 3: import of random" in text
    assert "line 4: import of time" in text
    assert "line 8: self.x is assigned and not declared" in text


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ("", r"the file has 2 strategies: One, Two .name one, like .*mine.py:One\)"),
        (":Tow", r"the file has no strategy 'Tow' .did you mean 'Two'"),
        (":Strategy", r"the file has no strategy 'Strategy'"),
    ],
)
def test_file_with_several_strategies_needs_one_named(tmp_path, selection, message):
    path = write(tmp_path, HEADER + "class One(Strategy): pass\nclass Two(One): pass\n")
    with pytest.raises(StrategyError, match=message):
        load_strategy("mine", path + selection)
    assert load_strategy("mine", path + ":Two").__name__ == "Two"


def test_file_whose_code_raises_is_refused_with_its_line_and_leaves_nothing(tmp_path):
    path = write(tmp_path, make_source() + "LEVEL = 1 / 0\n")
    before = set(sys.modules)
    with pytest.raises(StrategyError, match=r"mine.py:7: .*ZeroDivisionError: division by zero"):
        load_strategy("mine", path)
    assert set(sys.modules) == before


def test_file_with_a_wrong_declaration_is_refused_with_its_own_words(tmp_path):
    path = write(tmp_path, make_source(body="LONG = int\nsize: LONG = state(1)"))
    with pytest.raises(StrategyError, match=r"line 5: a state is one of int, float, bool, str"):
        load_strategy("mine", path)


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(StrategyError, match="the strategy file can't be read: No such file"):
        load_strategy("mine", str(tmp_path / "gone.py:Mine"))


def test_version_is_of_the_text_that_was_loaded_although_the_file_has_changed(tmp_path):
    path = write(tmp_path, make_source())
    strategy = load_strategy("mine", path)
    version = strategy_version(strategy)
    write(tmp_path, "# gone\n")
    with pytest.raises(StrategyError):
        load_strategy("mine", path)
    assert strategy_version(strategy) == version


def test_version_is_the_declared_one_and_a_hash_of_the_source(tmp_path):
    one = strategy_version(load_strategy("x", write(tmp_path, make_source())))
    other = strategy_version(load_strategy("x", write(tmp_path, make_source(on_bar="pass"))))
    assert one.startswith("1+")
    assert len(one) == len("1+") + 12
    assert one != other
    assert strategy_version(SmaCross) == strategy_version(load_strategy("sma_cross"))


def test_version_changes_with_the_source_of_an_inherited_strategy(tmp_path):
    path = write(tmp_path, make_source())
    base = load_strategy("x", path)
    child = type("Child", (base,), {"__module__": SmaCross.__module__})
    assert strategy_version(child) not in (strategy_version(base), strategy_version(SmaCross))


def test_version_of_a_class_without_source_is_the_declared_one(monkeypatch):
    space = {"__name__": "prompt", "Strategy": Strategy}
    exec("class Typed(Strategy):\n    version = '7'\n", space)
    assert strategy_version(space["Typed"]) == "7"
    monkeypatch.setitem(sys.modules, "prompt", ModuleType("prompt"))
    assert strategy_version(space["Typed"]) == "7"
