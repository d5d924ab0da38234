"""The YAML to paste into a DetectionTraining for a dataset that was just written."""

import yaml

from detection_trainer.data.convert.writer import ConversionSummary, SetSummary

_NAMES_SHOWN = 5


def dataset_yaml(summary: ConversionSummary) -> str:
    """Return `dataset` as YAML, indented as under `spec:`, with the counts as comments."""
    sets = {"train": summary.train, "validation": summary.validation}
    lines = [
        _line(name, found.uri, _counts(found)) for name, found in sets.items() if found is not None
    ]
    lines.append(_line("labelMap", summary.label_map, _names(summary.classes)))
    return "".join(f"  {line}\n" for line in ["dataset:", *lines])


def _line(name: str, uri: str, comment: str) -> str:
    quoted = yaml.safe_dump(uri, default_style='"', allow_unicode=True, width=10**6).strip()
    return f"  {name}: {{uri: {quoted}}}  # {comment}"


def _counts(found: SetSummary) -> str:
    return f"{found.images} images, {found.boxes} boxes"


def _names(classes: list[str]) -> str:
    """Return the first classes; a line break in a name would end the comment."""
    shown = ", ".join(classes[:_NAMES_SHOWN]) + (", …" if len(classes) > _NAMES_SHOWN else "")
    return "".join(letter if letter.isprintable() else "?" for letter in shown)
