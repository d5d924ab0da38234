"""Objects in a bucket, by obstore: S3 and what speaks its protocol, Google, Azure.

obstore retries failed requests by itself, within the bounds that `places` sets; what arrives here
is final.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import obstore
from obstore import exceptions

from detection_trainer.errors import (
    AccessDeniedError,
    InvalidConfigError,
    NotFoundError,
    StorageFullError,
    StorageUnavailableError,
    StorageUnsupportedError,
    TrainerError,
)
from detection_trainer.storage.folder import PIECE_BYTES, Entry, Pieces, Source, require_small
from detection_trainer.storage.local import explain_os_error

_PARALLEL_PARTS = 4
"""Of one file, up or down."""
_LIST_TRIES = 3
_CUT_OFF = "response body error"
_FULL_WORDS = ("storagefull", "insufficient storage", "quotaexceeded", "insufficientspace")
_REFUSED_WORDS = (
    "401 unauthorized", "403 forbidden", "invalidaccesskeyid", "signaturedoesnotmatch",
    "expiredtoken", "xadminusernotfound",
    # Where credentials are sought when none are given.
    "169.254.169.254", "metadata.google.internal",
)  # fmt: skip
_BAD_CERTIFICATE = "InvalidCertificate"
"""The message of the TLS library, which only the dump of obstore contains."""
_XML = re.compile(r"<\?xml.*", re.DOTALL)
_XML_FACTS = re.compile(r"<(?:Code|Message)>([^<]*)<")
_MESSAGE_LIMIT = 600


@dataclass(frozen=True, slots=True)
class ObjectStorage:
    """The objects of one bucket or container."""

    store: Any
    """An obstore store."""
    root: str
    """The bucket's URI, for messages."""
    require_identity: Callable[[], None] = lambda: None
    """Raises where there are no credentials; called before each request."""

    def read(self, key: str) -> bytes:
        """Return the whole object."""
        with self._explained(key, "reading"):
            return bytes(obstore.get(self.store, key).bytes())

    def read_small(self, key: str, limit: int) -> bytes:
        """Return the whole object, of at most `limit` bytes."""
        with self._explained(key, "reading"):
            found = obstore.get(self.store, key)
            require_small(f"{self.root}/{key}", found.meta["size"], limit)
            return bytes(found.bytes())

    def read_large(self, key: str) -> bytes:
        """Return the whole object; of a big one several parts come at once."""
        with self._explained(key, "reading"):
            meta = obstore.head(self.store, key)
            starts = range(0, meta["size"], PIECE_BYTES)
            if len(starts) <= 1:
                return self.read(key)
            # Of another object than the first part, none is taken.
            same = {"if_match": meta["e_tag"]} if meta["e_tag"] else {}

            def read(start: int) -> obstore.Bytes:
                part = (start, min(start + PIECE_BYTES, meta["size"]))
                return obstore.get(self.store, key, options={"range": part, **same}).bytes()

            with ThreadPoolExecutor(_PARALLEL_PARTS) as pool:
                return b"".join(pool.map(read, starts))

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """Return at most `length` bytes from byte `start`."""
        with self._explained(key, "reading"):
            # The protocol knows no empty range, and none that begins at the end.
            length = min(length, obstore.head(self.store, key)["size"] - start)
            if length <= 0:
                return b""
            return bytes(obstore.get_range(self.store, key, start=start, length=length))

    def write(self, key: str, data: Source, *, create: bool) -> None:
        """Write the object at once; `create` is a conditional put.

        A big one goes up in parts, several in flight; one that fails takes those that are there
        away again, if the server still answers.
        """
        with self._explained(key, "writing"):
            obstore.put(
                self.store,
                key,
                iter(data) if isinstance(data, Pieces) else data,
                mode="create" if create else "overwrite",
                # Of an iterator the size is not known there.
                use_multipart=data.size > PIECE_BYTES if isinstance(data, Pieces) else None,
                chunk_size=PIECE_BYTES,
                max_concurrency=_PARALLEL_PARTS,
            )

    def list(self, directory: str, name: str, *, recursive: bool) -> Iterator[Entry]:
        """Yield the objects whose key below `directory` begins with `name`."""
        beginning = f"{directory}/{name}" if directory else name
        with self._explained(directory, "listing"):
            for meta in self._metas(directory, recursive=recursive):
                if meta["path"].startswith(beginning):
                    yield _entry(meta)

    def head(self, key: str) -> Entry | None:
        """Describe one object, or return None if there is none."""
        with self._explained(key, "looking up"):
            try:
                return _entry(obstore.head(self.store, key))
            except FileNotFoundError:
                return None

    def delete(self, key: str) -> None:
        """Delete one object; S3 is silent about one that does not exist."""
        with self._explained(key, "deleting"):
            obstore.delete(self.store, key)

    def download(self, key: str, target: Path) -> None:
        """Copy the object to `target` in pieces."""
        with self._explained(key, "reading"):
            stream = obstore.get(self.store, key).stream(min_chunk_size=PIECE_BYTES)
            try:
                with target.open("wb") as file:
                    for piece in stream:
                        file.write(piece)
            except OSError as error:
                raise explain_os_error(error, target, "writing") from error

    def local_path(self, key: str) -> None:
        """Objects do not lie on this machine."""
        del key

    def _metas(self, directory: str, *, recursive: bool) -> Sequence[Any]:
        """List, again where an answer was cut off in the middle: obstore retries all but that."""
        for _ in range(_LIST_TRIES - 1):
            try:
                return list(self._list_once(directory, recursive=recursive))
            except exceptions.GenericError as error:
                if _CUT_OFF not in str(error):
                    raise
        return list(self._list_once(directory, recursive=recursive))

    def _list_once(self, directory: str, *, recursive: bool) -> Iterator[Any]:
        prefix = directory or None
        if recursive:
            for metas in obstore.list(self.store, prefix, chunk_size=1000):
                yield from metas
        else:
            yield from obstore.list_with_delimiter(self.store, prefix)["objects"]

    @contextmanager
    def _explained(self, key: str, doing: str) -> Iterator[None]:
        place = f"{self.root}/{key}" if key else self.root
        self.require_identity()
        try:
            yield
        except exceptions.AlreadyExistsError as error:
            raise FileExistsError(f"{place} exists already") from error
        except FileNotFoundError as error:
            if any(word in str(error).lower() for word in _REFUSED_WORDS):
                # Some servers answer 404 where it is the key's owner that they do not find.
                raise explain_object_error(error, place, doing) from error
            msg = f"{doing} {place} failed: there is no such object or bucket: check the address"
            raise NotFoundError(msg) from error
        except (exceptions.BaseError, ValueError) as error:
            raise explain_object_error(error, place, doing) from error


