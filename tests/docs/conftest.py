"""What a reader has after `make demo`: the examples, the demo's data, and its output."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.demo import Demo
from tests.docs.pages import ROOT


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    folder = tmp_path_factory.mktemp("demo")
    for name in ("examples", "scripts"):
        shutil.copytree(ROOT / name, folder / name)
    done = subprocess.run(
        ["bash", "scripts/demo.sh"],
        cwd=folder,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONUNBUFFERED": "1",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    shutil.rmtree(folder / "runs")
    return Demo(folder, done.stdout)
