"""The OD API's own learning rates, in its own environment: what ours are compared with.

python schedules.py CONFIG STEP...      prints a rate a step, as JSON, and the numbers of the model
"""

import json
import sys
from pathlib import Path

import tensorflow as tf
from reference import prepare  # type: ignore[import-not-found] # beside it, run as a script


def main(config: str, *steps: str) -> None:
    prepare()
    from google.protobuf import text_format  # noqa: PLC0415 - after `prepare`
    from object_detection.builders import optimizer_builder  # noqa: PLC0415
    from object_detection.protos import pipeline_pb2  # noqa: PLC0415

    pipeline = pipeline_pb2.TrainEvalPipelineConfig()
    # Our own configurations have a field that nobody knows.
    text_format.Parse(Path(config).read_text(), pipeline, allow_unknown_field=True)
    position = tf.Variable(0, dtype=tf.int64)
    _, (rate,) = optimizer_builder.build(pipeline.train_config.optimizer, global_step=position)
    rates = []
    for step in steps:
        position.assign(int(step))
        rates.append(float(rate() if callable(rate) else rate))
    sys.stdout.write(json.dumps({"rates": rates, "steps": pipeline.train_config.num_steps}))


if __name__ == "__main__":
    main(*sys.argv[1:])
