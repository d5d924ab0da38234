"""The volumes of `spec.podTemplate`, as core/v1 defines them."""

from typing import Annotated

from pydantic import Field

from detection_operator.api.pod_template import (
    Annotations,
    CoreType,
    Count,
    FieldReference,
    Labels,
    LabelSelector,
    LocalReference,
    Mode,
    Options,
    Path,
    Quantities,
    Quantity,
    ResourceReference,
    Word,
)
from detection_trainer.contract.base import Name

MANY = 64
"""The maximum number of files or sources of one volume."""


class KeyFile(CoreType):
    """core/v1 KeyToPath."""

    key: Name
    path: Path
    mode: Mode | None = None


KeyFiles = Annotated[list[KeyFile], Field(max_length=MANY)]


class ConfigMapVolume(LocalReference):
    """core/v1 ConfigMapVolumeSource."""

    items: KeyFiles | None = None
    default_mode: Mode | None = None
    optional: bool | None = None


class SecretVolume(CoreType):
    """core/v1 SecretVolumeSource."""

    secret_name: Name | None = None
    items: KeyFiles | None = None
    default_mode: Mode | None = None
    optional: bool | None = None


class DownwardFile(CoreType):
    """core/v1 DownwardAPIVolumeFile."""

    path: Path
    field_ref: FieldReference | None = None
    resource_field_ref: ResourceReference | None = None
    mode: Mode | None = None


DownwardFiles = Annotated[list[DownwardFile], Field(max_length=MANY)]


class DownwardVolume(CoreType):
    """core/v1 DownwardAPIVolumeSource."""

    items: DownwardFiles | None = None
    default_mode: Mode | None = None


class EmptyDirectory(CoreType):
    """core/v1 EmptyDirVolumeSource."""

    medium: Word | None = None
    size_limit: Quantity | None = None


class HostPath(CoreType):
    """core/v1 HostPathVolumeSource."""

    path: Path
    type: Word | None = None


class Nfs(CoreType):
    """core/v1 NFSVolumeSource."""

    server: Name
    path: Path
    read_only: bool | None = None


class ClaimVolume(CoreType):
    """core/v1 PersistentVolumeClaimVolumeSource."""

    claim_name: Name
    read_only: bool | None = None


class Csi(CoreType):
    """core/v1 CSIVolumeSource."""

    driver: Name
    read_only: bool | None = None
    fs_type: Word | None = None
    volume_attributes: Options | None = None
    node_publish_secret_ref: LocalReference | None = None


class Image(CoreType):
    """core/v1 ImageVolumeSource."""

    reference: Annotated[str, Field(max_length=512)] | None = None
    pull_policy: Word | None = None


class TokenProjection(CoreType):
    """core/v1 ServiceAccountTokenProjection."""

    audience: Annotated[str, Field(max_length=1024)] | None = None
    expiration_seconds: Count | None = None
    path: Path


class ObjectProjection(LocalReference):
    """core/v1 ConfigMapProjection and SecretProjection."""

    items: KeyFiles | None = None
    optional: bool | None = None


class DownwardProjection(CoreType):
    """core/v1 DownwardAPIProjection."""

    items: DownwardFiles | None = None


class BundleProjection(CoreType):
    """core/v1 ClusterTrustBundleProjection."""

    name: Name | None = None
    signer_name: Name | None = None
    label_selector: LabelSelector | None = None
    optional: bool | None = None
    path: Path


class Projection(CoreType):
    """core/v1 VolumeProjection."""

    config_map: ObjectProjection | None = None
    secret: ObjectProjection | None = None
    downward_api: Annotated[DownwardProjection | None, Field(alias="downwardAPI")] = None
    service_account_token: TokenProjection | None = None
    cluster_trust_bundle: BundleProjection | None = None


class Projected(CoreType):
    """core/v1 ProjectedVolumeSource."""

    sources: Annotated[list[Projection], Field(max_length=MANY)] | None = None
    default_mode: Mode | None = None


class ClaimResources(CoreType):
    """core/v1 VolumeResourceRequirements."""

    limits: Quantities | None = None
    requests: Quantities | None = None


class DataSource(CoreType):
    """core/v1 TypedObjectReference. Without a namespace: a training reads only its own."""

    api_group: Name | None = None
    kind: Name
    name: Name


class ClaimSpec(CoreType):
    """core/v1 PersistentVolumeClaimSpec."""

    access_modes: Annotated[list[Word], Field(max_length=4)] | None = None
    selector: LabelSelector | None = None
    resources: ClaimResources | None = None
    volume_name: Name | None = None
    storage_class_name: Name | None = None
    volume_mode: Word | None = None
    data_source: DataSource | None = None
    data_source_ref: DataSource | None = None
    volume_attributes_class_name: Name | None = None


class ClaimMetadata(CoreType):
    """meta/v1 ObjectMeta."""

    labels: Labels | None = None
    annotations: Annotations | None = None


class ClaimTemplate(CoreType):
    """core/v1 PersistentVolumeClaimTemplate."""

    metadata: ClaimMetadata | None = None
    spec: ClaimSpec


class Ephemeral(CoreType):
    """core/v1 EphemeralVolumeSource."""

    volume_claim_template: ClaimTemplate | None = None


class Iscsi(CoreType):
    """core/v1 ISCSIVolumeSource."""

    target_portal: Name
    iqn: Name
    lun: Count
    iscsi_interface: Name | None = None
    fs_type: Word | None = None
    read_only: bool | None = None
    portals: Annotated[list[Name], Field(max_length=MANY)] | None = None
    chap_auth_discovery: bool | None = None
    chap_auth_session: bool | None = None
    secret_ref: LocalReference | None = None
    initiator_name: Name | None = None


class FibreChannel(CoreType):
    """core/v1 FCVolumeSource."""

    target_wwns: Annotated[list[Name] | None, Field(alias="targetWWNs", max_length=MANY)] = None
    lun: Count | None = None
    fs_type: Word | None = None
    read_only: bool | None = None
    wwids: Annotated[list[Name], Field(max_length=MANY)] | None = None


class FlexVolume(CoreType):
    """core/v1 FlexVolumeSource."""

    driver: Name
    fs_type: Word | None = None
    secret_ref: LocalReference | None = None
    read_only: bool | None = None
    options: Options | None = None


class Volume(CoreType):
    """core/v1 Volume. Clouds whose drivers were removed from Kubernetes mount volumes by CSI."""

    name: Name
    config_map: ConfigMapVolume | None = None
    csi: Csi | None = None
    downward_api: Annotated[DownwardVolume | None, Field(alias="downwardAPI")] = None
    empty_dir: EmptyDirectory | None = None
    ephemeral: Ephemeral | None = None
    fc: FibreChannel | None = None
    flex_volume: FlexVolume | None = None
    host_path: HostPath | None = None
    image: Image | None = None
    iscsi: Iscsi | None = None
    nfs: Nfs | None = None
    persistent_volume_claim: ClaimVolume | None = None
    projected: Projected | None = None
    secret: SecretVolume | None = None
