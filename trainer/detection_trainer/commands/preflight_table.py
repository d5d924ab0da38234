"""What a preflight found, as people read it: the verdict, then one line for each thing checked."""

from collections.abc import Iterator

from detection_trainer.preflight import DataResult, FolderResult, PreflightResult, SourceResult


def preflight_lines(result: PreflightResult) -> Iterator[str]:
    """Yield the verdict, then the table."""
    yield "The training can start: every check passed."
    yield ""
    rows = {
        "classes": f"{len(result.classes)}: {', '.join(result.classes)}",
        "training data": _data(result.train),
        "validation data": "none" if result.validation is None else _data(result.validation),
        "checkpoint folder": _folder(result.folder),
        "start": _start(result.source),
        "config digest": result.config_digest,
    }
    width = max(map(len, rows)) + 2
    yield from (f"{name:<{width}}{value}" for name, value in rows.items())
    yield from (f"{'note':<{width}}{note}" for note in result.notes)


def _data(data: DataResult) -> str:
    summary = data.summary
    sample = f"; only {data.sampled_files[0]} was read" if data.sampled_files else ""
    return f"{data.uri}: {summary.images} images, {summary.boxes} boxes{sample}"


def _folder(folder: FolderResult) -> str:
    owner = "no owner yet" if folder.owner is None else f"owner {folder.owner}"
    steps = ", ".join(map(str, folder.checkpoints)) or "none"
    return f"{folder.uri}: can be written, {owner}, checkpoints at steps: {steps}"


def _start(source: SourceResult) -> str:
    where = {
        "Resume": f"resumes at step {source.step}",
        "Continue": f"continues {source.uri} at step {source.step}",
        "Restore": f"step 0, with weights of {source.uri} (mode {source.mode})",
        "Scratch": "step 0, with fresh weights",
    }[source.start]
    if source.variables is None:
        return where
    counts = source.variables
    return f"{where}; {counts.restored} variables restored, {counts.fresh} fresh"
