"""A manifest is read as it was written, with any content."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detection_trainer.checkpoints.manifest import (
    FileRecord,
    Manifest,
    Patience,
    parse_manifest,
    seal,
)
from detection_trainer.contract.report import Restored, VariableCounts
from detection_trainer.contract.sources import RestoreMode
from detection_trainer.errors import DamagedCheckpointError
from tests.support.trainer.runs import description, snapshot

DIGESTS = st.binary(min_size=32, max_size=32).map(lambda data: f"sha256:{data.hex()}")
COUNTS = st.builds(VariableCounts, restored=st.integers(0, 999), fresh=st.integers(0, 999))
NAMES = st.text(min_size=1, max_size=20).filter(str.isprintable).map(str.strip).filter(len)


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    """Draw a manifest of some run."""
    restored = st.builds(
        Restored,
        mode=st.none() | st.sampled_from(RestoreMode),
        uri=st.just("s3://runs/trees"),
        step=st.none() | st.integers(0, 2**31 - 1),
        digest=st.none() | DIGESTS,
        variables=COUNTS,
        groups=st.dictionaries(st.sampled_from(["backbone", "class_head"]), COUNTS),
    )
    patience = st.builds(
        Patience,
        target_steps=st.integers(0, 2**31 - 1),
        best=st.none() | st.floats(0.0, 1.0),
        misses=st.integers(0, 99),
    )
    state = snapshot(draw(st.integers(0, 2**31 - 1)))
    shared = description(
        attempt=draw(st.integers(1, 10**6)),
        classes=draw(st.lists(NAMES, min_size=1, max_size=5, unique=True)),
        restored=draw(st.none() | restored),
        patience=draw(st.none() | patience),
    )
    record = FileRecord(sha256=draw(DIGESTS), size=draw(st.integers(0, 2**63)))
    return shared.manifest(state, {"model.safetensors": record}, {})


@given(manifest=manifests())
def test_it_is_read_as_it_was_written(manifest: Manifest) -> None:
    assert parse_manifest(json.dumps(seal(manifest)).encode(), "here") == manifest


@given(manifest=manifests(), data=st.data())
def test_a_value_that_was_changed_is_found(manifest: Manifest, data: st.DataObject) -> None:
    document: dict[str, Any] = seal(manifest)
    field = data.draw(st.sampled_from([name for name in document if name != "formatVersion"]))
    values: list[Any] = ["other", 7, None, []]
    others = [value for value in values if value != document[field]]
    document[field] = data.draw(st.sampled_from(others))
    with pytest.raises(DamagedCheckpointError):
        parse_manifest(json.dumps(document).encode(), "here")
