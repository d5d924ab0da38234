"""The DetectionTraining resource, version v1alpha1: spec and status as pydantic models.

`crd.py` builds the CustomResourceDefinition from them; `cluster/observe` reads the resource and
`cluster/act` writes its status. Numbers that change with time are strings in the status, as the
Kubernetes API conventions require.
"""

from typing import Annotated, Literal

from pydantic import Field

from detection_operator.api.pod_template import (
    Affinity,
    Annotations,
    EnvFrom,
    EnvVariable,
    Labels,
    LocalReference,
    PodSecurityContext,
    Quantities,
    Toleration,
    VolumeMount,
)
from detection_operator.api.times import Time
from detection_operator.api.volumes import Volume
from detection_trainer.contract.base import Contract, Digest, Message, Name, Text
from detection_trainer.contract.report import (
    MAX_CHECKPOINTS,
    MAX_EXPORTS,
    DatasetPin,
    Groups,
    SkippedCheckpoint,
    VariableCounts,
)
from detection_trainer.contract.rules import cel, with_rules
from detection_trainer.contract.schedule import Cycles
from detection_trainer.contract.sources import RestoreMode
from detection_trainer.contract.spec import MAX_PIPELINE_CONFIG, ExportFormat, TrainingSpec
from detection_trainer.contract.spec_rules import RULES

GROUP = "detectiontraining.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "DetectionTraining"
PLURAL = "detectiontrainings"
SINGULAR = "detectiontraining"
SHORT_NAME = "dt"

Decimal = Annotated[str, Field(max_length=32, pattern=r"^-?[0-9]+(\.[0-9]+)?(e[-+]?[0-9]+)?$")]
Metrics = Annotated[dict[str, Decimal], Field(max_length=64)]
Step = Annotated[int, Field(ge=0)]
Reason = Annotated[str, Field(max_length=64)]
Uid = Annotated[str, Field(max_length=64)]
ImageName = Annotated[str, Field(max_length=512)]


class ResourceRequirements(Contract):
    """Resources of each worker's trainer container (core/v1 ResourceRequirements)."""

    limits: Quantities = {}
    """Largest amounts, for example `{nvidia.com/gpu: 1, memory: 32Gi}`."""
    requests: Quantities = {}
    """Amounts that the scheduler reserves, for example `{cpu: "8"}`."""


class PodTemplate(Contract):
    """Settings of the trainer's pods; maps are merged with the operator's, lists are appended."""

    labels: Labels = {}
    """Labels of the pods, and of the Jobs, Services and claims made for the training."""
    annotations: Annotations = {}
    """Annotations of the pods."""
    node_selector: Labels = {}
    """Labels that a node must have."""
    tolerations: Annotated[list[Toleration], Field(max_length=32)] = []
    """Taints that the pods tolerate (core/v1 Toleration), for example those of spot nodes."""
    affinity: Affinity = Affinity()
    """core/v1 Affinity."""
    service_account_name: Name | None = None
    """The ServiceAccount of the pods, for cloud identities; its token is not mounted."""
    image_pull_secrets: Annotated[list[LocalReference], Field(max_length=16)] = []
    """Secrets for the image's registry, each `{name: …}`."""
    priority_class_name: Name | None = None
    """The PriorityClass of the pods."""
    runtime_class_name: Name | None = None
    """The RuntimeClass of the pods, for example `nvidia`."""
    scheduler_name: Name | None = None
    """The scheduler of the pods; absent: the cluster's default."""
    env: Annotated[list[EnvVariable], Field(max_length=64)] = []
    """Environment variables of the trainer (core/v1 EnvVar); the contract's own cannot be replaced.
    """
    env_from: Annotated[list[EnvFrom], Field(max_length=16)] = []
    """Sources of environment variables (core/v1 EnvFromSource)."""
    volumes: Annotated[list[Volume], Field(max_length=32)] = []
    """Additional volumes of the pods (core/v1 Volume), for example for file:// URIs."""
    volume_mounts: Annotated[list[VolumeMount], Field(max_length=32)] = []
    """Where the volumes are mounted in the trainer's container (core/v1 VolumeMount)."""
    security_context: PodSecurityContext = PodSecurityContext()
    """Fields of the pods' security context; they replace the restricted defaults."""


