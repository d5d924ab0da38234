"""The DetectionTraining resource, version v1alpha1: spec and status as pydantic models.

`crd.py` turns them into the CustomResourceDefinition; gather and apply read and write them.
Numbers that change with time are strings in the status, as the Kubernetes API conventions ask.
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
from detection_trainer.contract.spec import (
    MAX_PIPELINE_CONFIG,
    RULES,
    ExportFormat,
    RestoreMode,
    TrainingSpec,
)

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
    """core/v1 ResourceRequirements of the trainer's container, each worker."""

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
    """Taints that the pods tolerate (core/v1 Toleration), as those of spot nodes."""
    affinity: Affinity = Affinity()
    """core/v1 Affinity."""
    service_account_name: Name | None = None
    """The ServiceAccount of the pods, for cloud identities; its token is not mounted."""
    image_pull_secrets: Annotated[list[LocalReference], Field(max_length=16)] = []
    """Secrets for the image's registry, each `{name: …}`."""
    priority_class_name: Name | None = None
    """The PriorityClass of the pods."""
    runtime_class_name: Name | None = None
    """The RuntimeClass of the pods, as `nvidia`."""
    scheduler_name: Name | None = None
    """The scheduler of the pods; absent: the cluster's default."""
    env: Annotated[list[EnvVariable], Field(max_length=64)] = []
    """Environment variables of the trainer (core/v1 EnvVar); the contract's own cannot be replaced.
    """
    env_from: Annotated[list[EnvFrom], Field(max_length=16)] = []
    """Sources of environment variables (core/v1 EnvFromSource)."""
    volumes: Annotated[list[Volume], Field(max_length=32)] = []
    """Further volumes of the pods (core/v1 Volume), as for file:// URIs."""
    volume_mounts: Annotated[list[VolumeMount], Field(max_length=32)] = []
    """Where they are mounted in the trainer's container (core/v1 VolumeMount)."""
    security_context: PodSecurityContext = PodSecurityContext()
    """Fields of the pods' security context; they replace the restricted defaults."""


class RetryPolicy(Contract):
    """How often to try again; only attempts that made no new checkpoint count."""

    max_retries: Annotated[int, Field(ge=0, le=1000)] = 6
    """Attempts in a row without a new checkpoint before the training fails."""
    node_lost_timeout_seconds: Annotated[int, Field(ge=1, le=86400)] = 300
    """Seconds beyond a pod's grace period after which its node counts as lost and the pod is
    deleted by force.
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
    """Absent: the operator's default; pinned in the status at the first attempt."""
    resources: ResourceRequirements = ResourceRequirements()
    """Resources of the trainer's container, each worker."""
    pod_template: PodTemplate = PodTemplate()
    """Further fields of the trainer's pods."""
    preflight: Literal["Auto", "Always", "Never"] = "Auto"
    """Whether a CPU pod checks data, restore source and checkpoint folder before the first attempt.
    `Auto`: where a GPU is asked for or weights come from a URI.
    """
    preflight_resources: ResourceRequirements | None = None
    """Of the preflight's container; absent: requests of 100m CPU and 256Mi, limits of 1 and 1Gi."""
    suspend: bool = False
    """Whether the training is to stop: the trainer saves first, and false resumes."""
    retry_policy: RetryPolicy = RetryPolicy()
    """How often failed attempts are retried."""
    active_deadline_seconds: Annotated[int, Field(ge=1)] | None = None
    """Seconds that the attempts may run in all; queued and suspended time does not count. Absent:
    no limit.
    """
    ttl_seconds_after_finished: Annotated[int, Field(ge=0)] | None = None
    """Seconds after the end when Jobs and pods are deleted; never the training or its checkpoints.
    Absent: they stay.
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
    """Of the weights: that of the checkpoint it was made from."""


class ProgressStatus(Contract):
    """How the running attempt does, as it last reported."""

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
    """Of a preflight that passed: attempts that find other files end with DatasetChanged."""
    finished_at: Time | None = None
    """When its pods had ended; absent: the trainer sent its last report and has not exited yet."""


class AttemptStatus(Contract):
    """One run of the trainer's pods."""

    number: Annotated[int, Field(ge=1)]
    job_name: Name
    job_uid: Annotated[Uid | None, Field(alias="jobUID")] = None
    """Proves which pods are of this attempt, also once the Job is gone."""
    image: ImageName
    image_id: Annotated[ImageName | None, Field(alias="imageID")] = None
    """The image that its container runs, in the node's words (core/v1 ContainerStatus)."""
    created_at: Time
    """When the operator decided on it."""
    started_at: Time | None = None
    """When its trainer's container started."""
    start_step: Step | None = None
    """The newest checkpoint when the attempt was created: where it resumes."""
    resumed_from_step: Step | None = None
    """The step at which the trainer reports that it resumed."""
    sequence: Annotated[int, Field(ge=0)] | None = None
    """The last report that was applied; absent: none so far."""
    last_step: Step = 0
    generation: Annotated[int, Field(ge=0)] = 0
    """The resource's generation that it was made from."""
    target_steps: Annotated[int, Field(ge=0)] = 0
    spec_digest: Digest | None = None
    """Of the part of the spec that its pods were made from."""
    outcome: OutcomeStatus | None = None


class Interruption(Contract):
    """An attempt that ended before its target, and what that cost."""

    attempt: Annotated[int, Field(ge=1)]
    time: Time
    reason: Reason
    message: Message = ""
    last_reported_step: Step
    resumed_from_step: Step | None = None
    steps_lost: Annotated[int, Field(ge=0)] | None = None
    """A lower bound after a hard kill: what was done since the last report is not known."""


class PreflightStatus(Contract):
    """The check before the first attempt."""

    job_name: Name
    created_at: Time
    generation: Annotated[int, Field(ge=0)] = 0
    outcome: OutcomeStatus | None = None


class ScheduleStatus(Contract):
    """What the schedule's defaults became."""

    decay_steps: Annotated[int, Field(ge=1)]
    cycles: Cycles


class PipelineConfigStatus(Contract):
    """The pipeline.config that the training is made of: the text stays once it has a checkpoint."""

    digest: Digest
    text: Annotated[str, Field(max_length=MAX_PIPELINE_CONFIG)]
    uri: Text | None = None
    """Where the preflight read it."""
    passed_over: Annotated[list[Text], Field(max_length=200)] = []
    """Settings that are ignored or done in another way, each with its line and the reason."""


class RetryStatus(Contract):
    """How many attempts in a row made no new checkpoint, and when the next one may start."""

    count: Annotated[int, Field(ge=0)] = 0
    not_before: Time | None = None


class Status(Contract):
    """What was observed; written by the operator alone."""

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
    """Of `image` as the first attempt ran it: later ones run this. Absent: no registry has it."""
    start_time: Time | None = None
    completion_time: Time | None = None
    active_seconds: Annotated[int, Field(ge=0)] = 0
    """Time that ended attempts were active; what `activeDeadlineSeconds` bounds."""

    def condition(self, about: str) -> Condition | None:
        """Return the condition of this type, if there is one."""
        return next((told for told in self.conditions if told.type == about), None)
