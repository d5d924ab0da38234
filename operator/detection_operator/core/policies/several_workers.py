"""Several workers are refused until the cluster's administrator allows them."""

from detection_operator.api.conditions import Phase, Reason
from detection_operator.core.case import Case, Standing


def refuse_several_workers(case: Case) -> Standing | None:
    """Refuse more than one worker if the administrator has not allowed several.

    Only before an attempt is created: a running one continues to its end.
    """
    if case.spec.workers == 1 or case.settings.several_workers:
        return None
    message = (
        f"workers {case.spec.workers}: this cluster allows 1, because TensorFlow does not check "
        "who connects to a worker (port 2222): without a network plugin that enforces "
        "NetworkPolicies, any pod of the cluster can read the training's credentials there. Set "
        "workers: 1 (one pod uses all of its GPUs), or ask the administrator to set the chart's "
        "value trainer.severalWorkers to true."
    )
    return Standing(Phase.REFUSED, Reason.SEVERAL_WORKERS_DISABLED, message)
