"""Missing or forbidden storage is named, and not retried for ever."""

from http import HTTPStatus

from sandbox.site.kube import condition
from tests.support.cluster.site import Workspace, s3_secret

CREDENTIALS = "s3-other"


def test_a_bucket_that_does_not_exist(workspace: Workspace) -> None:
    storage = {"uri": "s3://no-such-bucket/run"}
    training = workspace.train("bucketless", checkpoints={"storage": storage})
    status = training.wait_for_phase("Failed")
    stalled = condition({"status": status}, "Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "NotFound")
    assert "s3://no-such-bucket/run" in stalled["message"]
    assert status["attemptCount"] == 1, "another attempt would not help"


def test_wrong_credentials_and_then_the_right_ones(workspace: Workspace) -> None:
    secrets = workspace.path("secrets")
    workspace.kube.create(secrets, s3_secret(CREDENTIALS, AWS_SECRET_ACCESS_KEY="wrong"))
    credentials = [{"uriPrefix": "s3://", "secretRef": {"name": CREDENTIALS}}]
    training = workspace.train("unknown", steps=20, credentials=credentials)
    status = training.wait_for_phase("Failed")
    stalled = condition({"status": status}, "Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "AccessDenied")
    assert "s3://" in stalled["message"]
    assert status["attemptCount"] == 1, "another attempt would not help"

    training.patch(credentials=[{"uriPrefix": "s3://", "secretRef": {"name": "s3"}}])
    assert training.wait_for_phase("Complete")["step"] == 20


def test_a_secret_that_is_missing_is_named_and_waited_for(workspace: Workspace) -> None:
    credentials = [{"uriPrefix": "s3://", "secretRef": {"name": CREDENTIALS}}]
    training = workspace.train("keyless", steps=20, credentials=credentials)

    def names_the_secret(found: dict[str, object]) -> bool:
        return CREDENTIALS in condition(found, "Ready").get("message", "")

    status = training.wait(names_the_secret, "the condition names the missing Secret")
    assert status["phase"] == "Queued"
    workspace.kube.create(workspace.path("secrets"), s3_secret(CREDENTIALS))
    status = training.wait_for_phase("Complete")
    assert status["attemptCount"] == 1


def test_a_claim_that_is_missing_is_named(workspace: Workspace) -> None:
    storage = {"volumeClaim": {"claimName": "no-such-claim"}}
    document = workspace.document("claimless", steps=20)
    document["spec"]["checkpoints"]["storage"] = storage
    training = workspace.apply(document)
    ready = training.wait_for_condition("Ready", "True", "Unschedulable")
    assert "no-such-claim" in ready["message"]
    found = workspace.kube.find(workspace.path("persistentvolumeclaims", "no-such-claim"))
    assert found is None, HTTPStatus.NOT_FOUND
