"""The same configuration gives the same bytes, whatever machine and process it runs in.

Each row of the matrix runs the command in a process of its own and compares everything that it
leaves with a run inside of this process: the session's digest, every record, every artifact.

Not here: the date on the wall, where no `faketime` is on the PATH (to patch the clock of a child
would only show that the patch works); other interpreters, where none can import what onetape
needs. Both are reported as skipped. `ONETAPE_PYTHONS` names interpreters, separated as in PATH.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from onetape.control.cli import app
from onetape.tape.reader import SqliteTapeReader
from tests.support.cli_data import import_wave
from tests.support.killed_runs import write_run

START = "import sys; sys.argv[0] = 'onetape'; from onetape.control.cli import main; main()"
ARTIFACTS = (
    "config.json", "equity.parquet", "executions.parquet", "exposures.parquet", "features.json",
    "fills.parquet", "metrics.json", "orders.parquet", "report.html", "report.md",
    "round_trips.parquet", "tape.db",
)  # fmt: skip
MAY_DIFFER = {"performance.js", "performance.json", "versions.json"}
"""What else lies in a run's directory: what it was made with, and how long it took."""

SOURCES = Path(__file__).parents[2] / "src"

# fmt: off
MATRIX: list[tuple[str, Mapping[str, str], Sequence[str]]] = [
    # what                      environment                                    command before
    ("hash seed 1",             {"PYTHONHASHSEED": "1"},                       ()),
    ("hash seed 4711",          {"PYTHONHASHSEED": "4711"},                    ()),
    ("time zone Tokyo",         {"TZ": "Asia/Tokyo"},                          ()),
    ("time zone St. John's",    {"TZ": "America/St_Johns"},                    ()),
    ("no time zone",            {"TZ": ""},                                    ()),
    ("locale C",                {"LC_ALL": "C", "PYTHONUTF8": "0",
                                 "PYTHONCOERCECLOCALE": "0"},                  ()),
    ("locale C.utf8",           {"LC_ALL": "C.utf8"},                          ()),
    ("locale de_DE.utf8",       {"LC_ALL": "de_DE.utf8"},                      ()),
    ("locale tr_TR.utf8",       {"LC_ALL": "tr_TR.utf8"},                      ()),
    ("one core",                {},                                            ("taskset", "1")),
    ("one thread of polars",    {"POLARS_MAX_THREADS": "1"},                   ()),
    ("many threads of polars",  {"POLARS_MAX_THREADS": "16"},                  ()),
    ("host at low priority",    {},                                     ("nice", "-n", "19")),
    ("optimized Python",        {"PYTHONOPTIMIZE": "2"},                       ()),
    ("debugging allocator",     {"PYTHONMALLOC": "debug"},                     ()),
    ("date in 2011",            {},                     ("faketime", "2011-03-13 01:59:59")),
    ("date in 2038",            {},                     ("faketime", "2038-01-19 03:14:08")),
    ("all of it",               {"PYTHONHASHSEED": "9", "TZ": "Pacific/Chatham", "LC_ALL": "POSIX",
                                 "POLARS_MAX_THREADS": "3"},   ("nice", "-n", "9", "taskset", "1")),
]
# fmt: on


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog, orders of every kind and a busy strategy; its run in this process is `here`."""
    folder = tmp_path_factory.mktemp("matrix")
    with contextlib.chdir(folder):
        write_run(folder, days=250)
        result = CliRunner().invoke(app, ["backtest", "busy.json", "--quiet"])
        assert result.exit_code == 0, result.stderr
        Path(result.stdout.strip()).rename("here")
    return folder


def command(python: str, environment: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """What runs the backtest in a process, and its environment."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in {"PYTHONHASHSEED", "TZ", "LANG"} and not name.startswith("LC_")
    }
    return [python, "-c", START, "backtest", "busy.json", "--quiet"], {**inherited, **environment}


def run_of(process: subprocess.Popen[str], folder: Path) -> Path:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return folder / out.strip()


