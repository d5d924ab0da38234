"""Values that the chart refuses, and those that it passes to the operator as they are written."""

import json
from pathlib import Path

import pytest
import yaml

from detection_operator.settings import Settings
from detection_trainer.contract.base import dump
from tests.support.cluster.chart import CHART, DIGEST, helm, only

pytestmark = pytest.mark.usefixtures("kubeconfig")

REFUSED = {
    "a label by which the Deployment selects its pods": (
        "podLabels.app\\.kubernetes\\.io/instance=mine",
        (
            'received app.kubernetes.io/instance="mine", but the chart sets this label '
            '("release"), by which the Deployment and the Service find their pods; expected other '
            "labels: remove it"
        ),
    ),
    "another label of the chart": (
        "podLabels.helm\\.sh/chart=mine",
        'received helm.sh/chart="mine", but the chart sets this label',
    ),
    "an invalid label value": ("podLabels.team=a b", "/podLabels/team"),
    "a label value that is not text": ("podLabels.team=true", "/podLabels/team"),
    "a port above 65535": ("service.port=99999", "/service/port"),
    "a negative port": ("service.metricsPort=-1", "/service/metricsPort"),
    "a port that is not a number": ("service.plainPort=http", "/service/plainPort"),
    "one port for reports and metrics": (
        "service.port=8080",
        "service.port and service.metricsPort: received 8080 for both; expected different ports",
    ),
    "one port for plain reports and metrics": (
        "service.plainPort=8080,reports.plainHTTP=true",
        "service.plainPort and service.metricsPort: received 8080 for both",
    ),
    "negative replicas": ("replicas=-1", "/replicas"),
    "more than 100 replicas": ("replicas=101", "/replicas"),
    "more workers than the operator accepts": ("workers=257", "/workers"),
    "a fraction of a worker": ("workers=0.5", "/workers"),
    "a value that is null": ("workers=null", "missing property 'workers'"),
    "a section that is null": ("trainer=null", "missing property 'trainer'"),
    "an interval of 0": ("resyncSeconds=0", "/resyncSeconds"),
    "a negative interval": ("statusIntervalSeconds=-1", "/statusIntervalSeconds"),
    "a duration with a unit": ("resyncSeconds=10m", "/resyncSeconds"),
    "a grace period of 0": (
        "terminationGracePeriodSeconds=0",
        "/terminationGracePeriodSeconds",
    ),
    "a grace period with a fraction": (
        "trainer.terminationGracePeriodSeconds=1.5",
        "/trainer/terminationGracePeriodSeconds",
    ),
    "a wait of 0": ("trainer.backoffBaseSeconds=0", "/trainer/backoffBaseSeconds"),
    "a cap below the base": (
        "trainer.backoffBaseSeconds=500",
        "trainer.backoffCapSeconds: received 300; expected at least trainer.backoffBaseSeconds",
    ),
    "a timeout of more than a week": (
        "trainer.imagePullTimeoutSeconds=604801",
        "/trainer/imagePullTimeoutSeconds",
    ),
    "too many connections": ("reports.connections=65537", "/reports/connections"),
    "negative connections": (
        "reports.connectionsPerAddress=-1",
        "/reports/connectionsPerAddress",
    ),
    "memory in an unknown unit": (
        "resources.limits.memory=4GB",
        "/resources/limits/memory",
    ),
    "memory with a space": ("resources.requests.memory=4 Gi", "/resources/requests/memory"),
    "negative CPUs": ("resources.limits.cpu=-1", "/resources/limits/cpu"),
    "an unknown field of resources": ("resources.limit.cpu=1", "limit"),
    "a repository with a tag": ("image.repository=op:1", "/image/repository"),
    "a repository with capitals": ("image.repository=Op", "/image/repository"),
    "a tag with a space": ("image.tag=a b", "/image/tag"),
    "a URL as the trainer's image": ("trainer.image=https://r/t", "/trainer/image"),
    "an image pull secret that is not an object": ("imagePullSecrets[0]=a", "/imagePullSecrets/0"),
    "an invalid name of an image pull secret": (
        "imagePullSecrets[0].name=A_B",
        "/imagePullSecrets/0/name",
    ),
    "an invalid name of a priority class": ("priorityClassName=A_B", "/priorityClassName"),
    "an invalid name of a service account": ("serviceAccount.name=A_B", "/serviceAccount/name"),
    "a report URL with a space": ("reportURL=http://a b", "/reportURL"),
    "a certificate without TLS": (
        "reportURL=http://operator,reports.tls.secretName=mine",
        'reports.tls.secretName: received "mine" with a reportURL of plain HTTP',
    ),
    "an unknown kind of affinity": ("affinity.nodes=x", "/affinity"),
    "an unknown field of a peer": (
        "networkPolicy.metricsFrom[0].pods=x",
        "/networkPolicy/metricsFrom",
    ),
    "a label of the operator for trainers": (
        "trainer.podLabels.detectiontraining\\.dev/role=x",
        'trainer.podLabels: received detectiontraining.dev/role="x", but keys that begin with',
    ),
    "an annotation of the operator for trainers": (
        "trainer.podAnnotations.detectiontraining\\.dev/document=x",
        'trainer.podAnnotations: received detectiontraining.dev/document="x"',
    ),
    "a variable of the operator for trainers": (
        "trainer.env[0].name=TF_CONFIG,trainer.env[0].value=x",
        "trainer.env: received TF_CONFIG, which the operator sets itself",
    ),
    "a variable with two values": (
        "trainer.env[0].name=A,trainer.env[0].value=x,trainer.env[0].valueFrom.fieldRef.fieldPath=y",
        "trainer.env: received both value and valueFrom for A",
    ),
    "a variable that is not text": (
        "trainer.env[0].name=A,trainer.env[0].value=1",
        "/trainer/env/0/value",
    ),
    "a toleration with an unknown effect": (
        "trainer.tolerations[0].key=a,trainer.tolerations[0].effect=No",
        "/trainer/tolerations/0/effect",
    ),
    "a toleration of all values that has one": (
        "trainer.tolerations[0].operator=Exists,trainer.tolerations[0].value=x",
        'trainer.tolerations: received operator Exists with value "x"',
    ),
    "seconds of a toleration that never evicts": (
        "trainer.tolerations[0].key=a,trainer.tolerations[0].tolerationSeconds=5",
        "trainer.tolerations: received tolerationSeconds with effect",
    ),
    "an invalid name of a runtime class": (
        "trainer.runtimeClassName=A_B",
        "/trainer/runtimeClassName",
    ),
    "a digest that is cut off": ("image.digest=sha256:0123", "digest"),
    "a digest of another algorithm": (f"image.digest={DIGEST.replace('256', '512')}", "digest"),
    "a tag where a digest belongs": ("image.digest=latest", "digest"),
    "a value that is not there": ("colour=green", "colour"),
    "a log format that is not there": ("logFormat=xml", "logFormat"),
    "no replicas": ("replicas=0", "replicas"),
    "no workers": ("workers=0", "workers"),
    "a switch that is neither on nor off": ("trainer.severalWorkers=maybe", "severalWorkers"),
    "a namespace that cannot be": ("watchNamespaces={A_B}", "watchNamespaces"),
    "a report URL without a scheme": ("reportURL=operator:80", "reportURL"),
    "too few connections": ("reports.connections=3", "connections"),
    "a port that cannot be": ("service.port=0", "port"),
    "a Secret that cannot be": ("reports.tls.secretName=A_B", "secretName"),
    "no name for the service account": ("serviceAccount.create=false", "serviceAccount.name"),
}


