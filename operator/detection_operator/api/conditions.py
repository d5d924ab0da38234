"""Condition types, phases and reasons: the enums that the reference documents.

Ready, Reconciling and Stalled follow kstatus; Complete, Failed, Suspended and Restored are ours.
"""

from enum import StrEnum


class ConditionType(StrEnum):
    """What a condition is about."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    COMPLETE = "Complete"
    FAILED = "Failed"
    SUSPENDED = "Suspended"
    RESTORED = "Restored"


CONDITION_HELP: dict[ConditionType, str] = {
    ConditionType.READY: "True once the training is accepted, while it goes as it should and once "
    "it is complete: GitOps tools wait for it (kstatus). Its reason and message say what happens "
    "now.",
    ConditionType.RECONCILING: "True while it is yet to be accepted: it is checked, or waits for "
    "the training that it starts from (kstatus).",
    ConditionType.STALLED: "True where a person must change the spec or the cluster (kstatus): "
    "its message says what. Something that is missing, as a Secret, counts after a minute.",
    ConditionType.COMPLETE: "True once all steps are trained.",
    ConditionType.FAILED: "True once it ended and is not tried again.",
    ConditionType.SUSPENDED: "True once spec.suspend has stopped it; its message says what was "
    "saved.",
    ConditionType.RESTORED: "True once the trainer has told what the first weights came from.",
}
"""What each condition says; the reference is generated from it."""


class Phase(StrEnum):
    """One word for people; machines read conditions."""

    PENDING = "Pending"
    PREFLIGHT = "Preflight"
    QUEUED = "Queued"
    STARTING = "Starting"
    RUNNING = "Running"
    RETRYING = "Retrying"
    SUSPENDING = "Suspending"
    SUSPENDED = "Suspended"
    COMPLETE = "Complete"
    REFUSED = "Refused"
    FAILED = "Failed"


PHASE_HELP: dict[Phase, str] = {
    Phase.PENDING: "Not started: it waits for the training that it starts from.",
    Phase.PREFLIGHT: "A CPU pod checks data, restore source and checkpoint folder before a GPU is "
    "taken.",
    Phase.QUEUED: "The attempt is made; its pod waits for a node, an image, a volume or a queue.",
    Phase.STARTING: "The trainer runs and has not reported a step yet.",
    Phase.RUNNING: "The trainer trains, or saves before it stops.",
    Phase.RETRYING: "An attempt ended early; the next one follows by itself after a back-off.",
    Phase.SUSPENDING: "spec.suspend is set; the trainer saves and stops.",
    Phase.SUSPENDED: "Nothing runs, everything is kept; spec.suspend: false goes on.",
    Phase.COMPLETE: "All steps are trained; raised steps go on.",
    Phase.REFUSED: "It cannot run as it is written: the Stalled condition says what to change.",
    Phase.FAILED: "It ended and is not tried again until the spec changes: the Stalled condition "
    "says why.",
}
"""What each phase means; the reference is generated from it."""


class Reason(StrEnum):
    """Why a condition is as it is, or what an event tells."""

    # Under way
    ACCEPTED = "Accepted"
    WAITING_FOR_SOURCE = "WaitingForSource"
    PREFLIGHT_RUNNING = "PreflightRunning"
    ATTEMPT_CREATED = "AttemptCreated"
    UNSCHEDULABLE = "Unschedulable"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    POD_REJECTED = "PodRejected"
    JOB_REJECTED = "JobRejected"
    NAME_TAKEN = "NameTaken"
    OBJECT_OUTDATED = "ObjectOutdated"
    SIDECAR_RUNNING = "SidecarRunning"
    BEING_DELETED = "BeingDeleted"
    QUEUED = "Queued"
    POD_PENDING = "PodPending"
    STARTING = "Starting"
    TRAINING = "Training"
    BACKING_OFF = "BackingOff"
    NODE_LOST = "NodeLost"
    SAVING = "Saving"
    RESUMED = "Resumed"
    NETWORK_POLICY_RESET = "NetworkPolicyReset"
    CHECKPOINT_SKIPPED = "CheckpointSkipped"
    # Ended well
    TARGET_REACHED = "TargetReached"
    EARLY_STOPPED = "EarlyStopped"
    SUSPENDED_BY_USER = "SuspendedByUser"
    NOT_SUSPENDED = "NotSuspended"
    IN_PROGRESS = "InProgress"
    NOT_FAILED = "NotFailed"
    NOT_STALLED = "NotStalled"
    # Restored
    RESTORED_FROM_SOURCE = "RestoredFromSource"
    CONTINUED_FROM_SOURCE = "ContinuedFromSource"
    FROM_SCRATCH = "FromScratch"
    RESTORE_PENDING = "RestorePending"
    # Refused: the spec must change
    INVALID_SPEC = "InvalidSpec"
    UNREADABLE = "Unreadable"
    RESTORE_REFUSED = "RestoreRefused"
    SOURCE_NOT_FOUND = "SourceNotFound"
    SOURCE_HAS_NO_CHECKPOINT = "SourceHasNoCheckpoint"
    LEARNING_RATE_ZERO = "LearningRateZero"
    STORAGE_IN_USE = "StorageInUse"
    SEVERAL_WORKERS_DISABLED = "SeveralWorkersDisabled"
    STORAGE_UNSUPPORTED = "StorageUnsupported"
    # Ended badly, named after the trainer's exit codes where it said so
    INVALID_CONFIG = "InvalidConfig"
    DATA_INVALID = "DataInvalid"
    DATASET_CHANGED = "DatasetChanged"
    NON_FINITE_LOSS = "NonFiniteLoss"
    CHECKPOINT_MISSING = "CheckpointMissing"
    NOT_FOUND = "NotFound"
    ACCESS_DENIED = "AccessDenied"
    RETRIES_EXHAUSTED = "RetriesExhausted"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    # Why an attempt was interrupted
    SUSPENDED = "Suspended"
    STEPS_LOWERED = "StepsLowered"
    SAVED = "Saved"
    PREEMPTED = "Preempted"
    EVICTED = "Evicted"
    POD_DELETED = "PodDeleted"
    JOB_DELETED = "JobDeleted"
    KILLED = "Killed"
    OUT_OF_MEMORY = "OutOfMemory"
    STORAGE_UNAVAILABLE = "StorageUnavailable"
    STORAGE_FULL = "StorageFull"
    SUPERSEDED = "Superseded"
    CONFIG_CHANGED = "ConfigChanged"
    PEER_LOST = "PeerLost"
    START_FAILED = "StartFailed"
    REPORT_MISSING = "ReportMissing"
    UNEXPECTED = "Unexpected"


REASON_HELP: dict[Reason, str] = {
    Reason.ACCEPTED: "The spec holds; the training is under way or settled.",
    Reason.WAITING_FOR_SOURCE: "Wait until the training that it starts from has the checkpoint "
    "asked for, or name a step that it already has (trainingRef.step).",
    Reason.PREFLIGHT_RUNNING: "Wait: a CPU pod checks data, restore source and checkpoint folder.",
    Reason.ATTEMPT_CREATED: "The Job of an attempt is being made.",
    Reason.UNSCHEDULABLE: "No node fits the pod: compare spec.resources and podTemplate with the "
    "nodes, or wait for one to become free.",
    Reason.IMAGE_PULL_FAILED: "The trainer image cannot be pulled. Where the message says that it "
    "does not exist or may not be pulled, correct spec.image or podTemplate.imagePullSecrets. A "
    "registry that does not answer is waited for.",
    Reason.POD_REJECTED: "The cluster refuses the pod (pod security, quota): the message says "
    "which rule; change the namespace or spec.podTemplate.",
    Reason.JOB_REJECTED: "The API server does not create the Job, or what it needs: a quota, an "
    "admission policy, a webhook that is down, or a field of spec.podTemplate. The message quotes "
    "it. Correct that; the operator retries.",
    Reason.NAME_TAKEN: "An object that is not this training's has the name of its Job, Service "
    "or claim: delete or rename it, or name the training otherwise; it goes on by itself.",
    Reason.OBJECT_OUTDATED: "An object was created from an older spec, still waits, and cannot be "
    "changed: delete it as the message says; the operator creates it anew.",
    Reason.SIDECAR_RUNNING: "A container beside the trainer did not end with it, so the operator "
    "deleted the Job: make it a native sidecar (an init container with restartPolicy: Always).",
    Reason.BEING_DELETED: "The training is being deleted: the trainer saves and stops. Finalizers "
    "of others hold the deletion up.",
    Reason.QUEUED: "Wait: the Job waits in its queue, such as Kueue's.",
    Reason.POD_PENDING: "Wait: the Job has no pod yet, or the pod waits for a node, a volume or "
    "its image.",
    Reason.STARTING: "Wait: the trainer loads data and weights before its first report.",
    Reason.TRAINING: "Nothing to do: status.step and status.progress show how far it is.",
    Reason.BACKING_OFF: "The last attempt made no new checkpoint; another follows by itself. If "
    "the same cause repeats, look at status.interruptions and at the Job's pod log.",
    Reason.NODE_LOST: "The node does not answer: after retryPolicy.nodeLostTimeoutSeconds the "
    "attempt is given up, and another goes on from the newest checkpoint.",
    Reason.SAVING: "Wait: the trainer saves and stops; another attempt starts once its Job has "
    "ended.",
    Reason.RESUMED: "A new attempt went on from the newest checkpoint; the message says what was "
    "lost.",
    Reason.CHECKPOINT_SKIPPED: "A checkpoint is damaged and the one before it was used: check the "
    "storage.",
    Reason.NETWORK_POLICY_RESET: "Somebody changed the NetworkPolicy of the workers, and the "
    "operator has undone it: to admit other pods, add a NetworkPolicy of your own.",
    Reason.TARGET_REACHED: "Nothing to do; raise spec.steps to train on.",
    Reason.EARLY_STOPPED: "The evaluations stopped rising, as earlyStopping says; the best "
    "checkpoint is kept. Raise spec.steps to train on: the evaluations are counted anew.",
    Reason.SUSPENDED_BY_USER: "Set spec.suspend: false to go on.",
    Reason.NOT_SUSPENDED: "Nothing to do: spec.suspend is not set.",
    Reason.IN_PROGRESS: "Wait: the target has not been reached.",
    Reason.NOT_FAILED: "Nothing to do.",
    Reason.NOT_STALLED: "Nothing to do.",
    Reason.RESTORED_FROM_SOURCE: "The first weights came from spec.restore; status.restored says "
    "which.",
    Reason.CONTINUED_FROM_SOURCE: "The training went on from spec.continueFrom, step and optimizer "
    "included; status.restored says from where.",
    Reason.FROM_SCRATCH: "Neither spec.restore nor spec.continueFrom is set.",
    Reason.RESTORE_PENDING: "Wait: the trainer has not reported what it restored.",
    Reason.INVALID_SPEC: "Correct the fields that the message names.",
    Reason.UNREADABLE: "The status, or a Job or pod of the training, holds what the operator "
    "cannot read: correct or delete what the message names. What runs goes on; nothing is decided.",
    Reason.RESTORE_REFUSED: "The source does not fit: the message names the variables that differ "
    "and the restore mode that fits.",
    Reason.SOURCE_NOT_FOUND: "Create the training that trainingRef names, or correct the name; "
    "this one goes on by itself once it is there.",
    Reason.SOURCE_HAS_NO_CHECKPOINT: "The training that trainingRef names ended without the "
    "checkpoint asked for: name another, or another step.",
    Reason.LEARNING_RATE_ZERO: "Steps beyond the schedule would learn nothing: set "
    "optimizer.schedule.onExtend: Restart, or a finalFraction above 0.",
    Reason.SEVERAL_WORKERS_DISABLED: "Set workers: 1, or ask the administrator to allow several "
    "workers (the chart's value trainer.severalWorkers).",
    Reason.STORAGE_IN_USE: "The checkpoint folder belongs to another training: choose another in "
    "spec.checkpoints.storage.",
    Reason.STORAGE_UNSUPPORTED: "The storage ignores conditional create, which keeps two trainers "
    "apart: use a version of the server that supports it, or another storage or volume.",
    Reason.INVALID_CONFIG: "The trainer cannot run this spec: correct the fields that the message "
    "names.",
    Reason.DATA_INVALID: "Correct the files that the message names, or raise "
    "dataset.maxBadRecords.",
    Reason.DATASET_CHANGED: "The training set, or the classes of its label map, are not those that "
    "were checked, or that the run began with: bring the files back. Before the first checkpoint "
    "any change of the spec checks them anew; after it, make a new training with continueFrom, or "
    "with restore where the classes differ.",
    Reason.NON_FINITE_LOSS: "The loss became NaN or infinite: lower optimizer.learningRate or set "
    "gradientClipNorm, in a new training.",
    Reason.CHECKPOINT_MISSING: "Storage no longer holds a recorded checkpoint: put it back, or "
    "make a new training; it never restarts from zero by itself.",
    Reason.NOT_FOUND: "A place that the spec names does not exist: correct its URI.",
    Reason.ACCESS_DENIED: "A place refuses the credentials: correct the Secret in "
    "spec.credentials, or its rights. A run that has a checkpoint retries first, since keys may be "
    "in the middle of a rotation.",
    Reason.RETRIES_EXHAUSTED: "Too many attempts in a row made no checkpoint: mend the cause that "
    "the message names; any change of the spec tries again.",
    Reason.DEADLINE_EXCEEDED: "It was active for activeDeadlineSeconds: raise that to go on from "
    "the newest checkpoint.",
    Reason.SUSPENDED: "spec.suspend stopped the attempt, and it did not save in time: raise the "
    "operator's terminationGraceSeconds.",
    Reason.STEPS_LOWERED: "spec.steps was lowered below what the attempt had reached, so it was "
    "stopped.",
    Reason.SAVED: "The trainer was asked to stop and saved; another attempt goes on from there.",
    Reason.PREEMPTED: "A pod of higher priority took the place; another attempt goes on by itself.",
    Reason.EVICTED: "The node was drained, tainted or short of a resource; another attempt goes on "
    "by itself.",
    Reason.POD_DELETED: "Somebody deleted the pod; another attempt goes on by itself. Use "
    "spec.suspend to stop a training.",
    Reason.JOB_DELETED: "Somebody deleted the Job; another is made. Use spec.suspend to stop a "
    "training.",
    Reason.KILLED: "The trainer was killed with SIGKILL: look at the node.",
    Reason.OUT_OF_MEMORY: "Memory did not suffice: raise spec.resources.limits.memory, or choose a "
    "GPU with more, or a smaller batchSize.",
    Reason.STORAGE_UNAVAILABLE: "The storage did not answer: check its address and its health.",
    Reason.STORAGE_FULL: "The storage is full: make room, or lower checkpoints.keepLast.",
    Reason.SUPERSEDED: "A later attempt owned the folder already; the next one takes over.",
    Reason.PEER_LOST: "Another worker ended or did not come, and so the attempt ended for "
    "all: the next one starts them together.",
    Reason.CONFIG_CHANGED: "The attempt's document was edited on its pod; the next attempt gets "
    "its own.",
    Reason.START_FAILED: "The container could not be started: the message names the Secret, "
    "volume or command at fault.",
    Reason.REPORT_MISSING: "The trainer finished, and its last report never came: check that pods "
    "reach the operator's Service (NetworkPolicies).",
    Reason.UNEXPECTED: "The trainer failed in a way that has no reason of its own: look at the "
    "Job's pod log.",
}
"""What each reason tells the user to do; the reference is generated from it."""
