"""A text made small enough for a termination message, which the kubelet cuts at 4096 bytes.

So a pod tells its operator a pipeline.config without an endpoint of its own, and an operator that
was away still reads it.
"""

import base64
import zlib

MAX_PACKED = 3072
"""Characters; the configurations of the model zoo take 1,700, of 4,200 before."""


def pack(text: str) -> str:
    """Return `text` deflated, in characters that JSON need not escape."""
    return base64.b85encode(zlib.compress(text.encode(), 9)).decode()


def unpack(packed: str, limit: int) -> str:
    """Return the text that was packed.

    Args:
        packed: what a pod told, which may be anything.
        limit: how many bytes the text has at most.

    Raises:
        ValueError: it is no packed text, or a longer one.
    """
    inflater = zlib.decompressobj()
    try:
        data = inflater.decompress(base64.b85decode(packed), limit)
    except zlib.error as error:
        raise ValueError(f"expected a packed text: {error}") from error
    if not inflater.eof:
        raise ValueError(f"expected a packed text of at most {limit} bytes")
    return data.decode()
