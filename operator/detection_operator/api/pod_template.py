"""`spec.podTemplate`: the fields of core/v1 that may be set on a trainer's pods.

The fields are typed, so that the API server refuses or drops values of another shape: an untyped
document may be nested a thousand levels deep. core/v1 defines what the fields mean; the API server
checks their values when it creates the pod.
"""

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from detection_trainer.contract.base import Contract, Name


def _describe(schema: dict[str, Any]) -> None:
    """Describe each field without a description by its name and the type of core/v1."""
    kind = schema["description"].partition(".")[0].removesuffix(":")
    for name, field in schema.get("properties", {}).items():
        field.setdefault("description", f"`{name}` of {kind}.")


class CoreType(Contract):
    """A type of core/v1, which documents its fields."""

    model_config = ConfigDict(json_schema_extra=_describe)


LabelValue = Annotated[str, Field(max_length=63)]
Labels = Annotated[dict[str, LabelValue], Field(max_length=64)]
Annotations = Annotated[dict[str, Annotated[str, Field(max_length=4096)]], Field(max_length=64)]
Word = Annotated[str, Field(max_length=64)]
LabelKey = Annotated[str, Field(max_length=317)]
Path = Annotated[str, Field(max_length=4096)]
Quantity = int | Annotated[str, Field(max_length=64)]
Quantities = Annotated[dict[str, Quantity], Field(max_length=32)]
Options = Annotated[dict[str, Annotated[str, Field(max_length=1024)]], Field(max_length=64)]
Mode = Annotated[int, Field(ge=0, le=0o777)]
Identity = Annotated[int, Field(ge=0, le=2**31 - 1)]
Count = Annotated[int, Field(ge=0, le=2**31 - 1)]
Weight = Annotated[int, Field(ge=1, le=100)]


class LocalReference(CoreType):
    """core/v1 LocalObjectReference."""

    name: Name | None = None


class OptionalReference(LocalReference):
    """core/v1 ConfigMapEnvSource and SecretEnvSource."""

    optional: bool | None = None


class KeySelector(OptionalReference):
    """core/v1 ConfigMapKeySelector and SecretKeySelector."""

    key: Name


class FieldReference(CoreType):
    """core/v1 ObjectFieldSelector."""

    api_version: Word | None = None
    field_path: Annotated[str, Field(max_length=512)]


class ResourceReference(CoreType):
    """core/v1 ResourceFieldSelector."""

    container_name: Name | None = None
    resource: Name
    divisor: Quantity | None = None


class FileReference(CoreType):
    """core/v1 FileKeySelector."""

    volume_name: Name
    path: Path
    key: Name
    optional: bool | None = None


class EnvSource(CoreType):
    """core/v1 EnvVarSource."""

    field_ref: FieldReference | None = None
    resource_field_ref: ResourceReference | None = None
    config_map_key_ref: KeySelector | None = None
    secret_key_ref: KeySelector | None = None
    file_key_ref: FileReference | None = None


class EnvVariable(CoreType):
    """core/v1 EnvVar."""

    name: Name
    value: Annotated[str, Field(max_length=8192)] | None = None
    value_from: EnvSource | None = None


class EnvFrom(CoreType):
    """core/v1 EnvFromSource."""

    prefix: Name | None = None
    config_map_ref: OptionalReference | None = None
    secret_ref: OptionalReference | None = None


class Toleration(CoreType):
    """core/v1 Toleration."""

    key: LabelKey | None = None
    operator: Word | None = None
    value: LabelValue | None = None
    effect: Word | None = None
    toleration_seconds: Annotated[int, Field(ge=-(2**31), le=2**31 - 1)] | None = None


class Requirement(CoreType):
    """core/v1 NodeSelectorRequirement and meta/v1 LabelSelectorRequirement."""

    key: LabelKey
    operator: Word
    values: Annotated[list[Name], Field(max_length=64)] | None = None


Requirements = Annotated[list[Requirement], Field(max_length=32)]


