"""Checks that a checkout may be released under a tag, and prepares the published chart."""

import re
import shutil
import tomllib
from pathlib import Path

import yaml

from supply_chain.errors import ReleaseError

ROOT = Path(__file__).parents[1]
CHART = ROOT / "charts" / "detection-operator"
VALUES = "values.yaml"
_TAG = re.compile(r"v(\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?)")
_IMAGE = re.compile(r"([^@\s\"]+)@(sha256:[0-9a-f]{64})")


def read_notes(tag: str, root: Path = ROOT) -> str:
    """Return the section of CHANGELOG.md for `tag`.

    Raises:
        ReleaseError: program, chart or changelog do not have this version.
    """
    chart = yaml.safe_load((root / "charts" / "detection-operator" / "Chart.yaml").read_text())
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    versions = {
        "pyproject.toml": project["version"],
        "version of Chart.yaml": chart["version"],
        "appVersion of Chart.yaml": chart["appVersion"],
    }
    return choose_notes(tag, versions, (root / "CHANGELOG.md").read_text())


def choose_notes(tag: str, versions: dict[str, str], changelog: str) -> str:
    """Return the section of `changelog` for `tag`, as `read_notes` does.

    Args:
        tag: `v` and a version.
        versions: place -> the version that it carries.
        changelog: sections headed `## <version>, <date>`.
    """
    found = _TAG.fullmatch(tag)
    if found is None:
        raise ReleaseError(f"received the tag {tag!r}; expected v and a version, such as v0.2.0")
    version = found[1]
    for place, carried in versions.items():
        if carried != version:
            raise ReleaseError(
                f"{place} carries {carried}; expected {version}, as in the tag {tag}: correct one "
                "of them and tag again"
            )
    heading = re.search(rf"^## {re.escape(version)}, (.+)$", changelog, re.MULTILINE)
    if heading is None or not re.fullmatch(r"\d{4}-\d\d-\d\d", heading[1]):
        received = heading[0] if heading is not None else "no section of this version"
        raise ReleaseError(
            f"CHANGELOG.md has {received!r}; expected '## {version}, YYYY-MM-DD': write the day of "
            "the release there and tag again"
        )
    return changelog[heading.end() :].partition("\n## ")[0].strip() + "\n"


def pin_chart(operator: str, trainer: str, output: Path) -> None:
    """Copy the chart to `output`, with both images named by digest in its values.

    Raises:
        ReleaseError: an image is not named by digest, or the values are not as expected.
    """
    shutil.copytree(CHART, output)
    values = output / VALUES
    values.write_text(pin_values(values.read_text(), operator, trainer))


def pin_values(text: str, operator: str, trainer: str) -> str:
    """Return the chart's values with both images named by digest; comments are kept."""
    repository, digest = _parse_image(operator)
    _parse_image(trainer)
    text = _set(text, "image", "repository", repository)
    text = _set(text, "image", "digest", digest)
    return _set(text, "trainer", "image", trainer)


def _parse_image(image: str) -> tuple[str, str]:
    found = _IMAGE.fullmatch(image)
    if found is None:
        raise ReleaseError(f"received the image {image!r}; expected repository@sha256:<64 digits>")
    return found[1], found[2]


def _set(text: str, section: str, key: str, value: str) -> str:
    pattern = rf"^({section}:\n(?:[ #].*\n)*?  {key}: ).*$"
    result, count = re.subn(pattern, rf'\g<1>"{value}"', text, count=1, flags=re.MULTILINE)
    if not count:
        raise ReleaseError(f"{VALUES} has no {section}.{key}: correct supply_chain/release.py")
    return result
