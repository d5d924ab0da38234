"""Creates a file that no other process can create, and verifies that the storage ensures that.

Owner records and fences depend on conditional create. Some S3 servers ignore the condition and
answer 200 to every writer: two trainers would both own a folder without noticing.
"""

from detection_trainer.errors import StorageUnsupportedError
from detection_trainer.storage.folder import Folder


def create_exclusively(folder: Folder, path: str, data: bytes) -> None:
    """Create the file at `path`, then check that the storage refuses to create it again.

    Raises:
        FileExistsError: it already exists.
        StorageUnsupportedError: it could be created twice; it is deleted again.
    """
    folder.write(path, data, create=True)
    try:
        folder.write(path, data, create=True)
    except FileExistsError:
        return
    folder.delete(path)
    raise StorageUnsupportedError(
        f"{folder.uri_of(path)} was created twice: the storage ignores conditional create (the "
        "header If-None-Match of S3), so it cannot keep two trainers apart: use a version of the "
        "server that supports conditional writes, or another storage or volume"
    )