class RetryPolicy(Contract):
    """How often to retry; only attempts that made no new checkpoint count."""

    max_retries: Annotated[int, Field(ge=0, le=1000)] = 6
    """Consecutive attempts without a new checkpoint before the training fails."""
    node_lost_timeout_seconds: Annotated[int, Field(ge=1, le=86400)] = 300
    """Seconds after a pod's grace period until its node counts as lost and the operator deletes the
    pod by force.
    """


class Spec(TrainingSpec):
    """A training, and how its pods run."""

    model_config = with_rules(
        *RULES,
        cel(
            "!has(self.pipelineConfig) || !has(self.pipelineConfig.uri) || "
            "self.preflight != 'Never'",
            "pipelineConfig.uri is read by the preflight's pod: preflight cannot be Never",
        ),
    )

    image: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    """The trainer image; absent: the operator's default. The first attempt pins it in the status.
    """
    resources: ResourceRequirements = ResourceRequirements()
    """Resources of the trainer's container of each worker."""
    pod_template: PodTemplate = PodTemplate()
    """Additional fields of the trainer's pods."""
    preflight: Literal["Auto", "Always", "Never"] = "Auto"
    """Whether a CPU pod checks data, restore source and checkpoint folder before the first attempt.
    `Auto`: if a GPU is requested or weights come from a URI.
    """
    preflight_resources: ResourceRequirements | None = None
    """Resources of the preflight's container; absent: requests of 100m CPU and 256Mi, limits of 1
    and 1Gi.
    """
    suspend: bool = False
    """True saves and stops the training; false resumes it."""
    retry_policy: RetryPolicy = RetryPolicy()
    """How often failed attempts are retried."""
    active_deadline_seconds: Annotated[int, Field(ge=1)] | None = None
    """Seconds that all attempts together may run; queued and suspended time does not count. Absent:
    no limit.
    """
    ttl_seconds_after_finished: Annotated[int, Field(ge=0)] | None = None
    """Seconds after the end until Jobs and pods are deleted; the training and its checkpoints stay.
    Absent: nothing is deleted.
    """


class Condition(Contract):
    """metav1.Condition."""

    type: Annotated[str, Field(max_length=64)]
    status: Literal["True", "False", "Unknown"]
    observed_generation: Annotated[int, Field(ge=0)] = 0
    last_transition_time: Time
    reason: Reason
    message: Message


class CheckpointStatus(Contract):
    """A committed, complete checkpoint in the storage."""

    step: Step
    uri: Text
    digest: Digest
    saved_at: Time
    metrics: Metrics = {}


class ExportStatus(Contract):
    """A model in a format for other programs, committed in storage."""

    format: ExportFormat
    step: Step
    uri: Text
    digest: Digest
    """The digest of the checkpoint that it was made from."""


class ProgressStatus(Contract):
    """The last reported progress of the running attempt."""

    loss: Decimal | None = None
    learning_rate: Decimal | None = None
    steps_per_second: Decimal | None = None
    data_wait_fraction: Decimal | None = None
    checkpoint_seconds: Decimal | None = None
    memory_bytes: Annotated[int, Field(ge=0)] | None = None
    estimated_completion_time: Time | None = None
    reported_at: Time | None = None


class RestoredStatus(Contract):
    """Where the first weights came from."""

    mode: RestoreMode | None = None
    uri: Text
    step: Step | None = None
    digest: Digest | None = None
    variables: VariableCounts
    groups: Groups = {}


class OutcomeStatus(Contract):
    """How an attempt ended."""

    exit_code: int | None = None
    reason: Reason
    message: Message
    differences: Annotated[list[Text], Field(max_length=50)] = []
    dataset: DatasetPin | None = None
    """Set by a preflight that passed: an attempt that finds other files ends with DatasetChanged.
    """
    finished_at: Time | None = None
    """When its pods ended; absent: the trainer sent its last report and has not exited yet."""


