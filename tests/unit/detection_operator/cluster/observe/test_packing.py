"""Texts of trainings, in small."""

import json

import pytest

from detection_operator.cluster.observe.packing import TYPICAL, pack, unpack
from tests.support.operator.cluster_objects import attempt_status, stored_training


@pytest.mark.parametrize("text", [b"", b"{}", "Bäume".encode(), TYPICAL, bytes(range(256)) * 50])
def test_what_is_packed_is_unpacked(text: bytes) -> None:
    assert unpack(pack(text)) == text


def test_packing_removes_what_trainings_share() -> None:
    written = json.loads(TYPICAL)
    written["metadata"] = stored_training()["metadata"]
    written["status"] |= attempt_status(7)
    text = json.dumps(written, separators=(",", ":")).encode()
    assert len(pack(text)) < len(text) / 5
