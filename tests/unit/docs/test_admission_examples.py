"""The examples of admission policies read every field that they are about, also new ones."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from detection_operator.api.crd import build_crd

EXAMPLES = Path(__file__).parents[3] / "examples" / "admission"
OTHER_VOLUMES = ".podTemplate.volumes."
"""secrets.yaml refuses the kinds of volumes whose references it does not read."""
PIPELINE_CONFIG = ".pipelineConfig.uri"
"""locations.yaml refuses `pipelineConfig` as a whole."""


def _spec() -> dict[str, Any]:
    [version] = build_crd()["spec"]["versions"]
    found: dict[str, Any] = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return found


def _paths(schema: dict[str, Any], field: str, path: str = "") -> Iterator[str]:
    for name, below in schema.get("properties", {}).items():
        here = f"{path}.{name}"
        if name == field:
            yield here
        yield from _paths(below, field, here)
    if "items" in schema:
        yield from _paths(schema["items"], field, path)


def _policy(file: str) -> str:
    policy, _ = yaml.safe_load_all((EXAMPLES / file).read_text())
    return str(policy["spec"]).replace("?", "")


def test_the_policy_of_locations_reads_every_uri_of_the_spec() -> None:
    policy = _policy("locations.yaml")
    found = set(_paths(_spec(), "uri"))
    assert len(found) > 1
    assert not {path for path in found - {PIPELINE_CONFIG} if f"object.spec{path}" not in policy}


def test_the_policy_of_secrets_reads_every_reference_of_the_spec() -> None:
    found = {path.removesuffix(".secretRef") for path in _paths(_spec(), "secretRef")}
    found |= set(_paths(_spec(), "imagePullSecrets"))
    found = {path for path in found if not path.startswith(OTHER_VOLUMES)}
    policy = _policy("secrets.yaml").replace("variables.pod", "object.spec.podTemplate")
    assert found
    assert not {path for path in found if f"object.spec{path}" not in policy}
