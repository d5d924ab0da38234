"""Builds the manifests of a run from what its checkpoints share and what is specific to one."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from detection_trainer.checkpoints.format import Snapshot
from detection_trainer.checkpoints.manifest import (
    FORMAT_VERSION,
    DataPosition,
    Environment,
    FileRecord,
    Manifest,
    Patience,
    VariableRecord,
)
from detection_trainer.contract.report import Restored
from detection_trainer.contract.schedule import Cycle
from detection_trainer.contract.spec import TrainingSpec, config_digest
from detection_trainer.contract.training import Identity


@dataclass(frozen=True, slots=True)
class RunDescription:
    """The values that all checkpoints of an attempt share."""

    identity: Identity
    spec: TrainingSpec
    attempt: int
    classes: list[str]
    cycles: list[Cycle]
    environment: Environment
    dataset_digest: str | None
    restored: Restored | None
    clock: Callable[[], datetime]
    patience: Patience | None = None

    def manifest(
        self,
        snapshot: Snapshot,
        files: dict[str, FileRecord],
        variables: dict[str, VariableRecord],
    ) -> Manifest:
        """Return the manifest of `snapshot`, to be committed next."""
        return Manifest(
            format_version=FORMAT_VERSION,
            step=snapshot.step,
            saved_at=self.clock(),
            attempt=self.attempt,
            identity=self.identity,
            config_digest=config_digest(self.spec),
            classes=self.classes,
            model=self.spec.model,
            optimizer=self.spec.optimizer.name,
            cycles=self.cycles,
            data=DataPosition(
                seed=self.spec.seed,
                batch_size=self.spec.batch_size,
                next_batch=snapshot.step,
                dataset_digest=self.dataset_digest,
            ),
            environment=self.environment,
            restored=self.restored,
            patience=self.patience,
            files=files,
            variables=variables,
        )
