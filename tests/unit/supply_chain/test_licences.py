"""Licences are allowed by the list of the repository, or refused with what to do."""

import json
from typing import Any

import pytest

from supply_chain.bill import LICENCES
from supply_chain.licences import (
    LicenceList,
    Package,
    differences,
    read_packages,
    read_pins,
    render,
)

LIST = LicenceList(
    allowed={"MIT": "permissive", "Apache-2.0": "permissive"},
    packages={"nvidia-*": "LicenseRef-NVIDIA-Proprietary"},
)

ALLOWED = {
    "a licence of the list": ("a", ("MIT",)),
    "several of the list": ("a", ("MIT", "Apache-2.0")),
    "an expression with two of the list": ("a", ("MIT AND Apache-2.0",)),
    "a choice, one of them in the list": ("a", ("GPL-3.0-only OR MIT",)),
    "a choice between a pair and one": ("a", ("GPL-3.0-only AND MIT OR Apache-2.0",)),
    "a package that a person has judged": ("nvidia-cudnn-cu12", ()),
}

REFUSED = {
    "no licence": ("a", ()),
    "a licence that is not in the list": ("a", ("GPL-3.0-only",)),
    "one in the list and one that is not": ("a", ("MIT", "GPL-3.0-only")),
    "an expression with one that is not": ("a", ("MIT AND GPL-3.0-only",)),
    "a choice between two that are not": ("a", ("GPL-3.0-only OR AGPL-3.0-only",)),
    "a licence with an exception that is not in the list": ("a", ("Apache-2.0 WITH x",)),
    "an expression with parentheses": ("a", ("(MIT OR GPL-3.0-only) AND MIT",)),
    "a name that only begins as one that is allowed": ("a", ("MIT-Modern-Variant",)),
    "a name that only contains one that a person has judged": ("my-nvidia-cudnn", ()),
}


@pytest.mark.parametrize(("name", "declared"), ALLOWED.values(), ids=ALLOWED.keys())
def test_allows(name: str, declared: tuple[str, ...]) -> None:
    assert LIST.refusal(Package(name, "1", declared)) is None


@pytest.mark.parametrize(("name", "declared"), REFUSED.values(), ids=REFUSED.keys())
def test_refuses(name: str, declared: tuple[str, ...]) -> None:
    refusal = LIST.refusal(Package(name, "1", declared))
    assert refusal is not None
    for part in (f"{name} 1", *declared, "expected one of MIT, Apache-2.0", "licences.toml"):
        assert part in refusal


def bill(*components: dict[str, Any]) -> dict[str, Any]:
    return {"components": list(components)}


def test_reads_each_way_in_which_a_bill_names_a_licence() -> None:
    licences = [
        {"license": {"id": "MIT"}},
        {"license": {"name": "License :: x"}},
        {"expression": "MIT OR ISC"},
    ]
    [package] = read_packages(bill({"name": "Big_Name", "version": "1", "licenses": licences}))
    assert package == Package("big-name", "1", ("MIT", "License :: x", "MIT OR ISC"))


LOCK = """\
PyYAML==6.0.3 \\
    --hash=sha256:00
    # via a
pyjwt[crypto]==2.15.1 \\
    --hash=sha256:11
"""


def test_reads_the_pins_of_a_lock() -> None:
    assert list(read_pins(LOCK)) == [("pyyaml", "6.0.3"), ("pyjwt", "2.15.1")]


DIFFERENT = {
    "nothing, of an environment that was not read": ((), 2),
    "a package less": ((Package("pyyaml", "6.0.3", ()),), 1),
    "another version": ((Package("pyyaml", "6.0.2", ()), Package("pyjwt", "2.15.1", ())), 1),
    "a package more": (
        (Package("pyyaml", "6.0.3", ()), Package("pyjwt", "2.15.1", ()), Package("x", "1", ())),
        1,
    ),
    "the same": ((Package("pyyaml", "6.0.3", ()), Package("pyjwt", "2.15.1", ())), 0),
}


@pytest.mark.parametrize(("packages", "count"), DIFFERENT.values(), ids=DIFFERENT.keys())
def test_a_bill_lists_the_packages_of_the_lock(packages: tuple[Package, ...], count: int) -> None:
    assert len(differences(packages, LOCK)) == count


def test_the_page_has_a_row_for_each_package_and_names_its_images() -> None:
    shared, own = Package("a", "1", ("MIT",)), Package("nvidia-x", "2", ())
    page = render({"operator": [shared], "trainer-cuda": [shared, own]}, LIST)
    assert "| a | 1 | MIT | operator, trainer-cuda |" in page
    assert "| nvidia-x | 2 | LicenseRef-NVIDIA-Proprietary | trainer-cuda |" in page


def test_every_licence_of_the_list_has_a_reason() -> None:
    text = LICENCES.read_text()
    assert all(LicenceList.parse(text).allowed.values())
    without = text.replace('why = "its LICENSE file; the metadata has nothing"', "")
    with pytest.raises(KeyError, match="why"):
        LicenceList.parse(without)


def test_a_bill_without_components_has_no_packages() -> None:
    assert read_packages(json.loads("{}")) == []
