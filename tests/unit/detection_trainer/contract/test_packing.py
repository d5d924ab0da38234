"""A text in a termination message: unpacking returns what was packed, and refuses anything else."""

import json
import zlib
from base64 import b85encode
from pathlib import Path

import pytest

from detection_trainer.contract.packing import MAX_PACKED, pack, unpack
from tests.support.trainer.pipeline_configs import FOLDER

CONFIGS = sorted(FOLDER.glob("*/*.config"))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.stem)
def test_the_configurations_of_the_model_zoo_fit_and_are_unpacked_unchanged(config: Path) -> None:
    text = config.read_text()
    packed = pack(text)
    assert len(packed) <= MAX_PACKED
    assert json.dumps(packed) == f'"{packed}"', "no character needs to be escaped"
    assert unpack(packed, len(text.encode())) == text


def test_other_alphabets_are_preserved() -> None:
    assert unpack(pack("# Bäume, 木"), 100) == "# Bäume, 木"


@pytest.mark.parametrize(
    "packed",
    [
        "no packed text",
        b85encode(b"not deflated").decode(),
        b85encode(zlib.compress(b"cut short")[:-6]).decode(),
        b85encode(zlib.compress(b"\xff\xfe")).decode(),
        "",
    ],
    ids=["another alphabet", "not deflated", "cut short", "no UTF-8", "nothing"],
)
def test_text_that_is_not_packed_is_reported(packed: str) -> None:
    with pytest.raises(ValueError, match=r"packed|decode|base85"):
        unpack(packed, 100)


def test_a_text_that_swells_is_not_unpacked() -> None:
    swelling = pack("0" * 10_000_000)
    assert len(swelling) < 20_000
    with pytest.raises(ValueError, match="at most 65536 bytes"):
        unpack(swelling, 65536)
