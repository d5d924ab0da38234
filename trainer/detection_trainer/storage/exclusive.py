"""Creates a file that nobody else may create, in a storage that shows that it keeps to that.

Owner records and fences rest on conditional create. Some S3 servers ignore the condition and answer
200 to every writer: two trainers would both own a folder, and neither would know.
"""

from detection_trainer.errors import StorageUnsupportedError
from detection_trainer.storage.folder import Folder


def create_exclusively(folder: Folder, path: str, data: bytes) -> None:
    """Create the file at `path`, then have the storage refuse to create it again.

    Raises:
        FileExistsError: there was one already.
        StorageUnsupportedError: it was created twice; it is deleted again.
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
