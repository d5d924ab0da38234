"""Pictures with objects to detect, which both programs read."""

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image, ImageDraw

from detection_trainer.data.label_map import format_label_map
from detection_trainer.data.pipeline import shuffled_positions
from detection_trainer.data.records import write_record
from detection_trainer.data.wire import encode_example

CLASSES = ("disc", "square", "bar")
COLORS = ("red", "green", "blue")


def picture_of_shapes(seed: int) -> bytes:
    """Return a record: shapes on noise, in an image of any size."""
    random = np.random.default_rng(seed)
    height, width = random.integers(120, 200, 2)
    noise = random.integers(90, 160, (height, width, 3), np.uint8)
    image = Image.fromarray(noise)
    draw = ImageDraw.Draw(image)
    boxes, labels = [], []
    for _ in range(random.integers(1, 4)):
        label = int(random.integers(0, 3))
        side = random.uniform(0.2, 0.4, 2) * (1.0, 0.5 if label == 2 else 1.0)
        low = random.uniform(0.0, 1.0 - side)
        ymin, xmin, ymax, xmax = (float(edge) for edge in [*low, *(low + side)])
        corners = (xmin * width, ymin * height, xmax * width, ymax * height)
        (draw.ellipse if label == 0 else draw.rectangle)(corners, fill=COLORS[label])
        boxes.append((ymin, xmin, ymax, xmax))
        labels.append(label + 1)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    edges = zip(("ymin", "xmin", "ymax", "xmax"), zip(*boxes, strict=True), strict=True)
    return encode_example(
        {
            "image/encoded": [buffer.getvalue()],
            "image/height": [int(height)],
            "image/width": [int(width)],
            "image/source_id": [str(seed).encode()],
            "image/object/class/label": labels,
            "image/object/class/text": [CLASSES[label - 1].encode() for label in labels],
            **{f"image/object/bbox/{edge}": list(values) for edge, values in edges},
        }
    )


def write_records(path: Path, records: Iterable[bytes]) -> Path:
    """Write a TFRecord file."""
    with path.open("wb") as file:
        for record in records:
            write_record(file, record)
    return path


def write_label_map(folder: Path) -> Path:
    """Write the label map of CLASSES."""
    path = folder / "label_map.pbtxt"
    path.write_text(format_label_map(CLASSES))
    return path


def in_our_order(records: Sequence[bytes], batch: int, steps: range, seed: int = 0) -> list[bytes]:
    """Return the records of `steps` as a run of ours with `seed` takes them."""
    samples = tf.range(steps.start * batch, steps.stop * batch, dtype=tf.int64)
    return [records[i] for i in shuffled_positions(samples, len(records), seed).numpy()]


def pipeline(  # noqa: PLR0913, PLR0917 - the options of a run
    model: str, records: Path, label_map: Path, batch: int, rate: str, average: float | None = None
) -> str:
    """Return a whole pipeline.config: `rate` is its `learning_rate`; nothing is shuffled.

    `average` is the decay of its moving averages, if it is to keep any.
    """
    averages = "false" if average is None else f"true moving_average_decay: {average}"
    reader = f"""label_map_path: "{label_map}" num_readers: 1 shuffle: false
      tf_record_input_reader {{ input_path: "{records}" }}"""
    return f"""{model}
    train_config {{
      batch_size: {batch}
      optimizer {{
        momentum_optimizer {{ learning_rate {{ {rate} }} momentum_optimizer_value: 0.9 }}
        use_moving_average: {averages}
      }}
      unpad_groundtruth_tensors: false max_number_of_boxes: 20
    }}
    train_input_reader {{ {reader} }}
    eval_config {{ metrics_set: "coco_detection_metrics" batch_size: 1 }}
    eval_input_reader {{ {reader} num_epochs: 1 }}
    """
