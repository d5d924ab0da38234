"""The OD API's own learning rates, in its own environment: what ours are compared with.

python schedules.py CONFIG...       prints for each its num_steps, and rates by step, as JSON
"""

import json
import sys
from pathlib import Path
from typing import Any

import tensorflow as tf
from reference import prepare  # type: ignore[import-not-found] # beside it, run as a script


def rates(config: Path) -> dict[str, Any]:
    from google.protobuf import text_format  # noqa: PLC0415 - after `prepare`
    from object_detection.builders import optimizer_builder  # noqa: PLC0415
    from object_detection.protos import pipeline_pb2  # noqa: PLC0415

    pipeline = pipeline_pb2.TrainEvalPipelineConfig()
    # One of ours has an unknown field.
    text_format.Parse(config.read_text(), pipeline, allow_unknown_field=True)
    train = pipeline.train_config
    position = tf.Variable(0, dtype=tf.int64)
    _, (rate,) = optimizer_builder.build(train.optimizer, global_step=position)
    total = train.num_steps
    found = {}
    for step in (*range(0, total, total // 97), 999, 1000, 1001, total - 1, total):
        position.assign(step)
        found[step] = float(rate() if callable(rate) else rate)
    return {"steps": total, "rates": found}


if __name__ == "__main__":
    prepare()
    theirs = {Path(config).stem: rates(Path(config)) for config in sys.argv[1:]}
    sys.stdout.write(json.dumps(theirs))
