"""`onetape replay` with other code or configuration: numbers by hand, and shipped strategies.

By hand: TOY.SIM opens where it closed the day before and closes at

    day      1    2    3    4    5    6    7    8    9    10
    close  100  101  103  102  105  104  108  107  110  111

The strategy rests a buy of 1 at 50 on day 1, buys 10 on day 2 (filled at the open of day 3, 101),
cancels the first on day 3, tells a signal on day 4 and sells on day 6 (filled at the open of day 7,
104). A share costs 0.01, an order 1.00 at the least. So 10 * (104 - 101) - 2 * 1.00 = 28.00.
"""

from __future__ import annotations

import contextlib
import json
import re
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from onetape.control.cli import app
from onetape.runtime.replay.session import Replay
from onetape.runtime.replay.walk import Walk
from tests.support.cli_data import import_wave
from tests.support.replayed_runs import import_bars, make_config, run, write_run

CLOSES = (100, 101, 103, 102, 105, 104, 108, 107, 110, 111)
TOY = '''
from onetape.domain.market import Bar
from onetape.features.average import Sma
from onetape.features.estimator import FeatureMap
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, param, state


class Toy(Strategy):
    """Buys and sells on given days."""

    size: float = param(10.0, gt=0)
    sell_day: int = param(6, ge=3)
    scale: float = param(1.0)
    day: int = state(0)
    resting: str = state("")

    def features(self) -> FeatureMap:
        return {"mean": Sma(2)}

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        self.day += 1
        held = ctx.position(bar.instrument)
        if self.day == 1:
            self.resting = ctx.buy(bar.instrument, 1, limit=50)
        elif self.day == 2:
            ctx.buy(bar.instrument, self.size)
        elif self.day == 3:
            ctx.cancel(self.resting)
        elif self.day == 4:
            ctx.signal("close", bar.close * self.scale)
        if self.day == self.sell_day and held > 0:
            ctx.sell(bar.instrument, held)
'''
NS_PER_DAY = 86_400_000_000_000
FIRST = 1_704_067_200_000_000_000  # 2024-01-01T00:00:00Z; bar N closes N days later


def day_end(day: int) -> int:
    return FIRST + day * NS_PER_DAY


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    with contextlib.chdir(folder):
        rows = ["Date,Open,High,Low,Close,Volume"]
        before = CLOSES[0]
        for at, close in enumerate(CLOSES):
            high, low = max(before, close) + 1, min(before, close) - 1
            when = date(2024, 1, 1) + timedelta(days=at)
            rows.append(f"{when},{before},{high},{low},{close},1000000")
            before = close
        import_bars("TOY.SIM", rows)
        Path("toy.py").write_text(TOY)
        run(
            make_config(
                data={"instruments": ["TOY.SIM"], "timeframe": "1d", "path": "data/catalog"},
                execution={"fees": {"model": "per_share", "rate": 0.01, "minimum": 1}},
                risk={},
                strategies=[{"name": "toy", "path": "toy.py", "capital": 10_000}],
            )
        )
    return folder


@pytest.fixture
def toy(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made)


def replay(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["replay", "run", *map(str, arguments)])


