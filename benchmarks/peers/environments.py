"""An environment of its own for each peer, made when it is first asked for."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PROJECT = HERE.parent.parent
ENVIRONMENTS = HERE / ".envs"
INSTALL_SECONDS = 900


class CannotInstall(Exception):
    """A peer's environment can't be made here; says why."""


def provide_python(peer: str) -> Path:
    """The interpreter of a peer's environment, installed as `requirements/PEER.txt` pins it.

    Raises:
        CannotInstall: There is no uv, or it can't install what is pinned.
    """
    pins = (HERE / "requirements" / f"{peer}.txt").read_bytes()
    place = ENVIRONMENTS / peer
    python = place / "bin" / "python"
    done = place / "installed"
    wanted = hashlib.sha256(pins + sys.version.encode()).hexdigest()
    if done.is_file() and done.read_text() == wanted:
        return python
    uv = shutil.which("uv") or str(PROJECT / ".uv" / "bin" / "uv")
    if not Path(uv).is_file():
        raise CannotInstall("there is no uv here; `make setup` puts one into .uv/")
    ENVIRONMENTS.mkdir(exist_ok=True)
    _run([uv, "venv", "--quiet", "--clear", "--no-python-downloads", "--python", sys.executable,
          str(place)])  # fmt: skip
    _run([uv, "pip", "install", "--quiet", "--python", str(python), "--requirements",
          str(HERE / "requirements" / f"{peer}.txt")])  # fmt: skip
    done.write_text(wanted)
    return python


def _run(command: list[str]) -> None:
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise CannotInstall(f"`{' '.join(command[1:3])}` took over {INSTALL_SECONDS} s") from None
    if result.returncode:
        lines = [line.strip() for line in result.stderr.splitlines() if line.strip()]
        raise CannotInstall("; ".join(lines[-3:]) or f"uv ended with code {result.returncode}")
