"""The chart as helm renders it: the API server accepts every variant, and its rights are few."""

import json
from pathlib import Path

import pytest
import yaml

from detection_operator.settings import PREFIX, Settings
from sandbox.site.kube import NAMESPACES, ApiError, Kube
from supply_chain.release import pin_chart
from tests.support.cluster.chart import CHART, DIGEST, Object, helm, only, render
from tests.support.cluster.released import CHART as RELEASED

pytestmark = pytest.mark.usefixtures("kubeconfig")

APP_VERSION = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
COLLECTIONS = {
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/{}/poddisruptionbudgets",
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "Service": "/api/v1/namespaces/{}/services",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
}


VARIANTS: dict[str, tuple[str, ...]] = {
    "as it comes": (),
    "for two namespaces": ("watchNamespaces={a,b}",),
    "with three replicas": ("replicas=3",),
    "without a network policy": ("networkPolicy.enabled=false",),
    "with plain HTTP beside TLS": ("reports.plainHTTP=true",),
    "with plain HTTP alone": ("reports.tls.enabled=false", "metrics.authentication=false"),
    "with a certificate of others": ("reports.tls.secretName=serving-cert",),
    "for two namespaces, with guarded metrics": (
        "watchNamespaces={a,b}",
        "rbac.authDelegator=true",
        "networkPolicy.metricsNamespaces={monitoring}",
    ),
    "where issuer discovery is shut": ("rbac.issuerDiscovery=true",),
    "with defaults for trainers' pods": (
        "trainer.imagePullSecrets[0].name=registry",
        "trainer.podLabels.team=vision",
        "trainer.podAnnotations.note=x",
        "trainer.nodeSelector.pool=gpu",
        "trainer.tolerations[0].operator=Exists",
        "trainer.priorityClassName=batch",
        "trainer.runtimeClassName=nvidia",
        "trainer.env[0].name=TZ",
        "trainer.env[0].value=UTC",
    ),
    "with the rights bound by hand": (
        "rbac.create=false",
        "rbac.aggregateToUserRoles=false",
        "serviceAccount.create=false",
        "serviceAccount.name=mine",
    ),
    "on nodes of its own": (
        "nodeSelector.disk=ssd",
        "tolerations[0].operator=Exists",
        "priorityClassName=high",
        "podLabels.team=vision",
        "podAnnotations.scrape=yes",
        "imagePullSecrets[0].name=registry",
    ),
}


@pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS.keys())
def test_the_api_server_takes_every_object(
    kube: Kube, namespace: str, values: tuple[str, ...]
) -> None:
    for body in render(*values):
        if body["kind"] == "CustomResourceDefinition":
            continue
        # Namespaces that the release would be in do not exist here.
        body["metadata"].pop("namespace", None)
        collection = COLLECTIONS[body["kind"]].format(namespace)
        made = kube.create(collection, body, dry_run=True)
        warnings = made["metadata"].get("annotations", {})
        assert "pod-security" not in json.dumps(warnings)


def test_its_pod_passes_the_restricted_level(kube: Kube, namespace: str) -> None:
    pod = only(render(), "Deployment")["spec"]["template"]
    pod["spec"].pop("serviceAccountName")
    pods = f"{NAMESPACES}/{namespace}/pods"
    kube.create(pods, {"metadata": {"name": "operator"}, "spec": pod["spec"]}, dry_run=True)
    container = pod["spec"]["containers"][0]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    container["securityContext"] = {"privileged": True}
    with pytest.raises(ApiError, match="violates PodSecurity"):
        kube.create(pods, {"metadata": {"name": "operator"}, "spec": pod["spec"]}, dry_run=True)


def test_users_may_change_trainings_and_not_their_status() -> None:
    roles = [body for body in render() if body["kind"] == "ClusterRole"]
    users = [
        role for role in roles if any("aggregate" in key for key in role["metadata"]["labels"])
    ]
    granted = {
        resource: set(rule["verbs"])
        for role in users
        for rule in role["rules"]
        for resource in rule["resources"]
        if set(rule["verbs"]) - {"get", "list", "watch"}
    }
    writes = {"create", "update", "patch", "delete", "deletecollection"}
    assert granted == {"detectiontrainings": writes}


