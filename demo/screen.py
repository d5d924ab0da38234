"""What the demo shows: the commands that it runs, live bars from the status, and one table."""

from collections.abc import Callable
from dataclasses import dataclass, field

from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from sandbox.site.kube import Kube, Object, phase


@dataclass
class Screen:
    """The terminal, and the promises that were kept or broken so far."""

    console: Console = field(default_factory=Console)
    promises: list[tuple[str, str, bool]] = field(default_factory=list)

    def chapter(self, title: str, text: str) -> None:
        """Begin a part of the story."""
        self.console.print()
        self.console.print(Panel(text, title=f"[bold]{title}", title_align="left"))

    def command(self, *arguments: str) -> None:
        """Show a command as the user would type it."""
        self.console.print(Text("$ " + " ".join(arguments), style="cyan"))

    def print(self, text: str) -> None:
        """Print one line."""
        self.console.print(text, highlight=False)

    def promise(self, what: str, observed: str, *, kept: bool) -> None:
        """Record a promise of this product, and what was observed."""
        self.promises.append((what, observed, kept))
        mark = "[green]✓[/]" if kept else "[red]✗[/]"
        self.console.print(f"{mark} {what}: {observed}", highlight=False)

    def follow(
        self, kube: Kube, path: str, until: Callable[[Object | None], bool], *, timeout_s: float
    ) -> Object:
        """Show a training's bar until `until` accepts its state; return that state."""
        columns = (
            TextColumn("  {task.description:12}"), BarColumn(bar_width=16), MofNCompleteColumn(),
            TimeElapsedColumn(), TextColumn("{task.fields[more]}"),
        )  # fmt: skip
        name = path.rsplit("/", 1)[-1]
        with Progress(*columns, console=self.console) as bars:
            bar = bars.add_task(name, total=None, more="")
            seen: set[str] = set()

            def shown(found: Object | None) -> bool:
                if found is not None:
                    bars.update(bar, **_bar_of(found))
                    if (word := phase(found)) not in seen:
                        seen.add(word)
                        bars.console.print(f"  {name}: {word}", style="dim", highlight=False)
                return until(found)

            return kube.wait(path, shown, what=f"{name} on its way", timeout_s=timeout_s)

    def close(self) -> bool:
        """Print the table of all promises; return whether all were kept."""
        table = Table(title="What was promised, and what was seen", title_justify="left")
        for column in ("", "promise", "observed"):
            table.add_column(column, overflow="fold")
        for what, observed, kept in self.promises:
            table.add_row("[green]✓[/]" if kept else "[red]✗[/]", what, observed)
        self.console.print()
        self.console.print(table)
        return all(kept for _, _, kept in self.promises)


def _bar_of(training: Object) -> Object:
    status = training.get("status") or {}
    progress = status.get("progress") or {}
    parts = [f"loss {progress['loss']}"] if "loss" in progress else []
    if "mAP50" in (metrics := status.get("metrics") or {}):
        parts.append(f"mAP50 {float(metrics['mAP50']):.3f}")
    if "latestCheckpoint" in status:
        parts.append(f"saved {status['latestCheckpoint']['step']}")
    return {
        "completed": status.get("step", 0),
        "total": training["spec"]["steps"],
        "more": "  ".join(parts),
    }
