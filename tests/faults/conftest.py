"""One fork server for all tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from forked import ForkServer

FOLDER = Path(__file__).parent


@pytest.fixture(scope="session")
def server() -> Iterator[ForkServer]:
    """Forks workers that can be killed."""
    server = ForkServer()
    yield server
    server.close()


@pytest.hookimpl(tryfirst=True)  # before the tiers are told apart
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder starts, kills or limits processes."""
    for item in items:
        if FOLDER in item.path.parents:
            item.add_marker(pytest.mark.slow)
