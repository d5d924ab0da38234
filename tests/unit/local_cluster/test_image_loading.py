import pytest

from local_cluster.errors import BuildError
from local_cluster.image_loading import choose_transport


@pytest.mark.parametrize(
    ("names", "transport"),
    [
        (["blobs", "index.json", "manifest.json", "oci-layout"], "oci-archive"),
        (["./index.json"], "oci-archive"),
        (["manifest.json", "repositories"], "docker-archive"),
    ],
)
def test_an_archive_is_recognised_by_its_kind(names: list[str], transport: str) -> None:
    assert choose_transport(names) == transport


def test_another_archive_is_refused_with_its_content() -> None:
    with pytest.raises(BuildError, match=r"files readme\.txt"):
        choose_transport(["readme.txt"])
