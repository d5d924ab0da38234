"""A detector as a SavedModel without this package: it includes preprocessing and NMS.

The names are those of the OD API's exporter (exporter_lib_v2.py), so that its callers need no
change: `model(images)`, and a signature for each input type.
"""

import tempfile
from pathlib import Path
from typing import Any

import tensorflow as tf

from detection_trainer.checkpoints.format import Checkpoint
from detection_trainer.data.label_map import format_label_map
from detection_trainer.evaluation.inference import load_detector
from detection_trainer.models.detections import detect
from detection_trainer.models.detector import Detector
from detection_trainer.models.resizing import Resizer

DEFAULT_SIGNATURE = "serving_default"
BYTES_SIGNATURE = "encoded_image_string_tensor"
LABEL_MAP_FILE = "label_map.pbtxt"
_IMAGES = tf.TensorSpec([None, None, None, 3], tf.uint8, "input_tensor")
_FILES = tf.TensorSpec([None], tf.string, "input_tensor")


class ServedDetector(tf.Module):  # type: ignore[misc] # TensorFlow ships no types
    """Detects objects in images.

    Detections are float32 and equal for both inputs: `detection_boxes` [B,K,4], normalised
    ymin, xmin, ymax, xmax; `detection_scores` [B,K], descending; `detection_classes` [B,K], ids of
    the label map, 0 beyond `num_detections` [B].
    """

    def __init__(self, detector: Detector, label_map: Path) -> None:
        """Wrap `detector`; the label map is copied into the SavedModel's assets."""
        super().__init__(name="detector")
        self._detector, self._resizer = detector, Resizer(detector.spec)
        self.weights = [variable.value for variable in detector.variables.values()]
        self.label_map = tf.saved_model.Asset(str(label_map))

    @tf.function(input_signature=[_IMAGES])  # type: ignore[untyped-decorator]
    def __call__(self, input_tensor: Any) -> dict[str, Any]:
        """Return the detections in images uint8 [B,H,W,3], RGB."""
        sizes = tf.tile(tf.shape(input_tensor)[None, 1:3], [tf.shape(input_tensor)[0], 1])
        return self._detect(self._resizer(input_tensor), sizes)

    @tf.function(input_signature=[_FILES])  # type: ignore[untyped-decorator]
    def from_bytes(self, input_tensor: Any) -> dict[str, Any]:
        """Return the detections in JPEG, PNG, BMP or GIF files [B] of any size."""
        side = self._detector.spec.image_size
        signature = (tf.TensorSpec([side, side, 3], tf.float32), tf.TensorSpec([2], tf.int32))
        return self._detect(*tf.map_fn(self._decode, input_tensor, fn_output_signature=signature))

    def _decode(self, encoded: Any) -> Any:
        image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
        image.set_shape([None, None, 3])
        return self._resizer(image), tf.shape(image)[:2]

    def _detect(self, images: Any, sizes: Any) -> dict[str, Any]:
        outputs = self._detector(images, training=False)
        found = detect(self._detector, outputs, self._resizer.window(sizes))
        return {
            "detection_boxes": found["boxes"],
            "detection_scores": found["scores"],
            "detection_classes": tf.cast(found["classes"], tf.float32),
            "num_detections": tf.cast(found["valid"], tf.float32),
        }


def write_saved_model(checkpoint: Checkpoint, path: Path) -> None:
    """Write the model of `checkpoint` to the folder `path` as a SavedModel.

    Raises:
        DamagedCheckpointError: the weights' bytes differ from the manifest.
    """
    detector = load_detector(checkpoint)
    with tempfile.TemporaryDirectory() as scratch:
        label_map = Path(scratch) / LABEL_MAP_FILE
        label_map.write_text(format_label_map(checkpoint.manifest.classes))
        served = ServedDetector(detector, label_map)
        signatures = {DEFAULT_SIGNATURE: served.__call__, BYTES_SIGNATURE: served.from_bytes}
        tf.saved_model.save(served, str(path), signatures=signatures)
