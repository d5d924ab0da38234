"""The checkpoint folder of a spec, so that two trainings of a namespace can be compared.

Pure. A spec is as the API server stored it, and its lists may contain anything.
"""

import json
from pathlib import PurePosixPath

from detection_operator import names
from detection_operator.cluster.api.resources import Key, Object
from detection_trainer.contract.prefixes import longest_prefix

FILE_SCHEME = "file://"
ENVIRONMENT_OF = {"s3": ("AWS_",), "gs": ("GOOGLE_",), "az": ("AZURE_",)}
"""Variables that select the endpoint and the identity for a storage, by scheme."""
PRIVATE_VOLUMES = frozenset({"emptyDir", "ephemeral"})
"""Kinds of volumes that each pod has for itself."""


def folder_of(key: Key, spec: Object) -> str:
    """Return where the checkpoints go, for comparison with others of the same namespace.

    It begins with the namespace: across namespaces the storage's owner record decides, and nobody
    learns of another's training. A URI identifies a place only together with its endpoint: two
    servers may have a bucket of one name. A `file://` path is a path in the pod, so the volume that
    is mounted there counts. Empty: no other training can reach it.
    """
    storage = (spec.get("checkpoints") or {}).get("storage") or {}
    if uri := str(storage.get("uri") or "").rstrip("/"):
        template, path = spec.get("podTemplate") or {}, uri.removeprefix(FILE_SCHEME)
        if path != uri:
            return _volume_at(key, template, path)
        return f"{key.namespace} {uri} {_access(spec, template, uri)}"
    claim = storage.get("volumeClaim")
    if claim is None:
        return ""
    name = claim.get("claimName") or names.claim_name(key.name)
    return f"claim://{key.namespace}/{name}"


def _volume_at(key: Key, template: Object, path: str) -> str:
    """Return which volume has `path`, and the path in it; both lists may contain anything."""
    wanted = PurePosixPath(path)
    places = {
        PurePosixPath(str(mount.get("mountPath"))): mount
        for mount in _objects(template, "volumeMounts")
    }
    around = [place for place in places if wanted.is_relative_to(place)]
    if not around:
        return ""
    place = max(around, key=lambda place: len(place.parts))
    mount = places[place]
    volumes = {str(volume.get("name")): volume for volume in _objects(template, "volumes")}
    volume = volumes.get(str(mount.get("name"))) or {}
    source = {kind: value for kind, value in volume.items() if kind != "name"}
    if not source.keys() - PRIVATE_VOLUMES:
        return ""
    inside = PurePosixPath(str(mount.get("subPath") or mount.get("subPathExpr") or ""))
    within = inside / wanted.relative_to(place)
    return f"{key.namespace} {json.dumps(source, sort_keys=True)}/{within}"


def _access(spec: Object, template: Object, uri: str) -> str:
    """Return the endpoint and the identity with which a pod opens `uri`.

    Two trainings that differ here may still use one folder; then its owner record refuses the
    second.
    """
    prefixes = ENVIRONMENT_OF.get(uri.partition("://")[0], ())
    access: Object = {
        "secret": _secret_of(_objects(spec, "credentials"), uri),
        "env": [e for e in _objects(template, "env") if str(e.get("name")).startswith(prefixes)],
        "envFrom": template.get("envFrom") or [],
        "serviceAccount": template.get("serviceAccountName"),
    }
    access["env"].sort(key=lambda entry: str(entry.get("name")))
    return json.dumps({name: value for name, value in access.items() if value}, sort_keys=True)


def _secret_of(credentials: list[Object], uri: str) -> str | None:
    """Return the Secret with which the trainer opens `uri`."""
    secrets = {
        str(entry.get("uriPrefix")): (entry.get("secretRef") or {}).get("name")
        for entry in credentials
    }
    longest = longest_prefix(uri, secrets)
    return None if longest is None else secrets[longest]


def _objects(document: Object, name: str) -> list[Object]:
    found = document.get(name)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []
