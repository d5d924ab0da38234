"""Images of more than 8 bits a channel: refused alike by convert, training and predict."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detection_trainer.__main__ import main
from detection_trainer.commands import predict
from detection_trainer.contract.exit_codes import ExitCode
from detection_trainer.data.depth import depth_problem
from detection_trainer.data.examples import InvalidExampleError, read_example
from detection_trainer.errors import DataInvalidError
from detection_trainer.storage import open_folder
from sandbox.samples.datasets import Drawn
from tests.support.trainer.annotations import write_voc
from tests.support.trainer.image_files import png_of_16_bits

KINDS = {"gray": 1, "gray and alpha": 2, "RGB": 3, "RGB and alpha": 4}


def twelve_bits(channels: int, side: int = 24) -> bytes:
    return png_of_16_bits(np.full((side, side + 8, channels), 4000))


@pytest.mark.parametrize("channels", KINDS.values(), ids=KINDS)
def test_convert_refuses(channels: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.png").write_bytes(twelve_bits(channels))
    write_voc(tmp_path / "a.xml", [("tree", 1, 1, 9, 9)], filename="a.png")
    words = ["convert", "voc", str(tmp_path), str(tmp_path / "out")]
    assert main(words) == ExitCode.DATA_INVALID
    assert "a.png: has pixels of mode" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("channels", KINDS.values(), ids=KINDS)
def test_training_refuses(channels: int) -> None:
    record = Drawn().record(image__encoded=[twelve_bits(channels)])
    with pytest.raises(InvalidExampleError, match="expected 8 bits a channel; scale it"):
        read_example(memoryview(record), ["tree"], decode=False)


@pytest.mark.parametrize("channels", KINDS.values(), ids=KINDS)
def test_predict_refuses(channels: int, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(twelve_bits(channels))
    with pytest.raises(DataInvalidError, match=r"a\.png: has pixels of mode"):
        predict._read_image(open_folder(tmp_path.as_uri()), "a.png")


@pytest.mark.parametrize("kind", ["I;16", "I", "F"])
def test_values_of_16_and_32_bits_in_a_tiff_are_too_many(kind: str, tmp_path: Path) -> None:
    Image.new(kind, (8, 8)).save(tmp_path / "a.tif")
    with Image.open(tmp_path / "a.tif") as image:
        assert depth_problem(image) is not None


def test_colours_of_16_bits_in_a_tiff_are_too_many(tmp_path: Path) -> None:
    """Pillow reads them as RGB of 8 bits, and would keep the upper bytes."""
    Image.new("RGB", (8, 8)).save(tmp_path / "a.tif")
    content = bytearray((tmp_path / "a.tif").read_bytes())
    eight = b"\x08\0\x08\0\x08\0"
    assert content.count(eight) == 1
    at = content.index(eight)
    content[at : at + 6] = b"\x10\0\x10\0\x10\0"
    with Image.open(io.BytesIO(content + bytes(8 * 8 * 3))) as image:
        assert image.mode == "RGB"
        assert depth_problem(image) is not None


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_eight_bits_and_fewer_are_read(mode: str, form: str) -> None:
    buffer = io.BytesIO()
    Image.new(mode, (8, 8)).save(buffer, form)
    assert depth_problem(Image.open(buffer)) is None


def test_a_bmp_of_16_bits_a_pixel_has_five_a_channel() -> None:
    header = b"BM" + (54 + 4).to_bytes(4, "little") + bytes(4) + (54).to_bytes(4, "little")
    info = b"".join(v.to_bytes(4, "little") for v in (40, 2, 1))
    info += (1).to_bytes(2, "little") + (16).to_bytes(2, "little") + bytes(24)
    with Image.open(io.BytesIO(header + info + bytes(4))) as image:
        assert depth_problem(image) is None
