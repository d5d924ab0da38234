"""Updates weights by momentum, Adam, AdamW or RMSProp over explicit slots, each with a path.

The kernels are those of Keras' optimizers in TensorFlow 2, which the OD API uses
(`SGD(momentum)`: velocity = momentum * velocity - rate * gradient; weight += velocity). Weight
decay is L2 regularisation and is clipped with the gradient, except for AdamW. Every slot is saved,
so that the next update of a resumed run is bit-identical.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from detection_trainer.checkpoints.manifest import AVERAGE
from detection_trainer.contract.optimizer import Optimizer
from detection_trainer.models import replicas

BETA_1, BETA_2 = 0.9, 0.999
"""The betas of Adam."""
EPSILONS = {"adam": 1e-7, "adamw": 1e-7, "rms_prop": 1.0}
"""Defaults of Keras, and for RMSProp of optimizer.proto."""
RMS_DECAY = 0.9
SLOTS = {
    "momentum": ("momentum",),
    "adam": ("m", "v"),
    "adamw": ("m", "v"),
    "rms_prop": ("rms", "momentum"),
}
INITIAL_LOSS_SCALE = 2.0**15
LOSS_SCALE_GROWTH_STEPS = 2000
ITERATION = "optimizer/iteration"
LOSS_SCALE = "optimizer/loss_scale"
GOOD_STEPS = "optimizer/good_steps"


def is_regularised(path: str, shape: Sequence[int]) -> bool:
    """Return whether L2 applies to the variable: only kernels, not biases, scales and offsets.

    Of separable convolutions (FPNLite) it applies to the depthwise part only, and to nothing in the
    predictors: the OD API passes its regulariser as `kernel_regularizer`, which Keras'
    SeparableConv2D ignores (feature_map_generators.py, convolutional_keras_box_predictor.py).
    """
    separable = path.endswith(("/pointwise_kernel", "/predictor/depthwise_kernel"))
    return len(shape) > 1 and not separable


class SlotOptimizer:
    """Clips, decays and applies gradients to the variables given at its creation.

    Attributes:
        variables: all variables of the optimizer's state by path: `optimizer/iteration`,
            `optimizer/<slot>/<variable path>`, and for float16 the loss scale.
        averages: the moving average of each trainable variable by path; empty if none are kept.
    """

    def __init__(
        self, spec: Optimizer, trainable: Mapping[str, tf.Variable], *, scale_loss: bool = False
    ) -> None:
        """Create zeroed slots for `trainable`, path -> variable."""
        self._spec = spec
        self._trainable = dict(trainable)
        self._slots = {slot: list(_zeros(trainable).values()) for slot in SLOTS[spec.name]}
        self._iteration = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._scale = _LossScale() if scale_loss else None
        self.averages = {} if spec.moving_average_decay is None else _zeros(trainable)
        self.variables = self._named()

    @property
    def trainable(self) -> list[tf.Variable]:
        """The variables that `apply` updates, in the order of its gradients."""
        return list(self._trainable.values())

    def scaled(self, loss: Any) -> Any:
        """Return the loss to differentiate: for float16 it is multiplied by the loss scale."""
        return loss if self._scale is None else loss * self._scale.value

    def start_averages(self) -> None:
        """Set the moving averages to the current weights."""
        for path, average in self.averages.items():
            average.assign(self._trainable[path])

    def apply(self, gradients: Sequence[Any], rate: Any) -> Any:
        """Update the variables by one step and return the gradients' global norm, a scalar.

        With a loss scale, overflowed gradients change no variable and halve the scale.

        Args:
            gradients: of `scaled(loss)`, one for each trainable variable.
            rate: the learning rate, a float32 scalar tensor.

        Raises:
            ValueError: a trainable variable has no gradient (raised while tracing).
        """
        dense = [_dense(path, g) for path, g in zip(self._trainable, gradients, strict=True)]
        if self._scale is not None:
            dense = [g / self._scale.value for g in dense]
        dense = [self._regularised(p, g) for p, g in zip(self._trainable, dense, strict=True)]
        norm = tf.linalg.global_norm(dense)
        if self._scale is None:
            self._move(dense, norm, rate)
            return norm
        finite = tf.math.is_finite(norm)
        tf.cond(finite, lambda: self._move(dense, norm, rate), lambda: tf.constant(0))
        self._scale.update(finite)
        # An overflow with a loss scale is not an error of the run: report a finite norm.
        return tf.where(finite, norm, 0.0)

    def _move(self, gradients: Sequence[Any], norm: Any, rate: Any) -> Any:
        clip = self._spec.gradient_clip_norm
        if clip is not None:
            gradients, _ = tf.clip_by_global_norm(gradients, clip, use_norm=norm)
        step = tf.cast(self._iteration + 1, tf.float32)
        for index, (path, gradient) in enumerate(zip(self._trainable, gradients, strict=True)):
            variable = self._trainable[path]
            self._decay(path, rate)
            self._move_one(index, variable, gradient, rate, step)
        self._average(step)
        replicas.assign(self._iteration, self._iteration + 1)
        return tf.constant(0)

    def _regularised(self, path: str, gradient: Any) -> Any:
        """Add the gradient of `weight_decay / 2 * sum(kernel ** 2)`."""
        if self._spec.name == "adamw" or not self._is_decayed(path):
            return gradient
        return gradient + self._trainable[path] * self._spec.weight_decay

    def _decay(self, path: str, rate: Any) -> None:
        if self._spec.name == "adamw" and self._is_decayed(path):
            variable = self._trainable[path]
            replicas.assign(variable, variable - variable * (rate * self._spec.weight_decay))

    def _is_decayed(self, path: str) -> bool:
        return self._spec.weight_decay != 0.0 and is_regularised(path, self._trainable[path].shape)

    def _average(self, step: Any) -> None:
        """Update the averages; early steps have a lower decay, as in the OD API's optimizer."""
        within = (1.0 + step) / (10.0 + step)
        decay = tf.minimum(self._spec.moving_average_decay or 0.0, within)
        for path, average in self.averages.items():
            moved = average + (self._trainable[path] - average) * (1.0 - decay)
            replicas.assign(average, moved)

    def _move_one(
        self, index: int, variable: tf.Variable, gradient: Any, rate: Any, step: Any
    ) -> None:
        match self._spec.name:
            case "momentum":
                self._move_by_momentum(index, variable, gradient, rate)
            case "rms_prop":
                self._move_by_rms_prop(index, variable, gradient, rate)
            case _:
                self._move_by_adam(index, variable, gradient, rate, step)

    def _move_by_momentum(
        self, index: int, variable: tf.Variable, gradient: Any, rate: Any
    ) -> None:
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle,
            accum=self._slots["momentum"][index].handle,
            lr=rate,
            grad=gradient,
            momentum=self._spec.momentum,
        )

    def _move_by_rms_prop(
        self, index: int, variable: tf.Variable, gradient: Any, rate: Any
    ) -> None:
        tf.raw_ops.ResourceApplyRMSProp(
            var=variable.handle,
            ms=self._slots["rms"][index].handle,
            mom=self._slots["momentum"][index].handle,
            lr=rate,
            rho=RMS_DECAY if self._spec.decay is None else self._spec.decay,
            momentum=self._spec.momentum,
            epsilon=self._epsilon,
            grad=gradient,
        )

    def _move_by_adam(
        self, index: int, variable: tf.Variable, gradient: Any, rate: Any, step: Any
    ) -> None:
        # The powers of the betas follow from the step, so they need no slots.
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._slots["m"][index].handle,
            v=self._slots["v"][index].handle,
            beta1_power=tf.pow(BETA_1, step),
            beta2_power=tf.pow(BETA_2, step),
            lr=rate,
            beta1=BETA_1,
            beta2=BETA_2,
            epsilon=self._epsilon,
            grad=gradient,
        )

    @property
    def _epsilon(self) -> float:
        stated = self._spec.epsilon
        return EPSILONS[self._spec.name] if stated is None else stated

    def _named(self) -> dict[str, tf.Variable]:
        named = {ITERATION: self._iteration}
        for slot, variables in self._slots.items():
            for path, variable in zip(self._trainable, variables, strict=True):
                named[f"optimizer/{slot}/{path}"] = variable
        named |= {f"{AVERAGE}{path}": average for path, average in self.averages.items()}
        if self._scale is not None:
            named |= {LOSS_SCALE: self._scale.value, GOOD_STEPS: self._scale.good_steps}
        return named


