"""Judges the licences in a bill of materials by the list in the repository.

Pure: reads CycloneDX JSON that another program made, and returns what to write or to refuse.
"""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any, Self

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Package:
    """A component of an image and the licences that its metadata declares."""

    name: str
    version: str
    declared: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LicenceList:
    """What the repository allows."""

    allowed: Mapping[str, str]
    """Licence -> why it is allowed."""
    packages: Mapping[str, str]
    """Pattern of a package's name -> its licence, if the metadata does not name it."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `licences.toml`.

        Raises:
            KeyError: an entry of a package lacks its licence or its reason.
        """
        content = tomllib.loads(text)
        entries = content["packages"].items()
        read = {name: entry["licence"] for name, entry in entries if entry["why"]}
        return cls(content["allowed"], read)

    def licence_of(self, package: Package) -> str:
        """Return the licence of a package: as a person recorded it, else as it is declared."""
        for pattern, licence in self.packages.items():
            if fnmatch(package.name, pattern):
                return licence
        return ", ".join(package.declared)

    def refusal(self, package: Package) -> str | None:
        """Return why a package must not be in an image; None if it may."""
        if any(fnmatch(package.name, pattern) for pattern in self.packages):
            return None
        if package.declared and all(map(self._allows, package.declared)):
            return None
        received = ", ".join(package.declared) or "no licence"
        return (
            f"{package.name} {package.version} declares {received}; expected one of "
            f"{', '.join(self.allowed)}. Read its licence: if it may be part of an image, add it "
            "to supply_chain/licences.toml with the reason; if not, remove the package"
        )

    def _allows(self, expression: str) -> bool:
        """Return whether an SPDX expression is met; one with parentheses never is."""
        return any(
            all(term in self.allowed for term in choice.split(" AND "))
            for choice in expression.split(" OR ")
        )


def read_packages(bill: Document) -> list[Package]:
    """Return the packages of a CycloneDX document, ordered by name."""
    found = (
        Package(normalize(entry["name"]), entry["version"], tuple(_declared(entry)))
        for entry in bill.get("components", ())
    )
    return sorted(found, key=lambda package: package.name)


def normalize(name: str) -> str:
    """Return a package's name as indexes compare it.

    >>> normalize("Typing_Extensions")
    'typing-extensions'
    """
    return name.lower().replace("_", "-").replace(".", "-")


def _declared(component: Document) -> Iterator[str]:
    for entry in component.get("licenses", ()):
        licence = entry.get("license", {})
        yield entry.get("expression") or licence.get("id") or licence["name"]


def differences(packages: Iterable[Package], lock: str) -> list[str]:
    """Return where a bill of materials and the lock of its image differ, one sentence each."""
    listed = {package.name: package.version for package in packages}
    locked = dict(read_pins(lock))
    return [
        f"{name}: the lock has {locked.get(name, 'none')}, the bill has {listed.get(name, 'none')}"
        for name in sorted(listed.keys() | locked.keys())
        if listed.get(name) != locked.get(name)
    ]


def read_pins(lock: str) -> Iterator[tuple[str, str]]:
    """Yield name and version of each package in a lock.

    >>> list(read_pins("PyYAML==6.0.3 --hash=sha256:0"))
    [('pyyaml', '6.0.3')]
    """
    for line in lock.splitlines():
        if line[:1].isalnum():
            name, _, version = line.split()[0].partition("==")
            yield normalize(name.partition("[")[0]), version


def render(images: Mapping[str, Iterable[Package]], allowed: LicenceList) -> str:
    """Return the list of licences as a page of Markdown."""
    used: dict[tuple[str, str, str], list[str]] = {}
    for image, packages in images.items():
        for package in packages:
            key = (package.name, package.version, allowed.licence_of(package))
            used.setdefault(key, []).append(image)
    head = ["# Licences of the Python packages in the images", ""]
    head += ["| package | version | licence | images |", "|---|---|---|---|"]
    rows = [f"| {' | '.join(key)} | {', '.join(found)} |" for key, found in sorted(used.items())]
    return "\n".join([*head, *rows, ""])
