"""Condition types, phases and reasons, with the texts of the reference.

Ready, Reconciling and Stalled follow kstatus; this project defines the others.
"""

from enum import StrEnum


class ConditionType(StrEnum):
    """The type of a condition."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    COMPLETE = "Complete"
    FAILED = "Failed"
    SUSPENDED = "Suspended"
    RESTORED = "Restored"


CONDITION_HELP: dict[ConditionType, str] = {
    ConditionType.READY: "True once the training is accepted, while it makes progress and once it "
    "is complete: GitOps tools wait for it (kstatus). Its reason and message state what "
    "happens now.",
    ConditionType.RECONCILING: "True until the training is accepted: it is being checked, or waits "
    "for the training that it starts from (kstatus).",
    ConditionType.STALLED: "True if a person must change the spec or the cluster (kstatus): the "
    "message states what. A missing object, such as a Secret, counts after one minute.",
    ConditionType.COMPLETE: "True once all steps are trained.",
    ConditionType.FAILED: "True once the training has failed and is not retried.",
    ConditionType.SUSPENDED: "True once spec.suspend has stopped the training; the message states "
    "what was saved.",
    ConditionType.RESTORED: "True once the trainer has reported the source of the initial weights.",
}
"""What each condition means; the reference is generated from it."""


class Phase(StrEnum):
    """The conditions in one word, for people; programs read the conditions."""

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
    Phase.PENDING: "Not started: waits for the training that it starts from.",
    Phase.PREFLIGHT: "A CPU pod checks data, restore source and checkpoint folder before a GPU is "
    "allocated.",
    Phase.QUEUED: "The attempt is created; its pod waits for a node, an image, a volume or a "
    "queue.",
    Phase.STARTING: "The trainer is running and has not reported a step yet.",
    Phase.RUNNING: "The trainer is training, or saving before it stops.",
    Phase.RETRYING: "An attempt ended early; the operator starts the next one after a back-off.",
    Phase.SUSPENDING: "spec.suspend is set; the trainer saves and stops.",
    Phase.SUSPENDED: "Nothing is running and everything is kept; spec.suspend: false resumes the "
    "training.",
    Phase.COMPLETE: "All steps are trained; a higher spec.steps resumes the training.",
    Phase.REFUSED: "The training cannot run with this spec: the Stalled condition states what to "
    "change.",
    Phase.FAILED: "The training failed and is not retried until the spec changes: the Stalled "
    "condition states why.",
}
"""What each phase means; the reference is generated from it."""


class Reason(StrEnum):
    """The cause that a condition or an Event reports."""

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
    # Failed; the names are those of the trainer's exit codes, if it reported one
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
    Reason.ACCEPTED: "The spec is valid; the training is running, complete or suspended.",
    Reason.WAITING_FOR_SOURCE: "Wait until the source training has the requested checkpoint, or "
    "name a step that it already has (trainingRef.step).",
    Reason.PREFLIGHT_RUNNING: "Wait: a CPU pod checks data, restore source and checkpoint folder.",
    Reason.ATTEMPT_CREATED: "Wait: the operator creates the Job of the attempt.",
    Reason.UNSCHEDULABLE: "No node fits the pod: compare spec.resources and podTemplate with the "
    "nodes, or wait for a node to become free.",
    Reason.IMAGE_PULL_FAILED: "The trainer image cannot be pulled. If the message reports that the "
    "image does not exist or that access is denied, correct spec.image or "
    "podTemplate.imagePullSecrets. If the registry does not answer, wait: the node retries.",
    Reason.POD_REJECTED: "The cluster refuses the pod (pod security, quota): the message names the "
    "rule; change the namespace or spec.podTemplate.",
    Reason.JOB_REJECTED: "The API server refuses to create the Job or an object that it needs: a "
    "quota, an admission policy, a webhook that is down, or a field of spec.podTemplate. The "
    "message quotes the API server. Correct the cause; the operator retries.",
    Reason.NAME_TAKEN: "An object that does not belong to this training has the name of its Job, "
    "Service or claim: delete or rename that object, or give the training another name. The "
    "operator retries.",
    Reason.OBJECT_OUTDATED: "An object was created from an older spec, is not in use yet, and "
    "cannot be changed: delete it as the message states; the operator creates it again.",
    Reason.SIDECAR_RUNNING: "A container beside the trainer did not end with it, so the operator "
    "deleted the Job: make it a native sidecar (an init container with restartPolicy: "
    "Always).",
    Reason.BEING_DELETED: "The training is being deleted: the trainer saves and stops. Finalizers "
    "of other controllers delay the deletion.",
    Reason.QUEUED: "Wait: the Job waits in its queue, such as Kueue's.",
    Reason.POD_PENDING: "Wait: the Job has no pod yet, or the pod waits for a node, a volume or "
    "its image.",
    Reason.STARTING: "Wait: the trainer loads data and weights before its first report.",
    Reason.TRAINING: "Nothing to do: status.step and status.progress show the progress.",
    Reason.BACKING_OFF: "The last attempt saved no new checkpoint; the operator retries. If the "
    "same cause repeats, look at status.interruptions and at the log of the Job's pod.",
    Reason.NODE_LOST: "The node does not answer: after retryPolicy.nodeLostTimeoutSeconds the "
    "operator ends the attempt, and the next one resumes from the newest checkpoint.",
    Reason.SAVING: "Wait: the trainer saves and stops; the next attempt starts once the Job has "
    "ended.",
    Reason.RESUMED: "A new attempt resumed from the newest checkpoint; the message states how many "
    "steps were lost.",
    Reason.CHECKPOINT_SKIPPED: "A checkpoint is damaged and the one before it was used: check the "
    "storage.",
    Reason.NETWORK_POLICY_RESET: "The NetworkPolicy of the workers was changed, and the operator "
    "restored it: to admit other pods, add a NetworkPolicy of your own.",
    Reason.TARGET_REACHED: "Nothing to do; raise spec.steps to train more.",
    Reason.EARLY_STOPPED: "The metric of earlyStopping did not improve for earlyStopping.patience "
    "evaluations; the best checkpoint is kept. Raise spec.steps to train more: the count of "
    "evaluations starts again.",
    Reason.SUSPENDED_BY_USER: "Set spec.suspend: false to resume.",
    Reason.NOT_SUSPENDED: "Nothing to do: spec.suspend is not set.",
    Reason.IN_PROGRESS: "Wait: the target has not been reached.",
    Reason.NOT_FAILED: "Nothing to do.",
    Reason.NOT_STALLED: "Nothing to do.",
    Reason.RESTORED_FROM_SOURCE: "The initial weights came from spec.restore; status.restored "
    "names the checkpoint.",
    Reason.CONTINUED_FROM_SOURCE: "The training continued spec.continueFrom, with its step and "
    "optimizer state; status.restored names the checkpoint.",
    Reason.FROM_SCRATCH: "Neither spec.restore nor spec.continueFrom is set.",
    Reason.RESTORE_PENDING: "Wait: the trainer has not reported what it restored.",
    Reason.INVALID_SPEC: "Correct the fields that the message names.",
    Reason.UNREADABLE: "The operator cannot read the status, or a Job or pod of the training: "
    "correct or delete what the message names. Running pods keep running; the operator "
    "changes nothing until then.",
    Reason.RESTORE_REFUSED: "The source does not fit: the message names the variables that differ "
    "and the restore mode that fits.",
    Reason.SOURCE_NOT_FOUND: "Create the training that trainingRef names, or correct the name; "
    "this training starts once the source exists.",
    Reason.SOURCE_HAS_NO_CHECKPOINT: "The training that trainingRef names ended without the "
    "requested checkpoint: name another training, or another step.",
    Reason.LEARNING_RATE_ZERO: "The learning rate would be 0 for the steps beyond the schedule: "
    "set optimizer.schedule.onExtend: Restart, or a finalFraction above 0.",
    Reason.SEVERAL_WORKERS_DISABLED: "The administrator does not allow several workers: set "
    "workers: 1, or ask the administrator to allow several workers (the chart's value "
    "trainer.severalWorkers).",
    Reason.STORAGE_IN_USE: "The checkpoint folder belongs to another training: choose another in "
    "spec.checkpoints.storage.",
    Reason.STORAGE_UNSUPPORTED: "The storage ignores conditional create, which keeps two trainers "
    "apart: use a version of the server that supports it, or another storage or volume.",
    Reason.INVALID_CONFIG: "The trainer cannot run this spec: correct the fields that the message "
    "names.",
    Reason.DATA_INVALID: "Correct the files that the message names, or raise "
    "dataset.maxBadRecords.",
    Reason.DATASET_CHANGED: "The training set, or the classes of its label map, have changed since "
    "the check or since the run began: restore the files. Before the first checkpoint, any "
    "change of the spec checks them again; after it, create a new training with continueFrom, "
    "or with restore if the classes differ.",
    Reason.NON_FINITE_LOSS: "The loss became NaN or infinite: lower optimizer.learningRate or set "
    "gradientClipNorm, in a new training.",
    Reason.CHECKPOINT_MISSING: "A recorded checkpoint is missing in the storage: put it back, or "
    "create a new training; a run never restarts from step 0 by itself.",
    Reason.NOT_FOUND: "A URI in the spec does not exist: correct it.",
    Reason.ACCESS_DENIED: "A storage refuses the credentials: correct the Secret in "
    "spec.credentials, or its permissions. A run that has a checkpoint retries first, because "
    "keys may be in the middle of a rotation.",
    Reason.RETRIES_EXHAUSTED: "Too many attempts in a row saved no checkpoint: fix the cause that "
    "the message names, then change the spec to retry.",
    Reason.DEADLINE_EXCEEDED: "The training was active for activeDeadlineSeconds: raise the value "
    "to resume from the newest checkpoint.",
    Reason.SUSPENDED: "spec.suspend stopped the attempt, and the trainer did not save in time: "
    "raise the chart's trainer.terminationGracePeriodSeconds.",
    Reason.STEPS_LOWERED: "spec.steps was lowered below the step that the attempt had reached, so "
    "the attempt was stopped.",
    Reason.SAVED: "The trainer was asked to stop and saved; the next attempt resumes from that "
    "checkpoint.",
    Reason.PREEMPTED: "A pod of higher priority preempted this one; the operator starts the next "
    "attempt.",
    Reason.EVICTED: "The node was drained, tainted or short of a resource; the operator starts the "
    "next attempt.",
    Reason.POD_DELETED: "The pod was deleted; the operator starts the next attempt. Use "
    "spec.suspend to stop a training.",
    Reason.JOB_DELETED: "The Job was deleted; the operator creates another. Use spec.suspend to "
    "stop a training.",
    Reason.KILLED: "The trainer was killed with SIGKILL: look at the node.",
    Reason.OUT_OF_MEMORY: "The trainer ran out of memory: raise spec.resources.limits.memory, "
    "choose a GPU with more memory, or lower batchSize.",
    Reason.STORAGE_UNAVAILABLE: "The storage did not answer: check its address and its health.",
    Reason.STORAGE_FULL: "The storage is full: free space, or lower checkpoints.keepLast.",
    Reason.SUPERSEDED: "A later attempt already owned the folder; the next attempt takes ownership "
    "of it.",
    Reason.PEER_LOST: "Another worker ended or did not start, so the attempt ended for all "
    "workers: the next attempt starts them together.",
    Reason.CONFIG_CHANGED: "The attempt's configuration was edited on its pod; the operator writes "
    "it again for the next attempt.",
    Reason.START_FAILED: "The trainer could not be started: the message names the Secret, volume, "
    "command, init container or node at fault.",
    Reason.REPORT_MISSING: "The trainer finished, and its last report did not arrive: check that "
    "pods reach the operator's Service (NetworkPolicies).",
    Reason.UNEXPECTED: "The trainer failed for a reason that has no name of its own: look at the "
    "log of the Job's pod.",
}
"""What each reason means and what to do about it; the reference is generated from it."""
