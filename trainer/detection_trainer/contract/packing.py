"""Compresses a text for a termination message, which the kubelet truncates at 4096 bytes.

So a pod sends its operator a pipeline.config without an extra endpoint, and an operator that was
down can still read it.
"""

import base64
import zlib

MAX_PACKED = 3072
"""Characters; the configurations of the model zoo need 1,700, uncompressed 4,200."""


def pack(text: str) -> str:
    """Return `text` deflated, in characters that JSON does not escape.

    >>> unpack(pack("model { ssd { } }"), limit=100)
    'model { ssd { } }'
    """
    return base64.b85encode(zlib.compress(text.encode(), 9)).decode()


def unpack(packed: str, limit: int) -> str:
    """Return the text that `pack` packed.

    Args:
        packed: what a pod sent, which is not trusted.
        limit: maximum size of the text in bytes.

    Raises:
        ValueError: it is not a packed text, or the text is longer.
    """
    inflater = zlib.decompressobj()
    try:
        data = inflater.decompress(base64.b85decode(packed), limit)
    except zlib.error as error:
        raise ValueError(f"expected a packed text: {error}") from error
    if not inflater.eof:
        raise ValueError(f"expected a packed text of at most {limit} bytes")
    return data.decode()
