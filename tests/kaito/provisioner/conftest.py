from __future__ import annotations

from collections.abc import Iterator

import pytest

from kaito.provisioner.azure import AzureAgentPools
from tests.kaito.provisioner.azure_pools import azure_pools
from tests.kaito.provisioner.loopback import Loopback


@pytest.fixture
def server() -> Iterator[Loopback]:
    with Loopback() as loopback:
        yield loopback


@pytest.fixture
def pools(server: Loopback) -> Iterator[AzureAgentPools]:
    adapter = azure_pools(server.url)
    yield adapter
    adapter.close()
