"""Storage, addressed by URI: for checkpoints, exports and datasets.

`open_folder` accepts `s3://`, `gs://`, `az://` and `file:///` URIs. Every failure is an error of
`errors.py`, and its message names the location. Imports no TensorFlow.
"""

from detection_trainer.storage.exclusive import create_exclusively
from detection_trainer.storage.folder import PIECE_BYTES, Entry, Folder, Pieces, Source, Store
from detection_trainer.storage.places import open_folder, open_parent, split_uri

__all__ = [
    "PIECE_BYTES",
    "Entry",
    "Folder",
    "Pieces",
    "Source",
    "Store",
    "create_exclusively",
    "open_folder",
    "open_parent",
    "split_uri",
]
