"""What holds for every test."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli_data import import_wave
from tests.support.postgres_server import PostgresServer, run_server

os.environ.pop("COLUMNS", None)  # or what commands print is cut to the width of some terminal


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server that several tests use; one that kills it starts its own."""
    with run_server() as server:
        yield server


@pytest.fixture(scope="session")
def wave_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a catalog of WAVE.SIM and run.yaml, which nobody changes."""
    folder = tmp_path_factory.mktemp("wave")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        import_wave()
    return folder


@pytest.fixture
def in_wave(wave_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test works in a copy of it."""
    monkeypatch.chdir(shutil.copytree(wave_folder, tmp_path / "here"))