class NodeSelectorTerm(CoreType):
    """core/v1 NodeSelectorTerm."""

    match_expressions: Requirements | None = None
    match_fields: Requirements | None = None


class NodeSelector(CoreType):
    """core/v1 NodeSelector."""

    node_selector_terms: Annotated[list[NodeSelectorTerm], Field(max_length=32)]


class PreferredNodes(CoreType):
    """core/v1 PreferredSchedulingTerm."""

    weight: Weight
    preference: NodeSelectorTerm


class NodeAffinity(CoreType):
    """core/v1 NodeAffinity."""

    required_during_scheduling_ignored_during_execution: NodeSelector | None = None
    preferred_during_scheduling_ignored_during_execution: (
        Annotated[list[PreferredNodes], Field(max_length=32)] | None
    ) = None


class LabelSelector(CoreType):
    """meta/v1 LabelSelector."""

    match_labels: Labels | None = None
    match_expressions: Requirements | None = None


LabelKeys = Annotated[list[LabelKey], Field(max_length=32)]


class PodAffinityTerm(CoreType):
    """core/v1 PodAffinityTerm."""

    label_selector: LabelSelector | None = None
    namespaces: Annotated[list[Name], Field(max_length=32)] | None = None
    topology_key: LabelKey
    namespace_selector: LabelSelector | None = None
    match_label_keys: LabelKeys | None = None
    mismatch_label_keys: LabelKeys | None = None


class PreferredPods(CoreType):
    """core/v1 WeightedPodAffinityTerm."""

    weight: Weight
    pod_affinity_term: PodAffinityTerm


class PodAffinity(CoreType):
    """core/v1 PodAffinity and PodAntiAffinity."""

    required_during_scheduling_ignored_during_execution: (
        Annotated[list[PodAffinityTerm], Field(max_length=32)] | None
    ) = None
    preferred_during_scheduling_ignored_during_execution: (
        Annotated[list[PreferredPods], Field(max_length=32)] | None
    ) = None


class Affinity(CoreType):
    """core/v1 Affinity."""

    node_affinity: NodeAffinity | None = None
    pod_affinity: PodAffinity | None = None
    pod_anti_affinity: PodAffinity | None = None


class SELinuxOptions(CoreType):
    """core/v1 SELinuxOptions."""

    user: Name | None = None
    role: Name | None = None
    type: Name | None = None
    level: Name | None = None


class Profile(CoreType):
    """core/v1 SeccompProfile and AppArmorProfile."""

    type: Word
    localhost_profile: Path | None = None


class Sysctl(CoreType):
    """core/v1 Sysctl."""

    name: Name
    value: Annotated[str, Field(max_length=1024)]


class WindowsOptions(CoreType):
    """core/v1 WindowsSecurityContextOptions."""

    gmsa_credential_spec_name: Name | None = None
    gmsa_credential_spec: Annotated[str, Field(max_length=65536)] | None = None
    run_as_user_name: Name | None = None
    host_process: bool | None = None


class PodSecurityContext(CoreType):
    """core/v1 PodSecurityContext."""

    se_linux_options: SELinuxOptions | None = None
    windows_options: WindowsOptions | None = None
    run_as_user: Identity | None = None
    run_as_group: Identity | None = None
    run_as_non_root: bool | None = None
    supplemental_groups: Annotated[list[Identity], Field(max_length=64)] | None = None
    supplemental_groups_policy: Word | None = None
    fs_group: Identity | None = None
    sysctls: Annotated[list[Sysctl], Field(max_length=64)] | None = None
    fs_group_change_policy: Word | None = None
    seccomp_profile: Profile | None = None
    app_armor_profile: Profile | None = None
    se_linux_change_policy: Word | None = None


class VolumeMount(CoreType):
    """core/v1 VolumeMount."""

    name: Name
    mount_path: Path
    read_only: bool | None = None
    recursive_read_only: Word | None = None
    sub_path: Path | None = None
    sub_path_expr: Path | None = None
    mount_propagation: Word | None = None
