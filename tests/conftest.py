"""What holds for every test."""

import os
from collections.abc import Iterator

import pytest

from tests.support.postgres_server import PostgresServer, run_server

os.environ.pop("COLUMNS", None)  # or what commands print is cut to the width of some terminal


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server that several tests use; one that kills it starts its own."""
    with run_server() as server:
        yield server