@pytest.mark.parametrize("values", [(), ("watchNamespaces={a,b}",)], ids=["cluster", "namespaces"])
def test_it_asks_for_no_wildcard_and_no_secret_but_its_own(values: tuple[str, ...]) -> None:
    objects = render(*values)
    roles = [body for body in objects if body["kind"] in {"Role", "ClusterRole"}]
    secret = [body for body in roles if "secrets" in json.dumps(body["rules"])]
    [serving] = secret
    assert serving["metadata"]["namespace"] == "system"
    named, create = serving["rules"]
    assert named["resourceNames"] == ["release-detection-operator-serving"]
    assert (named["verbs"], create["verbs"]) == (["get", "update", "delete"], ["create"])
    container = only(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    environment = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert [environment["DETECTION_OPERATOR_TLS_SECRET"]] == named["resourceNames"]
    rules = [rule for body in roles for rule in body["rules"] if "resources" in rule]
    assert "*" not in json.dumps(rules)
    writes = {
        resource: set(rule["verbs"]) & {"create", "update", "patch", "delete"}
        for rule in rules
        for resource in rule["resources"]
        if resource == "detectiontrainings/status"
    }
    assert writes["detectiontrainings/status"] <= {"patch"}


def test_several_workers_are_off_until_they_are_allowed() -> None:
    for values, wanted in ((), "false"), (("trainer.severalWorkers=true",), "true"):
        container = only(render(*values), "Deployment")["spec"]["template"]["spec"]["containers"][0]
        environment = {entry["name"]: entry.get("value") for entry in container["env"]}
        assert environment["DETECTION_OPERATOR_SEVERAL_WORKERS"] == wanted


def test_it_may_not_list_or_delete_the_network_policies_of_others() -> None:
    rules = [
        rule
        for body in render("trainer.severalWorkers=true")
        if body["kind"] in {"Role", "ClusterRole"}
        for rule in body["rules"]
        if "networkpolicies" in rule.get("resources", ())
    ]
    assert [rule["verbs"] for rule in rules] == [["get", "create", "update"]]


def test_a_namespaced_install_has_no_rights_beyond_its_namespaces() -> None:
    objects = render("watchNamespaces={a,b}", "rbac.aggregateToUserRoles=false")
    assert not [body for body in objects if body["kind"].startswith("ClusterRole")]
    roles = [body for body in objects if body["kind"] == "Role"]
    assert {body["metadata"]["namespace"] for body in roles} == {"a", "b", "system"}
    own = [
        rule
        for body in roles
        if body["metadata"]["namespace"] == "system"
        for rule in body["rules"]
    ]
    assert {rule["resources"][0] for rule in own} == {"leases", "secrets", "services"}
    [service] = [rule for rule in own if rule["resources"] == ["services"]]
    assert (service["resourceNames"], service["verbs"]) == (["release-detection-operator"], ["get"])
    container = only(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    environment = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert environment["DETECTION_OPERATOR_NAMESPACES"] == "a,b"


def test_the_crd_is_upgraded_with_the_release_and_outlives_it() -> None:
    rendered = only(render(), "CustomResourceDefinition")
    assert rendered["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    source = yaml.safe_load((CHART / "files" / "detectiontrainings.yaml").read_text())
    assert rendered["spec"] == source["spec"]
    kinds = {body["kind"] for body in render("crds.install=false")}
    assert "CustomResourceDefinition" not in kinds


def test_a_release_of_the_chart_before_is_upgraded_in_place(kube: Kube, namespace: str) -> None:
    values = ("crds.install=false", "rbac.aggregateToUserRoles=false", "image.tag=none")
    settings = [part for value in values for part in ("--set", value)]
    settings += ["--set", f"watchNamespaces={{{namespace}}}", "--namespace", namespace]
    deployment = f"/apis/apps/v1/namespaces/{namespace}/deployments/op-detection-operator"

    def upgrade(chart: Path) -> Object:
        done = helm("upgrade", "--install", "op", str(chart), *settings)
        assert done.returncode == 0, done.stderr
        return kube.get(deployment)

    before, after = upgrade(RELEASED), upgrade(CHART)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert (
        after["metadata"]["labels"]["helm.sh/chart"]
        != before["metadata"]["labels"]["helm.sh/chart"]
    )
    wanted = only(render(*values), "Deployment")
    assert after["spec"]["strategy"] == wanted["spec"]["strategy"], "nothing of before is left"
    done = helm("uninstall", "op", "--namespace", namespace)
    assert done.returncode == 0, done.stderr


def test_one_replica_is_replaced_without_a_gap() -> None:
    objects = render()
    deployment = only(objects, "Deployment")["spec"]
    assert deployment["replicas"] == 1
    assert deployment["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
    }
    assert "topologySpreadConstraints" not in deployment["template"]["spec"]
    assert "PodDisruptionBudget" not in {body["kind"] for body in objects}


def test_several_replicas_are_spread_and_not_drained_all_at_once() -> None:
    objects = render("replicas=2")
    deployment = only(objects, "Deployment")["spec"]
    assert deployment["replicas"] == 2
    spread = deployment["template"]["spec"]["topologySpreadConstraints"]
    keys = ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    assert [constraint["topologyKey"] for constraint in spread] == keys
    budget = only(objects, "PodDisruptionBudget")["spec"]
    assert budget["maxUnavailable"] == 1
    for selector in (budget["selector"], *(constraint["labelSelector"] for constraint in spread)):
        assert selector == deployment["selector"]
    mine = render("replicas=2", "topologySpreadConstraints[0].topologyKey=rack")
    own = only(mine, "Deployment")["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert own == [{"topologyKey": "rack"}]


def test_replicas_agree_by_a_lease_of_the_release_and_may_touch_no_other() -> None:
    objects = render()
    container = only(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    environment = {entry["name"]: entry for entry in container["env"]}
    name = environment["DETECTION_OPERATOR_LEASE_NAME"]["value"]
    fields = {
        variable: environment[f"DETECTION_OPERATOR_{variable}"]["valueFrom"]["fieldRef"][
            "fieldPath"
        ]
        for variable in ("LEASE_NAMESPACE", "IDENTITY")
    }
    assert fields == {"LEASE_NAMESPACE": "metadata.namespace", "IDENTITY": "metadata.name"}
    [role] = [body for body in objects if body["metadata"]["name"] == f"{name}-lease"][:1]
    assert role["metadata"]["namespace"] == "system"
    named, create, service = role["rules"]
    verbs = ["get", "watch", "update", "delete"]
    assert (named["resourceNames"], named["verbs"]) == ([name], verbs)
    assert create["verbs"] == ["create"]
    owner = environment["DETECTION_OPERATOR_SERVICE"]["value"]
    assert service["resourceNames"] == [owner] == [only(objects, "Service")["metadata"]["name"]]


ADDRESSES: dict[str, tuple[tuple[str, ...], str, dict[str, int | str]]] = {
    "over HTTPS": ((), "https://{host}:443", {"reports": 443, "metrics": 8080}),
    "over HTTPS at another port": (
        ("service.port=8088",),
        "https://{host}:8088",
        {"reports": 8088, "metrics": 8080},
    ),
    "over HTTPS, beside plain HTTP": (
        ("reports.plainHTTP=true",),
        "https://{host}:443",
        {"reports": 443, "plain": 80, "metrics": 8080},
    ),
    "over plain HTTP": (
        ("reports.tls.enabled=false",),
        "http://{host}:80",
        {"plain": 80, "metrics": 8080},
    ),
    "at an address of the administrator's": (
        ("reportURL=https://operator.example.com",),
        "https://operator.example.com",
        {"reports": 443, "metrics": 8080},
    ),
}


@pytest.mark.parametrize(("values", "url", "ports"), ADDRESSES.values(), ids=ADDRESSES)
def test_pods_find_the_operator(
    values: tuple[str, ...], url: str, ports: dict[str, int | str]
) -> None:
    objects = render(*values)
    service = only(objects, "Service")
    container = only(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    environment = {entry["name"]: entry.get("value") for entry in container["env"]}
    host = f"{service['metadata']['name']}.system.svc"
    assert environment["DETECTION_OPERATOR_REPORT_URL"] == url.format(host=host)
    assert {port["name"]: port["port"] for port in service["spec"]["ports"]} == ports
    open_ports = {port["name"] for port in container["ports"]}
    assert {port["targetPort"] for port in service["spec"]["ports"]} <= open_ports
    probed = {container[probe]["httpGet"]["port"] for probe in ("livenessProbe", "readinessProbe")}
    assert probed == {"health"}, "a flood of reports cannot fail the probes"
    plain = environment.get("DETECTION_OPERATOR_PLAIN_REPORT_URL")
    assert plain == (f"http://{host}:80" if {"reports", "plain"} <= ports.keys() else None)


def test_the_network_policy_admits_trainers_of_watched_namespaces_and_named_scrapers() -> None:
    objects = render("watchNamespaces={a,b}", "networkPolicy.metricsNamespaces={monitoring}")
    reports, metrics = only(objects, "NetworkPolicy")["spec"]["ingress"]
    assert [port["port"] for port in reports["ports"]] == ["reports"]
    assert [port["port"] for port in metrics["ports"]] == ["metrics"]
    where = "kubernetes.io/metadata.name"
    named = [peer["namespaceSelector"]["matchLabels"][where] for peer in reports["from"]]
    assert named == ["a", "b"]
    assert all(peer["podSelector"]["matchExpressions"] for peer in reports["from"])
    named = [peer["namespaceSelector"]["matchLabels"][where] for peer in metrics["from"]]
    assert named == ["system", "monitoring"]


@pytest.mark.parametrize(
    ("values", "made"),
    [
        ((), True),
        (("metrics.authentication=false",), False),
        (("watchNamespaces={a}",), False),
        (("watchNamespaces={a}", "rbac.authDelegator=true"), True),
    ],
    ids=["cluster-wide", "not guarded", "namespaced", "namespaced with a right of the cluster's"],
)
def test_who_reads_metrics_is_the_clusters_to_say(values: tuple[str, ...], *, made: bool) -> None:
    names = {(body["kind"], body["metadata"]["name"]) for body in render(*values)}
    assert (("ClusterRoleBinding", "release-detection-operator-auth-delegator") in names) == made
    assert (("ClusterRole", "release-detection-operator-metrics-reader") in names) == made


IMAGES = {
    "by the chart's version": ((), f"detection-operator:{APP_VERSION}"),
    "by a tag": (("image.tag=next",), "detection-operator:next"),
    "by digest": ((f"image.digest={DIGEST}",), f"detection-operator@{DIGEST}"),
    "by digest, which wins over a tag": (
        ("image.repository=r.example.com:5000/op", "image.tag=next", f"image.digest={DIGEST}"),
        f"r.example.com:5000/op@{DIGEST}",
    ),
}


@pytest.mark.parametrize(("values", "image"), IMAGES.values(), ids=IMAGES.keys())
def test_the_operators_image_is_named(values: tuple[str, ...], image: str) -> None:
    [container] = only(render(*values), "Deployment")["spec"]["template"]["spec"]["containers"]
    assert container["image"] == image


def test_the_published_chart_installs_the_images_that_were_built(tmp_path: Path) -> None:
    operator, trainer = f"r.example.com:5000/op@{DIGEST}", f"r.example.com:5000/trainer@{DIGEST}"
    pin_chart(operator, trainer, tmp_path / "chart")
    done = helm("template", "release", str(tmp_path / "chart"), "--kube-version", "1.34.4")
    assert done.returncode == 0, done.stderr
    objects = [found for found in yaml.safe_load_all(done.stdout) if found]
    [container] = only(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    environment = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert container["image"] == operator
    assert environment["DETECTION_OPERATOR_TRAINER_IMAGE"] == trainer


def test_the_trainers_image_may_be_named_by_digest() -> None:
    image = f"r.example.com:5000/detection-trainer@{DIGEST}"
    deployment = only(render(f"trainer.image={image}"), "Deployment")
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    environment = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert environment["DETECTION_OPERATOR_TRAINER_IMAGE"] == image


def test_the_operator_knows_every_variable_that_the_chart_sets() -> None:
    container = only(render(), "Deployment")["spec"]["template"]["spec"]["containers"][0]
    given = {entry["name"] for entry in container["env"]}
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    assert given <= known, "the operator refuses variables that it does not know"