class _LossScale:
    """The dynamic loss scale of mixed-precision training (Micikevicius et al. 2018, 3.2)."""

    def __init__(self) -> None:
        self.value = tf.Variable(INITIAL_LOSS_SCALE, dtype=tf.float32, trainable=False)
        self.good_steps = tf.Variable(0, dtype=tf.int64, trainable=False)

    def update(self, finite: Any) -> None:
        """Halve the scale after an overflow, double it after enough steps without one."""
        good = tf.where(finite, self.good_steps + 1, 0)
        grows = good >= LOSS_SCALE_GROWTH_STEPS
        factor = tf.where(finite, tf.where(grows, 2.0, 1.0), 0.5)
        replicas.assign(self.value, tf.maximum(self.value * factor, 1.0))
        replicas.assign(self.good_steps, tf.where(grows, tf.zeros_like(good), good))


def _zeros(variables: Mapping[str, tf.Variable]) -> dict[str, tf.Variable]:
    return {p: tf.Variable(tf.zeros_like(v), trainable=False) for p, v in variables.items()}


def _dense(path: str, gradient: Any) -> Any:
    if gradient is None:
        msg = f"no gradient reaches the trainable variable {path!r}: freeze or connect its group"
        raise ValueError(msg)
    return tf.convert_to_tensor(gradient)
