"""Protocol buffers' wire format, written by hand: messages that no library would write."""


def varint(value: int) -> bytes:
    """Return a whole number, seven bits a byte, the lowest first."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def field(number: int, content: bytes) -> bytes:
    """Return a field of bytes, a text or a message."""
    return bytes([number << 3 | 2]) + varint(len(content)) + content
