"""The keys of the S3 server, as a folder that the trainer reads."""

from pathlib import Path

from sandbox.site.object_store import ACCESS_KEY, SECRET_KEY, write_keys


def read(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.iterdir()}


def test_keys_are_files_in_a_new_folder(tmp_path: Path) -> None:
    folder = write_keys(tmp_path / "new" / "keys", "http://127.0.0.1:7070")
    assert folder == tmp_path / "new" / "keys"
    assert read(folder) == {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_ENDPOINT_URL": "http://127.0.0.1:7070",
        "AWS_REGION": "us-east-1",
    }


def test_keys_can_be_replaced_and_added(tmp_path: Path) -> None:
    write_keys(tmp_path, "http://127.0.0.1:1")
    write_keys(tmp_path, "http://127.0.0.1:2", AWS_ACCESS_KEY_ID="ann", AWS_SESSION_TOKEN="x")
    found = read(tmp_path)
    assert found["AWS_ENDPOINT_URL"] == "http://127.0.0.1:2"
    assert found["AWS_ACCESS_KEY_ID"] == "ann"
    assert found["AWS_SESSION_TOKEN"] == "x"
