"""`python -m detection_operator`: reads the settings from the environment and runs."""

import asyncio
import gc
import logging
import sys

from pydantic import ValidationError

from detection_operator import logs
from detection_operator.errors import ConfigurationError, OperatorError
from detection_operator.settings import PREFIX, Settings
from detection_trainer.contract.training import problem_words

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
"""Thresholds of the cyclic collector: new objects, and collections of each younger generation."""
EXIT_CONFIGURATION = 2
EXIT_ENDED = 1


def explain_settings(error: ValidationError) -> str:
    """Return which environment variables are wrong, what each has, and what was expected."""
    lines = []
    for problem in error.errors():
        where, *within = problem["loc"] or ("*",)
        path = f" {'.'.join(map(str, within))}:" if within else ""
        message = problem_words(problem)
        if problem["type"] != "missing" and "received" not in message:
            message += f"; received {problem['input']!r}"
        lines.append(f"  {PREFIX}{str(where).upper()}:{path} {message}")
    return "\n".join(lines)


def collect_seldom() -> None:
    """Make the cyclic collector run seldom, and exclude the imported modules from it.

    Nearly all new objects are trees of JSON, which are freed without it; with Python's thresholds
    it took more than half of the time of decoding a list.
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
        logger.error("%s", error)  # noqa: TRY400 - the message is enough
        return EXIT_CONFIGURATION
    except (OperatorError, OSError) as error:
        logger.error("%s", error)  # noqa: TRY400 - likewise
        return EXIT_ENDED
    return 0


if __name__ == "__main__":
    sys.exit(main())