def start(
    folder: Path, environment: Mapping[str, str], before: Sequence[str] = (), python: str = ""
) -> subprocess.Popen[str]:
    arguments, whole = command(python or sys.executable, environment)
    return subprocess.Popen(
        [*before, *arguments], cwd=folder, env=whole, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def digest_of(run: Path) -> str:
    return str(json.loads((run / "metrics.json").read_bytes())["tape_digest"])


def assert_same(run: Path, here: Path) -> None:
    assert run != here
    assert digest_of(run) == digest_of(here)
    names = {each.name for each in run.iterdir()} - MAY_DIFFER
    assert names == set(ARTIFACTS)
    for name in ARTIFACTS:
        assert (run / name).read_bytes() == (here / name).read_bytes(), name


@pytest.mark.parametrize(
    ("environment", "before"), [row[1:] for row in MATRIX], ids=[row[0] for row in MATRIX]
)
def test_backtest_leaves_the_same_bytes_in(
    folder: Path, environment: Mapping[str, str], before: Sequence[str]
) -> None:
    for tool in before:
        if tool in {"faketime", "nice", "taskset"} and shutil.which(tool) is None:
            pytest.skip(f"{tool} is not on the PATH")
    wanted = environment.get("LC_ALL", "C")
    if wanted not in {"C", "POSIX"} and wanted not in list_locales():
        pytest.skip(f"this machine has no locale {wanted}")
    assert_same(run_of(start(folder, environment, before), folder), folder / "here")


def list_locales() -> list[str]:
    if shutil.which("locale") is None:
        return []
    return subprocess.run(
        ["locale", "-a"], capture_output=True, text=True, check=False
    ).stdout.split()


def test_backtest_leaves_the_same_bytes_on_a_host_that_stalls(folder: Path) -> None:
    """The process is stopped and let go again all the time, so it takes several times as long."""
    process = start(folder, {})
    stalls = 0
    while process.poll() is None:
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.03)
        process.send_signal(signal.SIGCONT)
        time.sleep(0.02)
        stalls += 1
    assert stalls > 5
    assert_same(run_of(process, folder), folder / "here")


def test_backtest_leaves_the_same_bytes_in_another_place(folder: Path, tmp_path: Path) -> None:
    """Of the catalog, the strategy and the run."""
    elsewhere = tmp_path / "Käse und Brot"
    shutil.copytree(folder, elsewhere, ignore=shutil.ignore_patterns("here", "runs"))
    assert_same(run_of(start(elsewhere, {}), elsewhere), folder / "here")


def test_backtest_of_a_shipped_strategy_leaves_the_same_bytes(tmp_path: Path) -> None:
    with contextlib.chdir(tmp_path):
        import_wave()
        for number, seed in enumerate(("1", "4711")):
            done = subprocess.run(
                [sys.executable, "-c", START, "backtest", "run.yaml", "--quiet",
                 "--set", "execution.latency.mean_ms=20", "--set", "execution.latency.std_ms=7"],
                env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True,
                check=True,
            )  # fmt: skip
            Path(done.stdout.strip()).rename(f"run{number}")
        assert_same(Path("run1"), Path("run0"))


# Other interpreters.

VERSIONS = ("3.11", "3.12", "3.13")


def list_interpreters() -> list[str]:
    """This one, the named ones, and those on the PATH, each once."""
    named = [each for each in os.environ.get("ONETAPE_PYTHONS", "").split(os.pathsep) if each]
    found = [shutil.which(f"python{version}") for version in VERSIONS]
    return list(dict.fromkeys([sys.executable, *named, *(each for each in found if each)]))


@pytest.mark.parametrize("python", list_interpreters())
def test_backtest_of_another_python_makes_the_same_session(folder: Path, python: str) -> None:
    """The file of the tape names its SQLite, and Parquet its writer, so contents are compared."""
    importing = "import onetape.control.commands.backtest, numba, polars, deltalake, plotly, yaml"
    environment = {"PYTHONPATH": os.pathsep.join([str(SOURCES), os.environ.get("PYTHONPATH", "")])}
    probe = subprocess.run(
        [python, "-c", importing], capture_output=True, text=True, check=False,
        env={**os.environ, **environment},
    )  # fmt: skip
    if probe.returncode:
        lines = probe.stderr.strip().splitlines() or ["it fails without a word"]
        pytest.skip(f"{python}: {next((each for each in lines if 'Error' in each), lines[0])}")
    run, here = run_of(start(folder, environment, python=python), folder), folder / "here"
    for name in ("config.json", "metrics.json", "report.md"):
        assert (run / name).read_bytes() == (here / name).read_bytes(), name
    for name in ("equity", "fills", "orders", "round_trips"):
        one, other = (pl.read_parquet(each / f"{name}.parquet") for each in (run, here))
        assert one.equals(other), name
    with (
        closing(SqliteTapeReader(run / "tape.db")) as one,
        closing(SqliteTapeReader(here / "tape.db")) as other,
    ):
        assert list(one.encoded_records()) == list(other.encoded_records())
        assert list(one.snapshots()) == list(other.snapshots())


def test_matrix_sees_a_difference(folder: Path) -> None:
    """Another seed is another session; so the comparison does compare."""
    with contextlib.chdir(folder):
        text = json.loads(Path("busy.json").read_bytes()) | {"seed": 1}
        Path("other.json").write_text(json.dumps(text))
        result = CliRunner().invoke(app, ["backtest", "other.json", "--quiet"])
        assert result.exit_code == 0, result.stderr
        with pytest.raises(AssertionError):
            assert_same(Path(result.stdout.strip()).resolve(), folder / "here")
