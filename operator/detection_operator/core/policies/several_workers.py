"""Several workers are off unless the administrator allows them: their connection is open."""

from detection_operator.api.conditions import Phase, Reason
from detection_operator.core.case import Case, Standing


def refuse_several_workers(case: Case) -> Standing | None:
    """Refuse another attempt with several workers where the administrator does not allow it."""
    if case.spec.workers == 1 or case.settings.several_workers:
        return None
    message = (
        f"spec.workers is {case.spec.workers}, and this operator allows one. TensorFlow's "
        "connection between workers has no authentication: a pod that reaches their port can read "
        "the keys and tokens in their files. Set spec.workers: 1, or ask the administrator for the "
        "chart's value trainer.severalWorkers, in a cluster whose network enforces NetworkPolicies."
    )
    return Standing(Phase.REFUSED, Reason.SEVERAL_WORKERS_OFF, message)