def compare(*arguments: object) -> dict[str, Any]:
    result = replay(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def counts(side: dict[str, Any]) -> tuple[int, ...]:
    return tuple(side[name] for name in ("decisions", "orders", "fills", "denials"))


@pytest.mark.usefixtures("toy")
def test_books_at_a_place_are_those_by_hand() -> None:
    """After day 5: 10,000 - 1,010 - 1 = 8,989 of cash, 10 at 105 are worth 1,050."""
    found = compare("--until", "2024-01-06")
    (books,) = found["books"]
    (position,) = found["positions"]
    assert (books["cash"], books["equity"], books["fees"]) == ("8989", "10039", "1")
    assert (position["quantity"], position["cost"], position["unrealized_pnl"]) == (
        "10", "1010", "40",
    )  # fmt: skip
    assert found["features"]["toy"]["TOY.SIM"] == {"mean": (102 + 105) / 2}
    assert found["state"]["toy"]["day"] == 5
    assert found["orders"] == []
    assert found["decision"]["type"] == "signal"


@pytest.mark.usefixtures("toy")
def test_same_configuration_differs_in_nothing() -> None:
    found = compare("--set", "seed=0")
    assert found["what"].startswith("no decision differs, and no event: 5 decisions up to ")
    assert (found["parting"], found["decisions_differ"], found["events_differ"]) == (
        None,
        False,
        False,
    )
    assert counts(found["tape"]) == counts(found["other"]) == (5, 3, 2, 0)
    assert found["tape"]["account"]["pnl"] == "28"
    assert found["tape"]["account"]["equity"] == "10028"
    # The highest equity is 10,039 after day 5, the lowest after it 10,028: sold at 104, less 1.
    assert found["tape"]["account"]["max_drawdown"] == pytest.approx(10_028 / 10_039 - 1, abs=1e-12)


@pytest.mark.usefixtures("toy")
def test_other_size_parts_on_day_2_and_earns_by_hand() -> None:
    """300 * (104 - 101) = 900, less 3.00 for each of two fills: 894, which is 866 more."""
    found = compare("--set", "strategies.0.params.size=300", "--set", "strategies.0.capital=40000")
    parting = found["parting"]
    assert found["what"] == "the decisions of toy part at 2024-01-03T00:00:00Z"
    assert (parting["ts"], parting["strategy"]) == (day_end(2), "toy")
    assert parting["tape"]["payload"]["amount"] == 10
    assert parting["other"]["payload"]["amount"] == 300
    for chain in (parting["tape_chain"], parting["other_chain"]):
        assert [each["kind"] for each in chain] == [
            "market", "features", "intent.order", "risk.approved", "order.submitted",
            "order.accepted",
        ]  # fmt: skip
        assert chain[1]["text"] == f"toy knows mean {(100 + 101) / 2}"
    assert counts(found["other"]) == (5, 3, 2, 0)
    assert found["other"]["strategies"]["toy"]["pnl"] == "894"
    assert found["pnl_difference"] == "866"
    assert found["pnl_difference_by_strategy"] == {"toy": "866"}


@pytest.mark.usefixtures("toy")
def test_other_day_parts_where_only_one_side_decides() -> None:
    """Sold on day 8, filled at 107: 10 * 6 - 2 = 58."""
    found = compare("--set", "strategies.0.params.sell_day=8")
    parting = found["parting"]
    assert parting["ts"] == day_end(6)
    assert parting["tape"]["payload"]["side"] == "SELL"
    assert parting["other"] is None
    told = [each["text"] for each in parting["other_chain"]]
    assert told[0] == "toy knows mean 104.5"  # (105 + 104) / 2
    assert told[1] == "nothing here; the next is"
    assert "toy asks: SELL 10 TOY.SIM market" in told[2]
    assert parting["other_chain"][2]["ts"] == day_end(8)
    assert found["pnl_difference"] == "30"
    text = replay("--set", "strategies.0.params.sell_day=8").stdout
    assert "\ntape, event " in text
    assert "\nother: nothing at that time\n" in text
    assert re.search(r"PnL of toy, USD +28\.00 +58\.00 +\+30\.00", text)


@pytest.mark.usefixtures("toy")
def test_other_fees_part_no_decision_but_the_fill() -> None:
    """0.20 a share: 2.00 for each of two fills, so 26; the first is on day 3."""
    found = compare("--set", "execution.fees.rate=0.20")
    parting = found["parting"]
    assert found["what"].startswith("no decision differs (5), but what became of them does, from ")
    assert (found["decisions_differ"], found["events_differ"]) == (False, True)
    assert (parting["ts"], parting["tape"]["type"]) == (day_end(3), "order.filled")
    assert (parting["tape"]["payload"]["fee"], parting["other"]["payload"]["fee"]) == (
        100_000_000, 200_000_000,
    )  # fmt: skip
    assert found["pnl_difference"] == "-2"


@pytest.mark.usefixtures("toy")
def test_denied_order_parts_where_it_was_to_be_sold() -> None:
    found = compare("--set", "risk.max_order_quantity=5")
    assert found["parting"]["ts"] == day_end(6)
    assert counts(found["tape"]) == (5, 3, 2, 0)
    assert counts(found["other"]) == (4, 1, 0, 1)
    assert found["parting"]["other_chain"][-1]["text"] == "nothing any more"
    assert found["other"]["account"] == {"equity": "10000", "pnl": "0", "max_drawdown": 0.0}
    assert found["pnl_difference"] == "-28"


@pytest.mark.usefixtures("toy")
def test_signals_are_decisions_too() -> None:
    found = compare("--set", "strategies.0.params.scale=2")
    assert found["parting"]["ts"] == day_end(4)
    values = [found["parting"][side]["payload"]["value"] for side in ("tape", "other")]
    assert values == [102.0, 204.0]
    assert found["pnl_difference"] == "0"


@pytest.mark.usefixtures("toy")
def test_part_of_a_session_is_compared_up_to_a_place() -> None:
    """After day 5 both hold 10 at 105; the sale of day 6 has not come."""
    found = compare("--set", "strategies.0.params.sell_day=8", "--until", "2024-01-06")
    assert found["parting"] is None
    assert found["time_end"] == "2024-01-06T00:00:00Z"
    assert found["tape"]["account"] == found["other"]["account"]
    assert found["tape"]["account"]["pnl"] == "39"
    assert counts(found["tape"]) == (4, 2, 1, 0)
    # What happens at the very time of the place is a part of it: the sale that is decided then.
    found = compare("--set", "strategies.0.params.sell_day=8", "--until", "2024-01-07")
    assert found["parting"]["ts"] == day_end(6)
    assert (counts(found["tape"]), counts(found["other"])) == ((5, 3, 1, 0), (4, 2, 1, 0))


def write_other(tmp_path: Path, *changes: tuple[str, str]) -> Path:
    text = TOY
    for old, new in changes:
        assert text.count(old) == 1
        text = text.replace(old, new)
    path = tmp_path / "other.py"
    path.write_text(text)
    return path


@pytest.mark.usefixtures("toy")
def test_other_code_is_compared_by_what_it_decides(tmp_path: Path) -> None:
    other = write_other(tmp_path, ("elif self.day == 2:", "elif self.day == 3:"))
    found = compare("--strategy", other)
    assert found["parting"]["ts"] == day_end(2)
    assert found["parting"]["other"] is None
    # Bought on day 3, filled at the open of day 4: 10 * (104 - 103) - 2 = 8.
    assert found["pnl_difference"] == "-20"


@pytest.mark.usefixtures("toy")
def test_other_code_that_only_counts_otherwise_decides_the_same(tmp_path: Path) -> None:
    """A target that is held already comes to nothing but takes a number, and moves all ids."""
    counted = "        self.day += 1\n"
    target = "        ctx.target(bar.instrument, ctx.position(bar.instrument))\n"
    other = write_other(tmp_path, (counted, counted + target))
    found = compare("--strategy", f"{other}:Toy")
    assert found["what"].startswith("no decision differs, and no event")


def test_other_code_may_have_another_version(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recorded configuration asks for version 1 of what is replaced."""
    monkeypatch.chdir(made)
    config = json.loads(Path("run/config.json").read_text())
    config["strategies"][0]["version"] = "1"
    run(config, "versioned")
    newer = ("    size: float", '    version = "2"\n    size: float')
    other = write_other(
        tmp_path, newer, ("ctx.sell(bar.instrument, held)", "ctx.sell(bar.instrument, 1)")
    )
    result = CliRunner().invoke(app, ["replay", "versioned", "--strategy", str(other), "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["parting"]["ts"] == day_end(6)


@pytest.mark.usefixtures("toy")
def test_other_code_that_raises_is_told(tmp_path: Path) -> None:
    other = write_other(tmp_path, ("ctx.cancel(self.resting)", "raise ValueError('day 3')"))
    found = compare("--strategy", other)
    assert found["parting"]["ts"] == day_end(3)
    assert found["other"]["quarantined"][0]["error"] == "ValueError: day 3"
    text = replay("--strategy", other).stdout
    assert "the other run: toy raised in on_bar: ValueError: day 3" in text


@pytest.mark.usefixtures("toy")
def test_other_code_that_refuses_the_params_is_one_line(tmp_path: Path) -> None:
    other = write_other(tmp_path, ("param(10.0, gt=0)", "param(10.0, gt=100)"))
    result = replay("--strategy", other)
    assert (result.exit_code, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.usefixtures("toy")
def test_page_has_both_curves_and_the_parting_and_is_the_same_twice(tmp_path: Path) -> None:
    pages = [tmp_path / name for name in ("a.html", "b.html")]
    for page in pages:
        result = replay("--set", "strategies.0.params.sell_day=8", "--html", page)
        assert result.exit_code == 0, result.output
        assert result.stdout.endswith(f"Picture: {page}\n")
    text = pages[0].read_text()
    assert text == pages[1].read_text()
    data = re.search(r'id="figures">(.*?)</script>', text)
    assert data is not None
    figure = json.loads(data[1])["equity"]
    tape, other = figure["data"]
    assert (tape["name"], other["name"]) == ("tape", "other")
    assert tape["x"] == [day_end(day) // 10**6 for day in range(1, 11)]
    #  By hand: cash 8,989 and 10 at the close until sold at 104 or at 107.
    assert tape["y"] == [10_000, 10_000, 10_019, 10_009, 10_039, 10_029, *[10_028] * 4]
    assert other["y"] == [
        10_000,
        10_000,
        10_019,
        10_009,
        10_039,
        10_029,
        10_069,
        10_059,
        10_058,
        10_058,
    ]
    assert figure["layout"]["shapes"][0]["x0"] == day_end(6) // 10**6
    assert "<script src=" not in text
    assert "the decisions of toy part at 2024-01-07T00:00:00Z" in text
    again = replay("--set", "seed=0", "--html", pages[0])
    assert (again.exit_code, pages[0].read_text()) == (2, text)


# Two strategies: one is replaced, the other has to stay as it is.


def test_one_of_two_strategies_is_replaced_and_the_other_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(60)
    text = Path("swing.py").read_text()
    Path("larger.py").write_text(text.replace("param(10.0, gt=0)", "param(20.0, gt=0)"))
    found = compare("--strategy", "larger.py", "--replace", "swing")
    assert found["parting"]["strategy"] == "swing"
    differences = {
        name: float(value) for name, value in found["pnl_difference_by_strategy"].items()
    }
    assert differences["busy"] == 0
    assert differences["swing"] != 0
    assert float(found["pnl_difference"]) == pytest.approx(differences["swing"], abs=1e-9)
    assert found["tape"]["strategies"]["busy"] == found["other"]["strategies"]["busy"]
    off = compare("--set", "strategies.1.enabled=false")
    assert off["other"]["strategies"].keys() == {"busy"}
    assert off["parting"]["strategy"] == "swing"
    assert off["parting"]["other_chain"][-1]["text"] == "nothing any more"


def test_incomplete_tape_is_compared_as_far_as_its_last_whole_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sqlite3

    monkeypatch.chdir(tmp_path)
    write_run(60)
    with closing(sqlite3.connect("run/tape.db")) as file:
        file.execute("DELETE FROM block WHERE number = (SELECT max(number) FROM block)")
        file.commit()
    found = compare("--set", "seed=0")
    assert found["parting"] is None
    assert found["tape"] == found["other"]


# A shipped strategy, and the time that a replay takes.


def test_shipped_strategy_is_replayed_and_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    import_wave(200)
    done = CliRunner().invoke(app, ["backtest", "run.yaml", "--quiet"])
    assert done.exit_code == 0, done.stderr
    Path(done.stdout.strip()).rename("run")
    metrics = json.loads(Path("run/metrics.json").read_text())
    found = compare()
    assert float(found["books"][0]["equity"]) == float(metrics["account"]["equity"])
    slower = compare("--set", "strategies.0.params.slow=20")
    assert slower["decisions_differ"]
    parting = slower["parting"]
    closes = [float(row.split(",")[4]) for row in Path("wave.csv").read_text().split()[1:]]
    row = next(each["row"] for each in (*parting["tape_chain"], *parting["other_chain"])
               if each["kind"] == "market")  # fmt: skip
    for side, length in (("tape", 8), ("other", 20)):
        told = next(each["text"] for each in parting[f"{side}_chain"] if each["kind"] == "features")
        known = [float(each) for each in re.findall(r"(?:fast|slow) ([\d.]+|nan)", told)]
        assert known[0] == pytest.approx(sum(closes[row - 2 : row + 1]) / 3)
        slow = sum(closes[row - length + 1 : row + 1]) / length if row >= length - 1 else None
        assert known[1] == pytest.approx(slow) if slow else known[1] != known[1]
    assert slower["tape"]["account"]["equity"] == found["books"][0]["equity"]


def test_place_near_a_snapshot_needs_no_more_than_the_way_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 600 days only what follows the snapshot before the place runs again."""
    monkeypatch.chdir(tmp_path)
    write_run(600, clock={"type": "historical", "start": "2024-01-01", "end": "2026-01-01"})
    heard: list[int] = []
    with closing(Replay(Path("run/tape.db"))) as replayed:
        goal = replayed.places.find("2025-06-01")
        replayed.begin(goal)
        rows = replayed.row
        walk = Walk(replayed)
        walk.on_progress = lambda now: heard.append(now.rows_done)
        assert walk.until(goal)
        assert replayed.rows_skipped == rows > 700
        assert walk.standing.row - rows < 60
    assert heard == [] or min(heard) > rows
