"""Where the serving certificate comes from, and that a new one is used without a restart."""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from detection_operator.cluster.api.owner import OwnService
from detection_operator.cluster.api.resources import SECRETS, SERVICES, Key, Object, Resource
from detection_operator.errors import ConfigurationError, ForbiddenError
from detection_operator.server.certificates import AUTHORITY_LIFE, renew
from detection_operator.server.serving import (
    Folder,
    OwnProcess,
    OwnSecret,
    ServingCertificate,
    serving_names,
)
from detection_operator.server.site import Site, open_site
from tests.support.operator.fake_cluster import FakeCluster

NAMES = ("detection-operator.system.svc", "localhost")
PLACE = Key("system", "serving")
SERVICE = Key("system", "detection-operator")
BEGIN = datetime.now(UTC)


class Scene:
    def __init__(self) -> None:
        self.api, self.now = FakeCluster(), BEGIN
        self.source = self.replica()

    def replica(self) -> OwnSecret:
        owner = OwnService(self.api, SERVICE)
        return OwnSecret(self.api, PLACE, NAMES, owner=owner, now=lambda: self.now)

    @property
    def stored(self) -> dict[str, str]:
        found = self.api.find(SECRETS, PLACE.name, PLACE.namespace)
        assert found is not None
        return {name: base64.b64decode(text).decode() for name, text in found["data"].items()}


async def test_the_first_replica_makes_it_and_the_others_share_it() -> None:
    scene = Scene()
    files = await scene.source()
    assert files == scene.stored == await scene.replica()()
    assert scene.api.called("create", SECRETS) == [PLACE.name]
    found = scene.api.find(SECRETS, PLACE.name, PLACE.namespace)
    assert found is not None
    assert found["type"] == "kubernetes.io/tls"


async def test_replicas_that_create_it_at_once_end_with_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = Scene()
    create = scene.api.create
    theirs = renew(None, NAMES, BEGIN).files()
    data = {name: base64.b64encode(text.encode()).decode() for name, text in theirs.items()}

    async def after_another(resource: Resource, namespace: str, body: Object) -> Object:
        metadata = {"name": PLACE.name, "namespace": PLACE.namespace}
        scene.api.put(SECRETS, {"metadata": metadata, "data": data})
        return await create(resource, namespace, body)

    monkeypatch.setattr(scene.api, "create", after_another)
    assert await scene.source() == theirs == scene.stored


async def test_it_is_renewed_where_it_is_and_the_authority_stays() -> None:
    scene = Scene()
    first = await scene.source()
    scene.now = BEGIN + timedelta(days=61)
    renewed = await scene.source()
    assert renewed == scene.stored == await scene.replica()()
    assert renewed["ca.crt"] == first["ca.crt"]
    assert renewed["tls.crt"] != first["tls.crt"]


async def test_a_new_authority_is_published_beside_the_old_one() -> None:
    scene = Scene()
    first = await scene.source()
    scene.now = BEGIN + AUTHORITY_LIFE * 0.67
    assert (await scene.source())["ca.crt"].startswith(first["ca.crt"])


async def test_an_emptied_secret_is_filled_again() -> None:
    scene = Scene()
    await scene.source()
    found = scene.api.find(SECRETS, PLACE.name, PLACE.namespace)
    assert found is not None
    found["data"] = {"tls.crt": "bm8="}
    assert await scene.source() == scene.stored


def owners(scene: Scene) -> list[str]:
    found = scene.api.find(SECRETS, PLACE.name, PLACE.namespace)
    assert found is not None
    return [owner["uid"] for owner in found["metadata"].get("ownerReferences", [])]


def put_service(scene: Scene, uid: str) -> None:
    name, namespace = SERVICE.name, SERVICE.namespace
    scene.api.put(SERVICES, {"metadata": {"name": name, "namespace": namespace, "uid": uid}})


async def test_the_secret_belongs_to_the_operators_service() -> None:
    scene = Scene()
    put_service(scene, "service-1")
    await scene.source()
    assert owners(scene) == ["service-1"]


async def test_a_secret_without_an_owner_gets_one_and_keeps_its_certificate() -> None:
    scene = Scene()
    before = await OwnSecret(scene.api, PLACE, NAMES, now=lambda: BEGIN)()
    assert owners(scene) == []
    put_service(scene, "service-1")
    assert await scene.source() == before == scene.stored
    assert owners(scene) == ["service-1"]
    await scene.source()
    assert scene.api.called("update", SECRETS) == [PLACE.name], "it is written once"


async def test_a_secret_that_is_collected_while_it_is_adopted_is_created_again() -> None:
    scene = Scene()
    await OwnSecret(scene.api, PLACE, NAMES, now=lambda: BEGIN)()
    put_service(scene, "service-2")

    def collect() -> None:
        if scene.api.called("get", SERVICES):
            scene.api.objects.pop(("secrets", PLACE.namespace, PLACE.name), None)
            scene.api.while_getting = lambda: None

    scene.api.while_getting = collect
    assert await scene.source() == scene.stored
    assert owners(scene) == ["service-2"]


async def test_what_cannot_be_read_is_no_reason_to_make_another() -> None:
    scene = Scene()
    scene.api.failures["get", "secrets"] = ForbiddenError("GET", 403, "no")
    with pytest.raises(ForbiddenError):
        await scene.source()
    assert scene.api.names(SECRETS) == []


URLS = {
    "https://detection-operator.system.svc:443": (
        "detection-operator.system.svc",
        "detection-operator.system.svc.cluster.local",
        "localhost",
    ),
    "https://operator.example.com/base": ("operator.example.com", "localhost"),
    "https://127.0.0.1:8443": ("127.0.0.1", "localhost"),
    "https://[::1]:8443": ("::1", "localhost"),
    "https://localhost": ("localhost",),
}


@pytest.mark.parametrize(("url", "names"), URLS.items(), ids=URLS)
def test_a_certificate_is_for_the_host_of_the_report_url(url: str, names: tuple[str, ...]) -> None:
    assert serving_names(url) == names


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).write_text(text)


async def test_a_folder_is_read_as_it_is_and_needs_no_authority(tmp_path: Path) -> None:
    files = renew(None, NAMES, BEGIN).files()
    del files["ca.key"]
    write(tmp_path, files)
    assert await Folder(tmp_path)() == files
    (tmp_path / "ca.crt").unlink()
    certificate = ServingCertificate(Folder(tmp_path))
    await certificate.refresh()
    assert certificate.trusted() == "", "trainers trust what their image does"


@pytest.mark.parametrize("name", ["tls.crt", "tls.key"])
async def test_a_folder_without_a_file_is_named_as_the_error(tmp_path: Path, name: str) -> None:
    write(tmp_path, renew(None, NAMES, BEGIN).files())
    (tmp_path / name).unlink()
    with pytest.raises(ConfigurationError, match=f"expected tls.crt and tls.key.*{name}"):
        await ServingCertificate(Folder(tmp_path)).refresh()


async def test_a_key_that_does_not_fit_is_refused_and_what_is_in_use_stays(tmp_path: Path) -> None:
    good = renew(None, NAMES, BEGIN).files()
    write(tmp_path, good)
    certificate = ServingCertificate(Folder(tmp_path))
    await certificate.refresh()
    write(tmp_path, {"tls.key": renew(None, NAMES, BEGIN).files()["tls.key"]})
    with pytest.raises(ConfigurationError, match="expected a certificate and its key"):
        await certificate.refresh()
    assert certificate.trusted() == good["ca.crt"]


async def ok(_: web.Request) -> web.Response:
    return web.Response(text="ok")


@pytest.fixture
async def served() -> AsyncIterator[tuple[Site, ServingCertificate, list[datetime]]]:
    now = [BEGIN]
    certificate = ServingCertificate(OwnProcess(NAMES, lambda: now[-1]), look_s=0.01)
    site = await open_site([web.get("/", ok)], "127.0.0.1", 0, tls=certificate.context)
    yield site, certificate, now
    await site.close()


async def get(site: Site, trusted: str) -> None:
    """Ask as a client that trusts `trusted` alone."""
    context = ssl.create_default_context(cadata=trusted)
    connector = aiohttp.TCPConnector(ssl=context, force_close=True)
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.get(f"https://localhost:{site.port}/") as answer,
    ):
        assert await answer.text() == "ok"


async def test_without_a_certificate_no_connection_is_served(
    served: tuple[Site, ServingCertificate, list[datetime]],
) -> None:
    site, _, _ = served
    trusted = renew(None, NAMES, BEGIN).authority_text()
    with pytest.raises(aiohttp.ClientConnectorError):
        await get(site, trusted)


async def test_a_renewed_certificate_is_served_without_a_restart(
    served: tuple[Site, ServingCertificate, list[datetime]],
) -> None:
    site, certificate, now = served
    await certificate.refresh()
    trusted, expires_at = certificate.trusted(), certificate.expires_at
    await get(site, trusted)
    shown = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", site.port))
    now.append(BEGIN + timedelta(days=61))
    running = asyncio.create_task(certificate.run())
    for _ in range(500):
        if certificate.expires_at != expires_at:
            break
        await asyncio.sleep(0.01)
    running.cancel()
    assert certificate.expires_at > expires_at
    then = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", site.port))
    assert then != shown


async def test_a_client_that_sends_plain_http_or_nothing_keeps_no_seat(
    served: tuple[Site, ServingCertificate, list[datetime]],
) -> None:
    site, certificate, _ = served
    await certificate.refresh()
    for text in (b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 100):
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(text)
        async with asyncio.timeout(5):
            await reader.read()
        writer.close()
        await writer.wait_closed()
    assert len(site.seats) == 0
