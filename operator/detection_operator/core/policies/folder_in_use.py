"""A checkpoint folder belongs to one training: a younger one is refused."""

from detection_operator.api.conditions import Phase, Reason
from detection_operator.core.case import Case, Standing, newest_step


def refuse_shared_folder(case: Case) -> Standing | None:
    """Refuse a folder that an older training writes to."""
    owner = case.observed.folder_owner
    if owner is None or newest_step(case.status) is not None:
        return None
    message = (
        f"The checkpoint folder belongs to the older training {owner}, and a folder belongs to one "
        "run: choose another in spec.checkpoints.storage."
    )
    return Standing(Phase.REFUSED, Reason.STORAGE_IN_USE, message)
