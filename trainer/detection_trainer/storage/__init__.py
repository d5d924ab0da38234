"""Places named by URI: checkpoints are written to them, datasets read from them.

`open_folder` takes `s3://`, `gs://`, `az://` and `file:///` URIs. Every failure is one of
`errors.py`, and its message names the place. Imports no TensorFlow.
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