@pytest.mark.parametrize(("value", "named"), REFUSED.values(), ids=REFUSED.keys())
def test_an_invalid_value_is_refused_by_name(value: str, named: str) -> None:
    done = helm("template", "release", str(CHART), "--kube-version", "1.34.4", "--set", value)
    assert done.returncode != 0
    assert named in done.stderr


@pytest.mark.parametrize("release", ["2trees", "a.b"])
def test_a_release_whose_service_could_not_be_created_is_refused(release: str) -> None:
    done = helm("template", release, str(CHART), "--kube-version", "1.34.4")
    assert done.returncode != 0
    assert f'the Service would be named "{release}-detection-operator"' in done.stderr
    assert "choose another release name" in done.stderr


def test_the_defaults_of_trainers_pods_reach_the_operator_as_they_are_written(
    tmp_path: Path,
) -> None:
    defaults = {
        "imagePullSecrets": [{"name": "registry"}],
        "podLabels": {"team": "vision"},
        "podAnnotations": {"note": 'a <b> & "c" $(d) $$'},
        "nodeSelector": {"pool": "gpu"},
        "tolerations": [{"operator": "Exists"}],
        "priorityClassName": "batch",
        "runtimeClassName": "nvidia",
        "env": [{"name": "WHERE", "value": "$(HOME)/$$x"}],
    }
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump({"trainer": defaults}))
    named = ("template", "release", str(CHART), "--kube-version", "1.34.4")
    done = helm(*named, "--values", str(values))
    assert done.returncode == 0, done.stderr
    objects = [found for found in yaml.safe_load_all(done.stdout) if found]
    container = only(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    given = {entry["name"]: entry.get("value") for entry in container["env"]}
    escaped = given["DETECTION_OPERATOR_POD_DEFAULTS"]
    # The kubelet replaces $$ by $, and $(NAME) unless it is written $$(NAME).
    as_the_process_reads_it = escaped.replace("$$", "$")
    assert json.loads(as_the_process_reads_it) == defaults
    settings = Settings.from_environment(
        {
            "DETECTION_OPERATOR_TRAINER_IMAGE": "trainer:1",
            "DETECTION_OPERATOR_REPORT_URL": "http://operator",
            "DETECTION_OPERATOR_POD_DEFAULTS": as_the_process_reads_it,
        }
    )
    assert dump(settings.pod_defaults) == defaults
