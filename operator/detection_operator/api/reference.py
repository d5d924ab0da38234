"""Writes the reference pages from the code: `python -m detection_operator.api.reference FOLDER`.

`make generate` calls it. The pages are committed; `make verify` fails if they differ.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from detection_operator.api.conditions import CONDITION_HELP, PHASE_HELP, REASON_HELP
from detection_operator.api.crd import build_crd, spec_schema
from detection_trainer.contract.exit_codes import ExitCode
from detection_trainer.contract.rules import CEL_KEY

Schema = dict[str, Any]
MADE = "<!-- Generated from the code by `make generate`; do not edit. -->\n"
SIMPLE = ("string", "integer", "number", "boolean")


def fields(schema: Schema, path: str) -> Iterator[tuple[str, Schema, bool]]:
    """Yield every field below `schema`: its path, its schema, and whether it must be given."""
    required = schema.get("required", [])
    for name, field in schema.get("properties", {}).items():
        here = f"{path}.{name}"
        yield here, field, name in required
        yield from fields(field, here)
        if "items" in field:
            yield from fields(field["items"], here + "[]")


def rules(schema: Schema, path: str) -> Iterator[tuple[str, str]]:
    """Yield every CEL message below `schema` with its path."""
    for rule in schema.get(CEL_KEY, []):
        yield path, rule["message"]
    for name, field in schema.get("properties", {}).items():
        yield from rules(field, f"{path}.{name}")
        if "items" in field:
            yield from rules(field["items"], f"{path}.{name}[]")


def kind_of(field: Schema) -> str:
    """Return a field's type as the reference names it."""
    if choices := field.get("enum"):
        return " \\| ".join(f"`{choice}`" for choice in choices)
    if field.get("x-kubernetes-int-or-string"):
        return "quantity"
    match field.get("type"):
        case "array":
            return f"list of {kind_of(field['items'])}"
        case "object" if "additionalProperties" in field:
            return f"map to {kind_of(field['additionalProperties'])}"
        case kind:
            return str(field.get("format", kind))


def bounds_of(field: Schema) -> str:
    """Return a field's limits as the reference states them."""
    limits = []
    if "minimum" in field:
        limits.append(
            f"{'above' if field.get('exclusiveMinimum') else 'from'} {field['minimum']:g}"
        )
    if "maximum" in field:
        limits.append(f"{'below' if field.get('exclusiveMaximum') else 'to'} {field['maximum']:g}")
    if "multipleOf" in field:
        limits.append(f"in steps of {field['multipleOf']}")
    if "pattern" in field:
        limits.append("`" + field["pattern"].replace("|", "\\|") + "`")
    return ", ".join(limits)


def field_row(path: str, field: Schema, *, must: bool) -> str:
    """Return one row of the table of fields."""
    default = field.get("default")
    simple = default is not None and field.get("type") in (*SIMPLE, "array")
    shown = f"`{json.dumps(default)}`" if simple else "**required**" if must else ""
    text = field.get("description", "")
    return f"| `{path}` | {kind_of(field)} | {bounds_of(field)} | {shown} | {text} |"


def api_page() -> str:
    """Return the page on the resource: fields, then the rules of admission."""
    version = build_crd()["spec"]["versions"][0]
    root = version["schema"]["openAPIV3Schema"]
    lines = [MADE, "# DetectionTraining, detectiontraining.dev/v1alpha1", ""]
    # The CRD has no defaults of the spec; the models do.
    schemas = {"spec": spec_schema(), "status": root["properties"]["status"]}
    for part, schema in schemas.items():
        lines += [
            f"## {part}",
            "",
            "| field | type | bounds | default | |",
            "|---|---|---|---|---|",
        ]
        found = fields(schema, part)
        lines += [field_row(path, field, must=must) for path, field, must in found]
        lines.append("")
    lines += ["## What admission refuses", "", "| at | message |", "|---|---|"]
    spec_rules = rules(root["properties"]["spec"], "spec")
    lines += [f"| `{path}` | {message} |" for path, message in spec_rules]
    lines += [f"| the resource | {rule['message']} |" for rule in root[CEL_KEY]]
    return "\n".join(lines) + "\n"


def conditions_page() -> str:
    """Return the page on phases, conditions, reasons and exit codes."""
    lines = [
        MADE,
        "# Phases, conditions, reasons and exit codes",
        "",
        "## Phases",
        "",
        "| phase | |",
        "|---|---|",
    ]
    lines += [f"| `{phase}` | {text} |" for phase, text in PHASE_HELP.items()]
    lines += ["", "## Conditions", "", "| type | |", "|---|---|"]
    lines += [f"| `{about}` | {text} |" for about, text in CONDITION_HELP.items()]
    lines += ["", "## Reasons", "", "In conditions, interruptions and Events.", ""]
    lines += ["| reason | what it means, what to do |", "|---|---|"]
    lines += [f"| `{reason}` | {text} |" for reason, text in REASON_HELP.items()]
    lines += [
        "",
        "## Exit codes of the trainer",
        "",
        "| code | reason | verdict |",
        "|---|---|---|",
    ]
    lines += [f"| {int(code)} | `{code.reason}` | {code.verdict} |" for code in ExitCode]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the pages into the folder on the command line."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "detectiontraining.md").write_text(api_page())
    (folder / "conditions.md").write_text(conditions_page())


if __name__ == "__main__":
    main()
