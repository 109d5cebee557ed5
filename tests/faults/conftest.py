"""One fork server for all tests of a module."""

from collections.abc import Iterator

import pytest
from forked import ForkServer


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    """Forks workers that can be killed."""
    server = ForkServer()
    yield server
    server.close()
