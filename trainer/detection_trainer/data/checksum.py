"""CRC32C (Castagnoli), which guards TFRecords, in numpy.

A CRC is linear: the CRC of a block is the XOR of what each byte adds, given its value and its
distance from the block's end. All blocks are computed at once, with one table lookup per byte; then
neighbouring blocks are folded pairwise. Without a start value, zero bytes in front change nothing,
so a message is padded there to whole blocks.
"""

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

_POLYNOMIAL = 0x82F63B78
_START = 0xFFFFFFFF
_BLOCK = 512
_MASK_DELTA = 0xA282EAD8
_SHORT = 64

Words = npt.NDArray[np.uint32]


def crc32c(data: bytes | memoryview) -> int:
    """Return the CRC32C of `data` (RFC 3720, appendix B.4)."""
    if len(data) < _SHORT:
        return _crc_by_byte(data)
    message: npt.NDArray[Any] = np.frombuffer(data, np.uint8)
    blocks = -(-len(message) // _BLOCK)
    levels = (blocks - 1).bit_length()
    padded = np.zeros((1 << levels) * _BLOCK, np.uint8)
    padded[len(padded) - len(message) :] = message
    start = len(padded) - len(message)
    padded[start : start + 4] ^= 0xFF  # The start value applies to the first four bytes.
    crcs = _block_crcs(padded.reshape(-1, _BLOCK)[-blocks:])
    crcs = np.concatenate([np.zeros((1 << levels) - blocks, np.uint32), crcs])
    for level in range(levels):
        crcs = _advance(crcs[0::2], level) ^ crcs[1::2]
    return int(crcs[0]) ^ _START


def masked_crc32c(data: bytes | memoryview) -> int:
    """Return the CRC32C of `data`, rotated and shifted as TFRecord files store it."""
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def _crc_by_byte(data: bytes | memoryview) -> int:
    table, crc = _byte_list(), _START
    for byte in bytes(data):
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ _START


def _block_crcs(blocks: npt.NDArray[np.uint8]) -> Words:
    """Return the CRC of each row of `blocks` [K, 512], without start value and final XOR."""
    table, offsets = _position_table()
    crcs = np.empty(len(blocks), np.uint32)
    for first in range(0, len(blocks), 256):  # Few enough that the indices stay in the cache.
        piece = blocks[first : first + 256]
        crcs[first : first + 256] = np.bitwise_xor.reduce(table.take(piece + offsets), axis=1)
    return crcs


def _advance(crcs: Words, level: int) -> Words:
    """Return `crcs` after 512 * 2**level further zero bytes."""
    tables = _advance_tables(level)
    moved: Words = tables[0].take(crcs & 0xFF)
    for index in (1, 2, 3):
        moved ^= tables[index].take((crcs >> np.uint32(8 * index)) & 0xFF)
    return moved


@cache
def _byte_table() -> Words:
    """Return the CRC of each single byte."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(_POLYNOMIAL), table >> 1)
    return table.astype(np.uint32)


@cache
def _byte_list() -> list[int]:
    table: list[int] = _byte_table().tolist()
    return table


@cache
def _position_table() -> tuple[Words, npt.NDArray[np.int32]]:
    """Return what a byte adds by position and value, flat, and the start of each position."""
    step = _byte_table()
    rows = [step]
    for _ in range(_BLOCK - 1):
        rows.append(step.take(rows[-1] & np.uint32(0xFF)) ^ (rows[-1] >> np.uint32(8)))
    table = np.concatenate(rows[::-1])
    return table, np.arange(_BLOCK, dtype=np.int32) * 256


@cache
def _advance_tables(level: int) -> list[Words]:
    """Return, for each byte of a CRC, its value after 512 * 2**level zero bytes."""
    values = [np.arange(256, dtype=np.uint32) << np.uint32(8 * index) for index in range(4)]
    if level:
        return [_advance(_advance(v, level - 1), level - 1) for v in values]
    step = _byte_table()
    for _ in range(_BLOCK):
        values = [step.take(v & np.uint32(0xFF)) ^ (v >> np.uint32(8)) for v in values]
    return values
