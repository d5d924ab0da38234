"""The YAML to paste into a DetectionTraining for a dataset that was just written."""

import json

from detection_trainer.data.convert.writer import ConversionSummary, SetSummary


def dataset_yaml(summary: ConversionSummary) -> str:
    """Return `spec.dataset` as YAML, with the counts as comments.

    Names and addresses are quoted as in JSON, which is valid YAML.
    """
    sets = {"train": summary.train, "validation": summary.validation}
    lines = [_line(name, found) for name, found in sets.items() if found is not None]
    classes = json.dumps(summary.classes, ensure_ascii=False)
    return "\n".join(["dataset:", *lines, f"  classes: {classes}"]) + "\n"


def _line(name: str, found: SetSummary) -> str:
    uri = json.dumps(found.uri, ensure_ascii=False)
    return f"  {name}: {{uri: {uri}}}  # {found.images} images, {found.boxes} boxes"
