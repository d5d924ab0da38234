"""A release from before, as it was published: its chart, and images of what is in its wheel."""

import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path

from local_cluster import images, registry
from sandbox.site.tools import Tools

VERSION = "0.1.0"
FOLDER = Path(__file__).parents[2] / "data" / "releases" / VERSION
WHEEL = FOLDER / f"detection_training-{VERSION}-py3-none-any.whl"
CHART = FOLDER / f"detection-operator-{VERSION}.tgz"
DOCKERFILE = """\
FROM localhost/{base}
USER 0:0
RUN rm -r /opt/app
COPY detection_operator /opt/app/detection_operator
COPY detection_trainer /opt/app/detection_trainer
USER 65532:65532
"""
"""The release's own code on the libraries of today's image."""


def released(tools: Tools) -> Tools:
    """Return `tools` with the release's images instead of this checkout's."""
    made = {target: _image(tools.images[target]) for target in ("operator", "trainer")}
    return replace(tools, images={**tools.images, **made})


def _image(today: str) -> str:
    base = today.rpartition("/")[2]
    name, _, tag = base.partition(":")
    with tempfile.TemporaryDirectory() as folder:
        context = Path(folder)
        with zipfile.ZipFile(WHEEL) as wheel:
            wheel.extractall(context)
        (context / "Dockerfile").write_text(DOCKERFILE.format(base=base))
        build = images.Build(name, f"{VERSION}-{tag}", context / "Dockerfile", context)
        if registry.has_image(build.name, build.tag):
            return build.reference
        return images.build_and_push(build)
