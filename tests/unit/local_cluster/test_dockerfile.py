from pathlib import Path

import pytest

from local_cluster import images
from local_cluster.dockerfile import choose_inputs, parse_stages
from local_cluster.errors import BuildError

TEXT = """\
# a comment
ARG BASE_IMAGE=python
FROM ${BASE_IMAGE} AS base
RUN one \\
    two
FROM base AS built
COPY --chmod=755 build.sh lib/ /src/
FROM base AS operator
COPY ["operator", "/app"]
FROM base AS trainer
COPY --from=built /out /app
ADD trainer /app
FROM trainer
"""


def test_a_continued_instruction_is_one() -> None:
    _, stages = parse_stages(TEXT)
    assert stages[0].instructions[1] == "RUN one two"


def test_lines_before_the_first_stage_belong_to_all() -> None:
    instructions, _ = choose_inputs(TEXT, "operator")
    assert instructions[0] == "ARG BASE_IMAGE=python"


def test_a_target_depends_on_its_own_files() -> None:
    assert choose_inputs(TEXT, "operator")[1] == ["operator"]


def test_a_target_depends_on_the_files_of_stages_that_it_copies_from() -> None:
    assert choose_inputs(TEXT, "trainer")[1] == ["build.sh", "lib/", "trainer"]


def test_a_stage_without_a_name_is_called_by_its_number() -> None:
    assert choose_inputs(TEXT, "4")[1] == choose_inputs(TEXT, "trainer")[1]


def test_an_unknown_target_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(KeyError, match="base, built, operator, trainer, 4"):
        choose_inputs(TEXT, "web")


def test_every_source_that_the_project_s_images_copy_exists() -> None:
    for target in images.TARGETS:
        _, sources = choose_inputs((images.SOURCE_ROOT / "Dockerfile").read_text(), target)
        for source in sources:
            pattern = source.replace("${ACCELERATOR}", "cpu")
            assert list(images.SOURCE_ROOT.glob(pattern)), source


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "Dockerfile").write_text(
        "ARG BASE_IMAGE\nFROM ${BASE_IMAGE} AS operator\nCOPY operator /app\n"
        "FROM ${BASE_IMAGE} AS trainer\nARG ACCELERATOR=cuda\nCOPY ${ACCELERATOR}.lock /app\n"
    )
    (tmp_path / "operator").mkdir()
    (tmp_path / "operator" / "main.py").write_text("one")
    for accelerator in ("cpu", "cuda"):
        (tmp_path / f"{accelerator}.lock").write_text(accelerator)
    monkeypatch.setattr(images, "SOURCE_ROOT", tmp_path)
    return tmp_path


def tag(target: str, accelerator: str = "cpu", base: str = "python:1") -> str:
    return images.plan_project_build(target, accelerator, base).tag


def test_an_edit_changes_the_tag_of_the_images_that_contain_the_file(checkout: Path) -> None:
    operator, trainer = tag("operator"), tag("trainer")
    (checkout / "operator" / "main.py").write_text("two")
    assert tag("operator") != operator
    assert tag("trainer") == trainer


def test_another_base_changes_every_tag(checkout: Path) -> None:
    assert checkout.exists()
    assert tag("operator") != tag("operator", base="python:2")


def test_the_accelerator_changes_only_the_image_that_has_one(checkout: Path) -> None:
    assert checkout.exists()
    assert tag("operator") == tag("operator", "cuda")
    assert tag("trainer") != tag("trainer", "cuda")


def test_a_checkout_without_dockerfile_is_refused(checkout: Path) -> None:
    (checkout / "Dockerfile").unlink()
    with pytest.raises(BuildError, match="Dockerfile is missing"):
        tag("operator")


def test_a_dockerfile_without_the_target_is_refused(checkout: Path) -> None:
    (checkout / "Dockerfile").write_text("FROM x AS trainer\n")
    with pytest.raises(BuildError, match=r"has the stages trainer\n  expected: a stage 'operator'"):
        tag("operator")


def test_an_unknown_image_is_refused() -> None:
    with pytest.raises(BuildError, match="image name 'web'"):
        images.ensure_image("web")
