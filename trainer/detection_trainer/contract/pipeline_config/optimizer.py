"""`train_config.optimizer` of a pipeline.config, as `spec.optimizer`."""

from typing import Any

from detection_trainer.contract.pipeline_config.reading import Node

NO_CLIPPING = 2.0**29
"""No gradient is as long. A power of two, so that dividing by it changes no bit."""
_KINDS = ("momentum_optimizer", "adam_optimizer", "rms_prop_optimizer")
_RATES = (
    "cosine_decay_learning_rate",
    "exponential_decay_learning_rate",
    "manual_step_learning_rate",
    "constant_learning_rate",
)


def map_optimizer(train: Node, l2: float, notes: list[str]) -> dict[str, Any]:
    """Return `spec.optimizer`; `l2` is the weight of the regularisation.

    Raises:
        PipelineConfigError: the optimizer or the schedule is not available.
    """
    optimizer = train.below("optimizer")
    kind, settings = optimizer.choice(_KINDS, "optimizer")
    clip = train.number("gradient_clipping_by_norm", 0.0)
    regularised = train.flag("add_regularization_loss", default=True)
    fields = {
        **_settings(kind, settings, notes),
        "gradientClipNorm": clip if clip > 0 else NO_CLIPPING,
        "weightDecay": l2 if regularised else 0.0,
    }
    if optimizer.flag("use_moving_average", default=True):
        fields["movingAverageDecay"] = optimizer.number("moving_average_decay", 0.9999)
    rate, schedule = settings.below("learning_rate").choice(_RATES, "learning rate")
    return {**fields, **_SCHEDULES[rate](schedule)}


def _settings(kind: str, settings: Node, notes: list[str]) -> dict[str, Any]:
    if kind == "adam_optimizer":
        return {"name": "adam", "epsilon": settings.number("epsilon", 1e-8)}
    momentum = settings.number("momentum_optimizer_value", 0.9)
    if kind == "momentum_optimizer":
        return {"name": "momentum", "momentum": momentum}
    decay = settings.number("decay", 0.9)
    notes.append(
        f"{settings.path}.decay: {decay}: used here as the decay of the average of squared "
        "gradients, as the protobuf message documents; the OD API's TF2 trainer passes it to "
        "Keras as a decay of the learning rate and leaves the average at 0.9"
    )
    return {
        "name": "rms_prop",
        "momentum": momentum,
        "decay": decay,
        "epsilon": settings.number("epsilon", 1.0),
    }


def _constant(rate: Node) -> dict[str, Any]:
    return {
        "learningRate": rate.number("learning_rate", 0.002),
        "schedule": {"type": "constant"},
    }


def _exponential(rate: Node) -> dict[str, Any]:
    base = _positive(rate, "initial_learning_rate", 0.002)
    burnin = rate.integer("burnin_steps", 0)
    schedule: dict[str, Any] = {
        "type": "exponential",
        "decaySteps": rate.integer("decay_steps", 4000000),
        "factor": rate.number("decay_factor", 0.95),
        "finalFraction": rate.number("min_learning_rate", 0.0) / base,
        "staircase": rate.flag("staircase", default=True),
    }
    if burnin:
        # 0 means the base rate (utils/learning_schedules.py).
        first = rate.number("burnin_learning_rate", 0.0) or base
        schedule |= {"warmupSteps": burnin, "warmupLearningRate": first, "warmup": "Constant"}
    return {"learningRate": base, "schedule": schedule}


def _manual(rate: Node) -> dict[str, Any]:
    parts = rate.each("schedule")
    if not parts:
        raise rate.error("schedule", "expected at least one { step learning_rate }; received none")
    boundaries = [part.integer("step", 0) for part in parts]
    rates = [
        rate.number("initial_learning_rate", 0.002),
        *(part.number("learning_rate", 0.002) for part in parts),
    ]
    if boundaries != sorted(set(boundaries)) or boundaries[0] < 1:
        raise rate.error("schedule", f"expected increasing steps from 1; received {boundaries}")
    warmup: dict[str, Any] = {}
    if rate.flag("warmup"):
        # The rate rises from the first to the second until the first boundary.
        warmup = {"warmupSteps": boundaries.pop(0), "warmupLearningRate": rates.pop(0)}
    if not boundaries:
        return {"learningRate": rates[0], "schedule": {"type": "constant", **warmup}}
    schedule = {"type": "step", "boundaries": boundaries, "rates": rates[1:], **warmup}
    return {"learningRate": rates[0], "schedule": schedule}


def _cosine(rate: Node) -> dict[str, Any]:
    base = _positive(rate, "learning_rate_base", 0.002)
    total = rate.integer("total_steps", 4000000)
    warm, hold = rate.integer("warmup_steps", 10000), rate.integer("hold_base_rate_steps", 0)
    first = rate.number("warmup_learning_rate", 0.0002)
    if first > base:
        raise rate.error(
            "warmup_learning_rate", f"expected at most learning_rate_base {base}; received {first}"
        )
    if warm + hold >= total:
        raise rate.error(
            "total_steps",
            f"expected more than warmup_steps and hold_base_rate_steps together, {warm + hold}; "
            f"received {total}",
        )
    schedule: dict[str, Any] = {"type": "cosine", "decaySteps": total, "finalFraction": 0.0}
    if warm:
        schedule |= {"warmupSteps": warm, "warmupLearningRate": first}
    if hold:
        schedule["holdSteps"] = hold
    return {"learningRate": base, "schedule": schedule}


_SCHEDULES = {
    "constant_learning_rate": _constant,
    "exponential_decay_learning_rate": _exponential,
    "manual_step_learning_rate": _manual,
    "cosine_decay_learning_rate": _cosine,
}


def _positive(rate: Node, name: str, default: float) -> float:
    value = rate.number(name, default)
    if value <= 0:
        raise rate.error(name, f"expected a rate above 0; received {value}")
    return value
