"""A tag is released where program, chart and changelog are of its version."""

import pytest
import yaml

from supply_chain.errors import ReleaseError
from supply_chain.release import CHART, choose_notes, pin_values

CHANGELOG = """\
# Changelog

## 0.2.0, 2026-12-01

### Added

- A thing.

## 0.1.0, 2026-10-01

- The first.
"""
OPERATOR = "r.example.com:5000/detection-operator@sha256:" + "1" * 64
TRAINER = "r.example.com:5000/detection-trainer@sha256:" + "2" * 64


def versions(chart: str = "0.2.0") -> dict[str, str]:
    return {"pyproject.toml": "0.2.0", "version of Chart.yaml": chart}


def test_the_notes_are_the_section_of_the_version() -> None:
    assert choose_notes("v0.2.0", versions(), CHANGELOG) == "### Added\n\n- A thing.\n"


REFUSED = {
    "a tag without v": ("0.2.0", versions(), CHANGELOG, "expected v and a version"),
    "a tag that is no version": ("v2", versions(), CHANGELOG, "expected v and a version"),
    "a chart of another version": (
        "v0.2.0",
        versions(chart="0.1.0"),
        CHANGELOG,
        "version of Chart.yaml carries 0.1.0; expected 0.2.0",
    ),
    "a tag of another version": ("v0.3.0", versions(), CHANGELOG, "carries 0.2.0; expected 0.3.0"),
    "a section marked unreleased": (
        "v0.2.0",
        versions(),
        CHANGELOG.replace("2026-12-01", "unreleased"),
        "CHANGELOG.md has '## 0.2.0, unreleased'",
    ),
    "no section": ("v0.2.0", versions(), "# Changelog\n", "no section of this version"),
}


@pytest.mark.parametrize(
    ("tag", "carried", "changelog", "message"), REFUSED.values(), ids=REFUSED.keys()
)
def test_refuses(tag: str, carried: dict[str, str], changelog: str, message: str) -> None:
    with pytest.raises(ReleaseError) as refused:
        choose_notes(tag, carried, changelog)
    assert message in str(refused.value)


def test_the_published_chart_names_both_images_by_digest_and_is_otherwise_the_same() -> None:
    text = (CHART / "values.yaml").read_text()
    before, after = yaml.safe_load(text), yaml.safe_load(pin_values(text, OPERATOR, TRAINER))
    assert f"{after['image']['repository']}@{after['image']['digest']}" == OPERATOR
    assert after["trainer"]["image"] == TRAINER
    for values in (before, after):
        del values["image"]["repository"], values["image"]["digest"], values["trainer"]["image"]
    assert after == before


@pytest.mark.parametrize(
    "image", ["detection-operator:0.2.0", "a@sha256:12", "@sha256:" + "1" * 64]
)
def test_an_image_without_a_digest_is_refused(image: str) -> None:
    text = (CHART / "values.yaml").read_text()
    for pair in ((image, TRAINER), (OPERATOR, image)):
        with pytest.raises(ReleaseError, match="expected repository@sha256"):
            pin_values(text, *pair)


def test_values_without_the_field_are_refused() -> None:
    with pytest.raises(ReleaseError, match=r"has no image\.repository"):
        pin_values("image:\n  tag: x\n", OPERATOR, TRAINER)
