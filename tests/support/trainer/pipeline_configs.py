"""pipeline.configs as the OD API has them, for tests."""

from pathlib import Path

FOLDER = Path(__file__).parents[2] / "data/pipeline_configs"
TREES = "trees_resnet50_adam_exponential"
"""A configuration with all placeholders filled in."""


def config_text(name: str = TREES) -> str:
    """Return a configuration of `tests/data/pipeline_configs`."""
    return next(FOLDER.glob(f"*/{name}.config")).read_text()
