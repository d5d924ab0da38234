"""Parsed pipeline configurations: each is read once, and kept within a number of bytes.

A training is parsed for each event, while its configuration does not change. One of the largest
takes 0.2 s, so it must not be parsed on the event loop.
"""

import threading
from collections import OrderedDict

from detection_trainer.contract.pipeline_config.mapping import PipelineConfig, read_pipeline_config
from detection_trainer.contract.pipeline_config.reading import PipelineConfigError
from detection_trainer.contract.spec import MAX_PIPELINE_CONFIG

CACHE_BYTES = 4 * 2**20
"""Bytes of text, for example 800 configurations of the model zoo. Parsed they take three times as
much.
"""

Read = PipelineConfig | PipelineConfigError


class ConfigCache:
    """The configurations that were parsed last; several threads may call it."""

    def __init__(self, max_bytes: int = CACHE_BYTES) -> None:
        """Keep `max_bytes` of text."""
        self._read: OrderedDict[str, Read] = OrderedDict()
        self._max_bytes, self._bytes = max_bytes, 0
        self._lock = threading.Lock()
        self.misses = 0

    def __contains__(self, text: str) -> bool:
        """Return whether `text` has been parsed."""
        return text in self._read

    def __call__(self, text: str) -> PipelineConfig:
        """Return the parsed pipeline.config.

        Raises:
            PipelineConfigError: it is invalid.
        """
        if len(text) > MAX_PIPELINE_CONFIG:
            raise PipelineConfigError(
                f"expected at most {MAX_PIPELINE_CONFIG} characters; received {len(text)}: take "
                "out what does not belong to a pipeline.config"
            )
        with self._lock:
            found = self._read.get(text)
        if found is None:
            found = _read(text)
        with self._lock:
            self._keep(text, found)
        if isinstance(found, PipelineConfigError):
            raise PipelineConfigError(*found.args)
        return found

    def _keep(self, text: str, found: Read) -> None:
        if text not in self._read:
            self.misses += 1
            self._bytes += _size(text)
        self._read[text] = found
        self._read.move_to_end(text)
        while self._bytes > self._max_bytes and len(self._read) > 1:
            dropped, _ = self._read.popitem(last=False)
            self._bytes -= _size(dropped)


def _size(text: str) -> int:
    return len(text.encode(errors="replace"))


def _read(text: str) -> Read:
    try:
        return read_pipeline_config(text)
    except PipelineConfigError as error:
        return error.with_traceback(None)
    except RecursionError:
        return PipelineConfigError("expected messages nested some levels deep; received far more")


read_config = ConfigCache()