def explain_object_error(error: Exception, place: str, doing: str) -> TrainerError:
    """Return the trainer's error for an error of obstore about `place`."""
    text = obstore_text(error)
    what = f"{doing} {place} failed: {text}"
    lower = text.lower()
    if isinstance(error, exceptions.InvalidPathError | exceptions.NotSupportedError | ValueError):
        return InvalidConfigError(f"{what}: check the address")
    if _BAD_CERTIFICATE in str(error):
        return InvalidConfigError(
            f"{what}: the server's certificate is not one that this machine trusts: put the "
            "certificate of its authority into the Secret's key AWS_CA_BUNDLE (or name its file in "
            "that environment variable), and address the server by a name that it is made out to"
        )
    denied = (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError)
    if isinstance(error, denied) or any(word in lower for word in _REFUSED_WORDS):
        return AccessDeniedError(
            f"{what}: give credentials that may read and write there (spec.credentials with the "
            "keys of the Secret, or the usual environment variables)"
        )
    return _by_answer(what, lower)


def _by_answer(what: str, lower: str) -> TrainerError:
    """Return the error for an answer that concerns neither the address nor who asks."""
    if "404 not found" in lower:
        return NotFoundError(f"{what}: check the address")
    if "501 not implemented" in lower:
        return StorageUnsupportedError(
            f"{what}: the server does not support this request: use a newer version of it, or "
            "another storage"
        )
    if any(word in lower for word in _FULL_WORDS):
        return StorageFullError(
            f"{what}: raise the quota, keep fewer checkpoints (checkpoints.keepLast, keepBest, "
            "keepEverySteps), or delete what is not needed"
        )
    return StorageUnavailableError(f"{what}: it did not answer as expected, also after retries")


def obstore_text(error: Exception) -> str:
    """Return obstore's message on one line.

    Left out are the dump behind it, and of a server's XML all but code and message: it also holds
    the key's id and what was signed.
    """
    text = str(error).partition("Debug source:")[0]
    facts = ": ".join(fact for fact in _XML_FACTS.findall(text) if fact)
    return " ".join(_XML.sub(lambda _: facts, text).split()).rstrip(":. ")[:_MESSAGE_LIMIT]


def _entry(meta: Any) -> Entry:
    return Entry(
        path=meta["path"],
        size=meta["size"],
        etag=meta["e_tag"] or "",
        modified=meta["last_modified"],
    )
