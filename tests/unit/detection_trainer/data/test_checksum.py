"""CRC32C against published values and a second way to compute it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detection_trainer.data.checksum import crc32c, masked_crc32c


def crc_by_bit(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(b"", 0, id="nothing"),
        pytest.param(b"123456789", 0xE3069283, id="the check value"),
        pytest.param(bytes(32), 0x8A9136AA, id="32 zero bytes (RFC 3720 B.4)"),
        pytest.param(b"\xff" * 32, 0x62A8AB43, id="32 bytes of ones (RFC 3720 B.4)"),
        pytest.param(bytes(range(32)), 0x46DD794E, id="ascending bytes (RFC 3720 B.4)"),
    ],
)
def test_published_values(data: bytes, expected: int) -> None:
    assert crc32c(data) == expected


@pytest.mark.parametrize("length", [63, 64, 65, 511, 512, 513, 1023, 1024, 1025, 1537, 4096, 5000])
def test_lengths_around_the_block_agree_with_the_definition(length: int) -> None:
    data = bytes((7 * i * i + 3) % 256 for i in range(length))
    assert crc32c(data) == crc_by_bit(data)
    assert crc32c(memoryview(data)) == crc_by_bit(data)


@settings(deadline=None, max_examples=50)
@given(st.binary(min_size=60, max_size=1200))
def test_any_bytes_agree_with_the_definition(data: bytes) -> None:
    assert crc32c(data) == crc_by_bit(data)


def test_the_mask_of_records_moves_the_checksum() -> None:
    crc = crc32c(b"123456789")
    assert masked_crc32c(b"123456789") == (((crc >> 15) | (crc << 17)) + 0xA282EAD8) % 2**32
