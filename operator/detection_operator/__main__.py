"""`python -m detection_operator`: reads the settings from the environment and runs."""

import asyncio
import gc
import logging
import sys

from pydantic import ValidationError

from detection_operator import logs
from detection_operator.errors import ConfigurationError, OperatorError
from detection_operator.settings import PREFIX, Settings

try:
    from detection_operator.program import run
except ModuleNotFoundError as error:
    if (error.name or "").startswith(__package__):
        raise
    sys.exit(
        f"detection-operator needs the Python module {error.name}, which is not installed; "
        f"install the operator's dependencies: pip install 'detection-training[operator]'"
    )

logger = logging.getLogger(__name__)

GARBAGE_THRESHOLDS = 50_000, 20, 50
"""Allocations, and collections of each younger generation, between two of the cyclic collector."""
EXIT_CONFIGURATION = 2
EXIT_ENDED = 1


def explain_settings(error: ValidationError) -> str:
    """Return which environment variables are wrong, and how."""
    lines = []
    for problem in error.errors():
        name = PREFIX + str(problem["loc"][0]).upper() if problem["loc"] else PREFIX + "*"
        lines.append(f"  {name}: {problem['msg']}")
    return "\n".join(lines)


def collect_seldom() -> None:
    """Have the cyclic collector come seldom, and leave alone what was imported.

    Nearly all that is made here are trees of JSON, which go without it; with Python's thresholds it
    took more than half of the time that decoding a list does.
    """
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)


def main() -> int:
    """Run until SIGTERM; return the exit status."""
    try:
        settings = Settings.from_environment()
    except ValidationError as error:
        sys.stderr.write(f"the settings are invalid:\n{explain_settings(error)}\n")
        return EXIT_CONFIGURATION
    logs.configure(settings.log_format)
    collect_seldom()
    try:
        asyncio.run(run(settings))
    except ConfigurationError as error:
        logger.error("%s", error)  # noqa: TRY400 - the message says it all
        return EXIT_CONFIGURATION
    except (OperatorError, OSError) as error:
        logger.error("%s", error)  # noqa: TRY400 - likewise
        return EXIT_ENDED
    return 0


if __name__ == "__main__":
    sys.exit(main())
