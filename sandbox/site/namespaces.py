"""Namespaces for as long as a test or a benchmark needs them."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from sandbox.site.kube import NAMESPACES, ApiError, Kube


@contextmanager
def restricted_namespace(kube: Kube, prefix: str) -> Iterator[str]:
    """Have a new namespace under the restricted Pod Security level; delete it at the end."""
    name = f"{prefix}-{secrets.token_hex(4)}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    kube.create(NAMESPACES, {"metadata": {"name": name, "labels": labels}})
    kube.wait(
        f"{NAMESPACES}/{name}/serviceaccounts/default",
        lambda found: found is not None,
        what="the namespace's service account",
    )
    yield name
    try:
        kube.delete(f"{NAMESPACES}/{name}")
    except ApiError as error:
        # Its user may have deleted it already.
        if error.status != HTTPStatus.CONFLICT:
            raise
