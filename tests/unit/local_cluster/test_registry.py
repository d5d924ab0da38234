from pathlib import Path

import pytest

from local_cluster import registry

TABLE = """\
  sl  local_address rem_address   st
   0: 0100007F:1388 00000000:0000 0A 00000000:00000000
   1: 0100007F:0016 0100007F:1389 01 00000000:00000000
"""


def test_a_listening_socket_is_distinguished_from_a_connection() -> None:
    assert registry.is_listening(TABLE, 5000)
    assert not registry.is_listening(TABLE, 22)
    assert not registry.is_listening(TABLE.splitlines()[0], 5000)


def test_images_are_found_in_the_registry_s_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DETECTION_TRAINING_CACHE", str(tmp_path))
    assert registry.list_images() == []
    assert not registry.has_image("team/tool", "1")
    tags = (
        registry.registry_directory() / "docker/registry/v2/repositories/team/tool/_manifests/tags"
    )
    (tags / "1" / "current").mkdir(parents=True)
    (tags / "1" / "current" / "link").write_text("sha256:0")
    assert registry.list_images() == ["detection-training.local/team/tool:1"]
    assert registry.has_image("team/tool", "1")
