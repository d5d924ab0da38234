"""Operations of one replica with the others; with one replica they do nothing.

Called while a step is traced, within `Strategy.run`. Each replica writes its own copy of a variable
with the same value, so that nothing has to be merged.
"""

from typing import Any

import tensorflow as tf


def count() -> int:
    """Return the number of replicas of this step; 1 outside of a step."""
    context = tf.distribute.get_replica_context()
    return 1 if context is None else int(context.num_replicas_in_sync)


def total(values: Any) -> Any:
    """Return the sum of `values`, a structure of tensors, over all replicas."""
    if count() == 1:
        return values
    context = tf.distribute.get_replica_context()
    # An argument of the graph has no device, but a reduction needs one.
    placed = tf.nest.map_structure(tf.identity, values)
    return context.all_reduce(tf.distribute.ReduceOp.SUM, placed)


def gather(value: Any) -> Any:
    """Return all replicas' `value` [...], stacked to [R, ...]; gradients flow back to each."""
    context = tf.distribute.get_replica_context()
    number = tf.cast(context.replica_id_in_sync_group, tf.int32)
    mine = tf.one_hot(number, count(), dtype=value.dtype)
    place = tf.reshape(mine, [-1] + [1] * value.shape.rank)
    return total(place * value[tf.newaxis])


def assign(variable: tf.Variable, value: Any) -> None:
    """Set this replica's copy of `variable`."""
    tf.raw_ops.AssignVariableOp(resource=variable.handle, value=tf.cast(value, variable.dtype))
