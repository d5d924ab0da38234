"""The Keras layers of a detector, each with a stable path.

Keras numbers layers and variables by process-wide counters, but a checkpoint must not depend on how
many models a process has built. So a `LayerFactory` makes every layer: it knows its path
(`box_head/tower/conv_0`), derives the seed of its initial values from the path, and sets its dtype
policy. Nothing here changes Keras' global settings.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import tensorflow as tf

from detection_trainer.contract.model import BatchNorm as BatchNormSpec
from detection_trainer.models import replicas

Initial = Callable[..., keras.initializers.Initializer]
"""Makes an initializer from a seed and, if it has one, a standard deviation."""
HE_NORMAL: Initial = keras.initializers.HeNormal


class BatchNorm(keras.layers.BatchNormalization):  # type: ignore[misc] # Keras ships no types
    """Batch normalisation by TensorFlow's fused kernel, over channels-last images.

    As in the OD API, the moving variance uses the *unbiased* variance. Keras 3 uses the biased one,
    which differs by n / (n - 1); that matters at coarse levels.
    """

    def call(
        self,
        inputs: Any,
        training: bool | None = None,  # noqa: FBT001 - Keras' signature
        mask: Any = None,
    ) -> Any:
        """Normalise `inputs` [B,H,W,C]; in training also update the moving statistics."""
        if mask is not None:
            msg = "BatchNorm takes no mask: images are dense"
            raise ValueError(msg)
        updates = bool(training and self.trainable)
        if updates and replicas.count() > 1:
            return self._synchronized(inputs)
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs,
            scale=tf.convert_to_tensor(self.gamma),
            offset=tf.convert_to_tensor(self.beta),
            mean=None if updates else tf.convert_to_tensor(self.moving_mean),
            variance=None if updates else tf.convert_to_tensor(self.moving_variance),
            epsilon=self.epsilon,
            is_training=updates,
        )
        if updates:
            self._move(self.moving_mean, mean)
            self._move(self.moving_variance, variance)
        return outputs

    def _synchronized(self, inputs: Any) -> Any:
        """Normalise by the statistics of all replicas' inputs, which have equal sizes."""
        images = tf.cast(inputs, tf.float32)
        own_mean, own_variance = tf.nn.moments(images, (0, 1, 2))
        means, variances = tf.unstack(replicas.gather(tf.stack([own_mean, own_variance])), axis=1)
        mean = tf.reduce_mean(means, 0)
        # The variance of all inputs: the mean of the variances plus the variance of the means.
        variance = tf.reduce_mean(variances, 0) + tf.reduce_mean(tf.square(means - mean), 0)
        count = tf.cast(tf.size(images) // tf.size(mean) * replicas.count(), tf.float32)
        self._move(self.moving_mean, mean)
        self._move(self.moving_variance, variance * (count / tf.maximum(count - 1.0, 1.0)))
        gamma, beta = (tf.cast(v, tf.float32) for v in (self.gamma, self.beta))
        scale = gamma * tf.math.rsqrt(variance + self.epsilon)
        return tf.cast((images - mean) * scale + beta, inputs.dtype)

    def _move(self, statistic: keras.Variable, value: Any) -> None:
        old = tf.convert_to_tensor(statistic)
        moved = old * self.momentum + value * (1.0 - self.momentum)
        replicas.assign(statistic.value, moved)


class Dropout(keras.layers.Dropout):  # type: ignore[misc] # Keras ships no types
    """Dropout that runs in inference mode if it is frozen, as batch normalisation does."""

    def call(self, inputs: Any, training: bool = False) -> Any:  # noqa: FBT001, FBT002 - Keras' signature
        """Drop values of `inputs` in training, unless frozen."""
        return super().call(inputs, training=bool(training and self.trainable))


class ChannelAffine(keras.layers.Layer):  # type: ignore[misc] # Keras ships no types
    """A backbone's preprocessing: scales RGB in 0..255 to the input of its weights."""

    def __init__(
        self, scale: Sequence[float], offset: Sequence[float], *, to_bgr: bool, **kwargs: Any
    ) -> None:
        """Compute `x * scale + offset` for each channel, after RGB to BGR if `to_bgr`."""
        super().__init__(**kwargs)
        self.scale, self.offset, self.to_bgr = tuple(scale), tuple(offset), to_bgr

    def call(self, images: Any) -> Any:
        """Return the scaled `images` [B,H,W,3]."""
        if self.to_bgr:
            images = images[..., ::-1]
        return images * tf.constant(self.scale) + tf.constant(self.offset)


def seed_for(seed: int, path: str) -> int:
    """Return the seed of the layer at `path`, equal in every process."""
    digest = hashlib.sha256(f"{seed}/{path}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


@dataclass
class LayerFactory:
    """Makes layers below `prefix` and records them by path in `layers`, in order."""

    prefix: str
    policy: keras.DTypePolicy
    seed: int
    batch_norm_spec: BatchNormSpec
    for_short_runs: bool = False
    """Use He's scale for the initial values of hidden convolutions: with the OD API's small values
    the first hundreds of steps make little progress."""
    trainable: bool = True
    layers: dict[str, keras.layers.Layer] = field(default_factory=dict)

    def below(self, name: str) -> "LayerFactory":
        """Return a factory for layers below `name`, with the same `layers`."""
        return replace(self, prefix=f"{self.prefix}/{name}")

    def convolution(
        self,
        name: str,
        filters: int,
        kernel_size: int,
        initializer: Initial,
        stddev: float | None = None,
        **options: Any,
    ) -> keras.layers.Conv2D:
        """Return a convolution with 'same' padding; `stddev` is for an initializer that has one."""
        kernel = self._initial(name, initializer, stddev)
        return self.register(
            name,
            keras.layers.Conv2D(
                filters,
                kernel_size,
                padding="same",
                kernel_initializer=kernel,
                **self._settings(name),
                **options,
            ),
        )

    def depthwise_convolution(
        self, name: str, kernel_size: int, initializer: Initial, **options: Any
    ) -> keras.layers.DepthwiseConv2D:
        """Return a depthwise convolution with 'same' padding."""
        return self.register(
            name,
            keras.layers.DepthwiseConv2D(
                kernel_size,
                padding="same",
                depthwise_initializer=self._initial(name, initializer, None),
                **self._settings(name),
                **options,
            ),
        )

    def separable_convolution(
        self,
        name: str,
        filters: int,
        kernel_size: int,
        initializer: Initial,
        stddev: float | None = None,
        **options: Any,
    ) -> keras.layers.SeparableConv2D:
        """Return a depthwise and a pointwise convolution in one layer; see `convolution`."""
        depthwise, pointwise = (
            self._initial(f"{name}/{part}", initializer, stddev)
            for part in ("depthwise", "pointwise")
        )
        return self.register(
            name,
            keras.layers.SeparableConv2D(
                filters,
                kernel_size,
                padding="same",
                depthwise_initializer=depthwise,
                pointwise_initializer=pointwise,
                **self._settings(name),
                **options,
            ),
        )

    def hidden_convolution(  # noqa: PLR0913 - what a convolution is made of
        self,
        name: str,
        filters: int,
        kernel_size: int,
        initializer: Initial,
        stddev: float,
        *,
        separable: bool = False,
        **options: Any,
    ) -> keras.layers.Layer:
        """Return a convolution of pyramid or tower, with initial values of the OD API or of He."""
        make = self.separable_convolution if separable else self.convolution
        if self.for_short_runs:
            return make(name, filters, kernel_size, HE_NORMAL, **options)
        return make(name, filters, kernel_size, initializer, stddev, **options)

    def batch_norm(self, name: str) -> BatchNorm:
        """Return a batch normalisation with the factory's parameters."""
        layer = BatchNorm(**self.batch_norm_spec.model_dump(), **self._settings(name))
        self.register(name, layer)
        return layer

    def relu6(self, name: str) -> keras.layers.ReLU:
        """Return the activation of the OD API's FPN and heads."""
        return keras.layers.ReLU(max_value=6.0, **self._settings(name))

    def register(self, name: str, layer: Any) -> Any:
        """Record `layer`, which may have variables, under its path, and return it."""
        path = f"{self.prefix}/{name}"
        if path in self.layers:
            msg = f"two layers at the path {path!r}; a path names one layer"
            raise ValueError(msg)
        layer.trainable = self.trainable
        self.layers[path] = layer
        return layer

    def _initial(
        self, name: str, initializer: Initial, stddev: float | None
    ) -> keras.initializers.Initializer:
        spread = {} if stddev is None else {"stddev": stddev}
        return initializer(seed=seed_for(self.seed, f"{self.prefix}/{name}"), **spread)

    def _settings(self, name: str) -> dict[str, Any]:
        return {"name": f"{self.prefix}/{name}".replace("/", "."), "dtype": self.policy}
