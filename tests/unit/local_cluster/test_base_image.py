import pytest

from local_cluster.base_image import DEFAULT_MIRROR, choose_mirror

BLOCK = "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\n"


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        (BLOCK, "http://mirror.example/debian"),
        ("deb http://mirror.example/debian bookworm main\n", "http://mirror.example/debian"),
        ("deb [arch=amd64] https://m.example/d bookworm main\n", "https://m.example/d"),
        ("deb http://mirror.example/tools tools main\n", DEFAULT_MIRROR),
        ("deb http://mirror.example/ubuntu noble main\n", DEFAULT_MIRROR),
        ("# deb http://mirror.example/debian bookworm main\n", DEFAULT_MIRROR),
        ("deb file:/srv/debian bookworm main\n", DEFAULT_MIRROR),
        ("", DEFAULT_MIRROR),
    ],
    ids=[
        "the mirror of a block",
        "the mirror of a line",
        "options are no address",
        "another repository is no mirror",
        "another distribution is no mirror",
        "a comment is none",
        "a folder is none",
        "the public one where there is none",
    ],
)
def test_debian_comes_from(sources: str, expected: str) -> None:
    assert choose_mirror(sources) == expected