class AttemptStatus(Contract):
    """One run of the trainer's pods."""

    number: Annotated[int, Field(ge=1)]
    job_name: Name
    job_uid: Annotated[Uid | None, Field(alias="jobUID")] = None
    """Identifies the pods of this attempt, also after the Job is deleted."""
    image: ImageName
    image_id: Annotated[ImageName | None, Field(alias="imageID")] = None
    """The image that its container runs, as the node reports it (core/v1 ContainerStatus)."""
    created_at: Time
    """When the operator decided to start it."""
    started_at: Time | None = None
    """When its trainer's container started."""
    start_step: Step | None = None
    """The step of the newest checkpoint when the attempt was created: the attempt resumes there."""
    resumed_from_step: Step | None = None
    """The step at which the trainer reports that it resumed."""
    sequence: Annotated[int, Field(ge=0)] | None = None
    """The sequence number of the last report that was applied; absent: none was applied."""
    last_step: Step = 0
    generation: Annotated[int, Field(ge=0)] = 0
    """The generation of the resource from which the attempt was created."""
    target_steps: Annotated[int, Field(ge=0)] = 0
    spec_digest: Digest | None = None
    """The digest of the part of the spec from which its pods were created."""
    outcome: OutcomeStatus | None = None


class Interruption(Contract):
    """An attempt that ended before its target, and the steps that this cost."""

    attempt: Annotated[int, Field(ge=1)]
    time: Time
    reason: Reason
    message: Message = ""
    last_reported_step: Step
    resumed_from_step: Step | None = None
    steps_lost: Annotated[int, Field(ge=0)] | None = None
    """A lower bound after a hard kill: the steps since the last report are not known."""


class PreflightStatus(Contract):
    """The preflight before the first attempt."""

    job_name: Name
    created_at: Time
    generation: Annotated[int, Field(ge=0)] = 0
    outcome: OutcomeStatus | None = None


class ScheduleStatus(Contract):
    """The values that the schedule's defaults resolved to."""

    decay_steps: Annotated[int, Field(ge=1)]
    cycles: Cycles


class PipelineConfigStatus(Contract):
    """The pipeline.config of the training; the text does not change once there is a checkpoint."""

    digest: Digest
    text: Annotated[str, Field(max_length=MAX_PIPELINE_CONFIG)]
    uri: Text | None = None
    """Where the preflight read it."""
    passed_over: Annotated[list[Text], Field(max_length=200)] = []
    """Settings that are ignored or applied in another way, each with its line and the reason."""


class RetryStatus(Contract):
    """The number of consecutive attempts without a new checkpoint, and when the next may start."""

    count: Annotated[int, Field(ge=0)] = 0
    not_before: Time | None = None


class Status(Contract):
    """The observed state; only the operator writes it."""

    observed_generation: int = -1
    phase: Annotated[str, Field(max_length=32)] = "Pending"
    conditions: Annotated[list[Condition], Field(max_length=16)] = []
    classes: Annotated[list[Annotated[str, Field(max_length=128)]], Field(max_length=1000)] = []
    step: Step = 0
    target_steps: Step | None = None
    progress: ProgressStatus | None = None
    restored: RestoredStatus | None = None
    checkpoints: Annotated[list[CheckpointStatus], Field(max_length=MAX_CHECKPOINTS)] = []
    checkpoint_count: Annotated[int, Field(ge=0)] = 0
    latest_checkpoint: CheckpointStatus | None = None
    best_checkpoint: CheckpointStatus | None = None
    exports: Annotated[list[ExportStatus], Field(max_length=MAX_EXPORTS)] = []
    skipped_checkpoints: Annotated[list[SkippedCheckpoint], Field(max_length=20)] = []
    attempt_count: Annotated[int, Field(ge=0)] = 0
    current_attempt: AttemptStatus | None = None
    preflight: PreflightStatus | None = None
    retries: RetryStatus = RetryStatus()
    interruptions: Annotated[list[Interruption], Field(max_length=20)] = []
    interruption_count: Annotated[int, Field(ge=0)] = 0
    steps_lost: Annotated[int, Field(ge=0)] = 0
    metrics: Metrics = {}
    schedule: ScheduleStatus | None = None
    pipeline_config: PipelineConfigStatus | None = None
    pending_changes: Annotated[list[Name], Field(max_length=32)] = []
    image: ImageName | None = None
    """The trainer image, pinned at the first attempt."""
    image_digest: Digest | None = None
    """The digest of `image` in the first attempt; later attempts run it. Absent: no registry has
    it.
    """
    start_time: Time | None = None
    completion_time: Time | None = None
    active_seconds: Annotated[int, Field(ge=0)] = 0
    """Seconds that ended attempts were active; `activeDeadlineSeconds` limits them."""

    def condition(self, about: str) -> Condition | None:
        """Return the condition of this type; None if there is none."""
        return next((known for known in self.conditions if known.type == about), None)
