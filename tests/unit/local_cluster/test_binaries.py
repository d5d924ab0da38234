import pytest

from local_cluster import binaries


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("go version go1.26.8 linux/amd64", (1, 26)),
        ("go version go1.9 linux/arm64", (1, 9)),
        ("go version devel", (0, 0)),
        ("", (0, 0)),
    ],
)
def test_go_reports_its_version(text: str, expected: tuple[int, int]) -> None:
    assert binaries.parse_go_version(text) == expected


def test_the_program_reports_its_kubernetes_version() -> None:
    flags = binaries.build_linker_flags("v1.34.4")
    assert "-X k8s.io/component-base/version.gitVersion=v1.34.4" in flags
    assert "version.gitMinor=34" in flags


def test_the_module_requires_the_kubernetes_version_of_the_driver() -> None:
    module = (binaries.COMPONENTS_DIRECTORY / "go.mod").read_text()
    version = binaries.KUBERNETES_VERSION
    assert f"k8s.io/kubernetes {version}\n" in module
    staging = version.replace("v1.", "v0.")
    replaced = [line for line in module.splitlines() if "=>" in line]
    assert replaced
    assert all(line.endswith(f" {staging}") for line in replaced)


def test_all_programs_of_one_module_are_listed_together() -> None:
    folders = {binaries.binary_path(b).parent for b in (binaries.COMPONENTS, binaries.HELM)}
    assert len(folders) == 1
