"""A service that is asked who may connect, and what certificates prove."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from pydantic import ValidationError

from headrace import passwords
from headrace_plugins.mqtt_server.source import MqttServer


class Service:
    """Answers as a test wants, and keeps the questions."""

    def __init__(self) -> None:
        self.asked: list[dict[str, object]] = []
        self.headers: list[str | None] = []
        self.answer = (200, '{"result": "allow"}')
        self.waits = asyncio.Event()
        self.waits.set()
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append(json.loads(await request.text()))
        self.headers.append(request.headers.get("X-Token"))
        await self.waits.wait()
        status, text = self.answer
        return web.Response(status=status, text=text)


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    one = Service()
    app = web.Application()
    app.router.add_post("/auth", one.handle)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    one.url = "http://127.0.0.1:{}/auth".format(*runner.addresses[0][1:])
    yield one
    one.waits.set()
    await runner.cleanup()


async def test_the_service_is_told_who_it_is_and_decides(serve, join, service):
    endpoint = await serve(login={"url": service.url, "headers": {"X-Token": "ours"}})
    endpoint.start()
    device = await join(endpoint, "dev1", 5, user=("alice", b"secret"))
    device.publish("t/1")
    assert (await endpoint.arrived(1))[0]["username"] == "alice"
    assert service.asked == [
        {
            "clientid": "dev1", "username": "alice", "password": "secret", "peerhost": "127.0.0.1", "proto_ver": 5,
            "cert_common_name": None,
        }
    ]  # fmt: skip
    assert service.headers == ["ours"]
    assert "ours" not in repr(endpoint.source.config)


UNAVAILABLE, DENIED = (b"\x20\x03\x00\x88\x00", b"\x20\x02\x00\x03"), (b"\x20\x03\x00\x86\x00", b"\x20\x02\x00\x05")


@pytest.mark.parametrize(
    ("answer", "connacks"),
    [
        ((204, ""), None),
        ((200, ""), None),
        ((200, '{"is_superuser": false}'), None),
        ((200, '{"result": "deny"}'), DENIED),
        ((200, '{"result": "ignore"}'), DENIED),
        ((200, "[]"), DENIED),
        ((401, ""), DENIED),
        ((404, ""), DENIED),
        ((200, "no json"), UNAVAILABLE),
        ((302, ""), UNAVAILABLE),
        ((503, ""), UNAVAILABLE),
    ],
)
async def test_what_an_answer_means(serve, dial, service, answer, connacks):
    endpoint = await serve(login={"url": service.url})
    service.answer = answer
    for version, connack in zip((5, 4), connacks or (None, b"\x20\x02\x00\x00"), strict=True):
        device = await dial(endpoint)
        device.connect(version=version, user=("alice", b"x"))
        got = await device.packet()
        assert got[3] == 0 if connack is None else got == connack
    failed = endpoint.source.ctx.status.last_error
    assert ("login: http://" in failed) if connacks is UNAVAILABLE else failed is None


async def test_a_service_that_does_not_answer_sends_devices_away_for_a_while(serve, dial, service):
    service.waits.clear()
    endpoint = await serve(login={"url": service.url, "timeout": "100ms"})
    device = await dial(endpoint)
    device.connect(version=5, user=("alice", b"x"))
    assert await device.packet() == UNAVAILABLE[0]
    gone = await serve(login={"url": "http://127.0.0.1:1/"})
    device = await dial(gone)
    device.connect(user=("alice", b"x"))
    assert await device.packet() == UNAVAILABLE[1]


async def test_a_password_that_is_no_text_is_wrong(serve, dial, service):
    endpoint = await serve(login={"url": service.url})
    device = await dial(endpoint)
    device.connect(user=("alice", b"\xff"))
    assert await device.packet() == DENIED[1]
    assert not service.asked


async def test_the_file_knows_some_and_the_service_the_others(serve, dial, service, tmp_path):
    users = tmp_path / "users"
    users.write_text(f"alice:{passwords.hash_password('secret')}\n")
    endpoint = await serve(users=users, login={"url": service.url})
    for user, connack in ((("alice", b"wrong"), DENIED[1]), (("bob", b"any"), b"\x20\x02\x00\x00")):
        device = await dial(endpoint)
        device.connect(user=user)
        assert await device.packet() == connack
    assert [question["username"] for question in service.asked] == ["bob"]


async def test_closing_while_the_service_is_asked_does_no_harm(serve, dial, service):
    service.waits.clear()
    endpoint = await serve(login={"url": service.url})
    device = await dial(endpoint)
    device.connect(user=("alice", b"x"))
    await endpoint.until(lambda: service.asked)
    await endpoint.source.close()
    assert await device.packet() == b""


def certified(certificates, **more):
    return {"cert": certificates.server, "key": certificates.server_key, "ca": certificates.ca, **more}


async def test_a_certificate_is_proof_enough_beside_passwords(serve, join, dial, service, certificates):
    endpoint = await serve(tls=certified(certificates), login={"url": service.url})
    endpoint.start()
    device = await join(endpoint, tls=certificates.context(certificates.client, certificates.client_key))
    device.publish("t/1")
    assert (await endpoint.arrived(1))[0]["username"] == "meter-1"
    assert not service.asked
    service.answer = (403, "")
    device = await dial(endpoint, certificates.context())
    device.connect("other")
    assert await device.packet() == DENIED[1]


async def test_without_passwords_a_certificate_overrules_the_name_that_is_claimed(serve, join, certificates):
    endpoint = await serve(tls=certified(certificates, require_client_cert=True))
    endpoint.start()
    context = certificates.context(certificates.client, certificates.client_key)
    device = await join(endpoint, tls=context, user=("admin", b"x"))
    device.publish("t/1")
    assert (await endpoint.arrived(1))[0]["username"] == "meter-1"


def test_a_service_guards_an_open_address():
    MqttServer.Config(listen=":1883", login={"url": "http://auth"})
    with pytest.raises(ValidationError, match="pattern"):
        MqttServer.Config(login={"url": "ftp://auth"})
