"""What the client rests on in a real API server."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from detection_operator.cluster.client import Client, load_configuration
from detection_operator.cluster.resources import TRAININGS
from detection_operator.cluster.telemetry import Silence
from detection_operator.errors import ConflictError, NotFoundError
from tests.support.operator_fixtures import Scene


@pytest.fixture
async def client(kubeconfig: Path | None) -> AsyncIterator[Client]:
    environment = {} if kubeconfig is None else {"KUBECONFIG": str(kubeconfig)}
    found = Client(await load_configuration({**os.environ, **environment}), Silence())
    yield found
    await found.close()


async def test_a_write_that_changes_nothing_tells_whether_an_object_was_written_since(
    scene: Scene, client: Client
) -> None:
    scene.apply()
    # The first write to a status stores what an apply has not: defaults.
    written = scene.kube.patch(f"{scene.path()}/status", {"status": {"phase": "Queued"}})
    version = written["metadata"]["resourceVersion"]
    await client.confirm(TRAININGS, scene.namespace, "trees", version)
    assert scene.training()["metadata"]["resourceVersion"] == version
    labelled = {"metadata": {"labels": {"team": "vision"}}}
    scene.kube.patch(scene.path(), labelled)
    with pytest.raises(ConflictError, match="object has been modified"):
        await client.confirm(TRAININGS, scene.namespace, "trees", version)
    with pytest.raises(NotFoundError):
        await client.confirm(TRAININGS, scene.namespace, "oaks", version)
