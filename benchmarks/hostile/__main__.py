"""`make bench-hostile`: the same training without and beside the attacks of another namespace."""

import argparse
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from benchmarks.hostile.other_work import other_work
from benchmarks.hostile.processors import PROGRAMS, Processors
from benchmarks.hostile.siege import Siege, under_attack_for
from benchmarks.hostile.victim import DATASET, STEPS, Life, live, write_dataset
from benchmarks.machine import processor
from benchmarks.page import PAGE, write_part
from benchmarks.rounds import Figure, table
from detection_operator import names
from detection_trainer.contract.runtime import REPORT_AUDIENCE
from local_cluster import lifecycle
from local_cluster.binaries import KUBERNETES_VERSION
from sandbox.attacks.hostile_pod import Hostile
from sandbox.attacks.tenant import enroll
from sandbox.site import installation, object_store
from sandbox.site.kube import TRAININGS, Kube
from sandbox.site.namespaces import restricted_namespace
from sandbox.site.tools import Tools

logger = logging.getLogger(__name__)

PART = "bench-hostile"
LEAD_S = 5.0
"""How long the attacks go on before a training is applied beside them."""
MOMENTS = {"started_s": "starts", "reported_s": "reports", "completed_s": "completes"}
GOAL = "1.5 times"


@dataclass(slots=True)
class Side:
    """The runs of one kind."""

    lives: list[Life] = field(default_factory=list)
    processors: Processors = field(default_factory=Processors)

    def figure(self, moment: str) -> Figure:
        """Return how long all runs took until a moment."""
        return Figure.of([getattr(life, moment) for life in self.lives])


@dataclass(frozen=True, slots=True)
class Field:
    """Where it happens."""

    kube: Kube
    victims: str
    siege: Siege

    def run(self, side: Side, name: str) -> None:
        """Let one training live, and keep what it took."""
        with side.processors.counting():
            life = live(self.kube, self.victims, name)
        logger.info("%s: %s", name, life)
        side.lives.append(life)


@contextmanager
def battlefield(cluster: str) -> Iterator[Field]:
    """Prepare a cluster with the default chart, storage, and a hostile tenant."""
    tools = Tools.choose(cluster)
    with ExitStack() as stack:
        if Tools.is_local():
            stack.callback(lifecycle.down, cluster)
        kube = stack.enter_context(tools.connect())
        victims = stack.enter_context(restricted_namespace(kube, "victims"))
        others = stack.enter_context(restricted_namespace(kube, "attackers"))
        object_store.deploy(kube, victims, tools.images["s3"])
        installation.install(tools)
        stack.callback(installation.uninstall, tools, kube)
        with object_store.reach(tools, victims) as store:
            write_dataset(store.folder(DATASET))
        logger.info("a first run, which is not counted: %s", live(kube, victims, "first"))
        tenant = stack.enter_context(enroll(tools, kube, others))
        pod = Hostile(tenant, REPORT_AUDIENCE).start(_labels(kube, victims, "first"))
        yield Field(kube, victims, Siege(tenant, pod))


def _labels(kube: Kube, namespace: str, name: str) -> dict[str, str]:
    """Return the labels of a trainer's pod: the NetworkPolicies let it through."""
    uid = kube.get(f"{TRAININGS.format(namespace=namespace)}/{name}")["metadata"]["uid"]
    labels = {names.LABEL_TRAINING: name, names.LABEL_TRAINING_UID: uid}
    return labels | {names.LABEL_ATTEMPT: "1", names.LABEL_ROLE: names.ROLE_TRAINER}


@dataclass(frozen=True, slots=True)
class Sides:
    """The runs of each kind, in turn."""

    alone: Side = field(default_factory=Side)
    attacked: Side = field(default_factory=Side)
    busy: Side = field(default_factory=Side)
    """Beside as much work as the attacks cause, which is none of the operator's business."""


def measure(where: Field, pairs: int) -> str:
    """Run all sides in turn; return the page's text."""
    sides, load = Sides(), os.getloadavg()[0]
    for number in range(pairs):
        where.run(sides.alone, f"alone-{number}")
        with where.siege.running():
            under_attack_for(where.siege, LEAD_S)
            where.run(sides.attacked, f"attacked-{number}")
        caused = sides.attacked.processors.beside("trainer")
        with other_work(caused - sides.alone.processors.beside("trainer")):
            where.run(sides.busy, f"busy-{number}")
    parts = (_times(sides), _work(where.siege), _shares(sides))
    return "\n\n".join((_conditions(pairs, load), *parts))


def _conditions(pairs: int, load: float) -> str:
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {len(os.sched_getaffinity(0))} cores of {processor()} for "
        f"everything together, load {load:.1f} at the start. Kubernetes {KUBERNETES_VERSION}, the "
        f"default chart, a training of {STEPS} steps with its preflight, {pairs} rounds in turn: "
        "median (smallest … largest), and the ratio of the medians."
    )


def _times(sides: Sides) -> str:
    rows = []
    for moment, verb in MOMENTS.items():
        alone, attacked, busy = (
            side.figure(moment) for side in (sides.alone, sides.attacked, sides.busy)
        )
        texts = [figure.text(".1f", " s") for figure in (alone, attacked, busy)]
        ratios = [f"{attacked.median / other.median:.2f} times" for other in (alone, busy)]
        rows.append([f"Apply → the training {verb}", *texts, *ratios])
    head = ["", "alone", "attacked", "busy", f"attacked : alone (goal: {GOAL})", "attacked : busy"]
    return table(head, rows)


def _work(siege: Siege) -> str:
    done = ", ".join(f"{count:,} {what}" for what, count in sorted(siege.done.items()))
    return f"The attacks of all rounds: {done}."


def _shares(sides: Sides) -> str:
    counted = [side.processors for side in (sides.alone, sides.attacked, sides.busy)]
    rows = [
        [name, *(f"{processors.share(name):.2f}" for processors in counted)]
        for name in (*PROGRAMS, "others")
    ]
    return table(["cores taken in the mean by", "alone", "attacked", "busy"], rows)


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=3, help="rounds of each kind of run")
    parser.add_argument("--cluster", default="bench", help="taken down afterwards")
    parser.add_argument("--record", action="store_true", help=f"write the table into {PAGE.name}")
    arguments = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("benchmarks").setLevel(logging.INFO)
    with battlefield(arguments.cluster) as where:
        text = measure(where, arguments.pairs)
    sys.stdout.write(f"\n{text}\n")
    if arguments.record:
        write_part(PAGE, PART, text)


if __name__ == "__main__":
    main()
