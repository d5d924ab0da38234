"""A training that is deleted while it runs takes all of its objects along, but no checkpoint."""

from sandbox.site.kube import Object
from tests.support.cluster.site import CONTROL_STEPS, LiveTraining, Workspace

SAVED_STEP = 40


def test_everything_is_deleted_except_the_checkpoints(workspace: Workspace) -> None:
    training = workspace.train("deleted", steps=CONTROL_STEPS)
    training.wait_for_checkpoint(SAVED_STEP)
    owned = owned_paths(training)
    assert {path.split("/")[-2] for path in owned} == {"jobs", "pods"}
    training.delete()
    for path in [training.path, *owned]:
        workspace.kube.wait(path, is_gone, what=f"{path} is gone")
    steps = sorted({int(entry.path[5:13]) for entry in training.folder.list("step-")})
    assert steps[-1] >= SAVED_STEP
    training.checkpoint(steps[-1]).verify()


def owned_paths(training: LiveTraining) -> list[str]:
    kinds = [("jobs", "apis/batch/v1"), ("pods", "api/v1")]
    return [
        training.workspace.path(kind, found["metadata"]["name"], api=api)
        for kind, api in kinds
        for found in training.owned(kind, api)
    ]


def is_gone(found: Object | None) -> bool:
    return found is None
