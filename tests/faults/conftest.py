"""One fork server for all tests."""

from collections.abc import Iterator

import pytest
from forked import ForkServer


@pytest.fixture(scope="session")
def server() -> Iterator[ForkServer]:
    """Forks workers that can be killed."""
    server = ForkServer()
    yield server
    server.close()
