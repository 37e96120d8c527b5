"""Who may connect."""

from __future__ import annotations

import asyncio
import os
import ssl

import pytest
from pydantic import ValidationError

from headrace import passwords
from headrace_plugins.mqtt_server.source import MqttServer


@pytest.fixture
def users(tmp_path):
    path = tmp_path / "users"
    path.write_text(f"# devices\n\nalice:{passwords.hash_password('secret')}\n")
    return path


@pytest.mark.parametrize("version", [3, 4, 5])
async def test_a_user_with_the_right_password_comes_in(serve, join, users, version):
    endpoint = await serve(users=users)
    endpoint.start()
    device = await join(endpoint, "dev1", version, user=("alice", b"secret"))
    device.publish("t/1")
    (event,) = await endpoint.arrived(1)
    assert event["username"] == "alice"


async def test_packets_sent_while_the_password_is_checked_are_read_after(serve, dial, users):
    endpoint = await serve(users=users)
    endpoint.start()
    device = await dial(endpoint)
    device.connect(user=("alice", b"secret"))
    for id in range(1, 11):
        device.publish("t/1", qos=1, id=id)
        await asyncio.sleep(0)
    assert await device.packets(11) == [b"\x20\x02\x00\x00"] + [
        b"\x40\x02" + id.to_bytes(2, "big") for id in range(1, 11)
    ]


@pytest.mark.parametrize("user", [("alice", b"wrong"), ("bob", b"secret"), ("alice", b""), None])
@pytest.mark.parametrize("version", [4, 5])
async def test_anybody_else_is_refused(serve, dial, users, user, version):
    endpoint = await serve(users=users, filters=("$events/client_connected",))
    endpoint.start()
    device = await dial(endpoint)
    device.connect(version=version, user=user, will=("w", b"x", 0, False, {}))
    device.publish("t/1")
    assert await device.packet() == (b"\x20\x03\x00\x86\x00" if version == 5 else b"\x20\x02\x00\x05")
    assert await device.packet() == b""
    assert endpoint.counters["connections.not_authorized"] == 1
    await endpoint.until(lambda: endpoint.counters["connections"] == 0)
    assert not endpoint.events


async def test_anonymous_devices_come_in_beside_users_if_allowed(serve, join, dial, users):
    endpoint = await serve(users=users, anonymous=True)
    assert await (await join(endpoint, "nameless")).quiet()
    device = await dial(endpoint)
    device.connect(user=("alice", b"wrong"))
    assert await device.packet() == b"\x20\x02\x00\x05"


async def test_a_checked_password_is_not_hashed_again_until_the_file_changes(serve, join, dial, users, monkeypatch):
    endpoint = await serve(users=users)
    await join(endpoint, "a", user=("alice", b"secret"))
    hashed = []
    monkeypatch.setattr(passwords, "verify", lambda password, stored: bool(hashed.append(stored)))
    await join(endpoint, "b", user=("alice", b"secret"))
    assert not hashed
    users.write_text(f"alice:{passwords.hash_password('other')}\n")
    os.utime(users, ns=(1, 1))
    device = await dial(endpoint)
    device.connect("c", user=("alice", b"secret"))
    assert await device.packet() == b"\x20\x02\x00\x05"
    assert len(hashed) == 1


async def test_a_users_file_that_went_bad_keeps_the_users_and_is_reported(serve, join, users):
    endpoint = await serve(users=users)
    users.write_text("alice\n")
    os.utime(users, ns=(1, 1))
    await join(endpoint, user=("alice", b"secret"))
    assert f"{users}:1: not of the form name:hash" in endpoint.source.ctx.status.last_error


async def test_a_device_that_leaves_while_its_password_is_checked_does_no_harm(serve, dial, join, users):
    endpoint = await serve(users=users)
    device = await dial(endpoint)
    device.connect("a", user=("alice", b"secret"))
    await endpoint.until(lambda: any(conn.stopped for conn in endpoint.source._connections))
    device.writer.transport.abort()
    await join(endpoint, "b", user=("alice", b"secret"))
    await endpoint.until(lambda: endpoint.counters["connections"] == 1)


def tls(certificates, **more):
    return {"cert": certificates.server, "key": certificates.server_key, **more}


async def test_tls(serve, join, certificates):
    endpoint = await serve(tls=tls(certificates))
    endpoint.start()
    device = await join(endpoint, tls=certificates.context())
    for id in range(1, 201):
        device.publish("t/1", b"y" * 500, qos=1, id=id)
    assert await device.packets(200) == [b"\x40\x02" + id.to_bytes(2, "big") for id in range(1, 201)]


async def test_back_pressure_over_tls_loses_nothing(serve, join, certificates):
    endpoint = await serve(tls=tls(certificates), max_pending="16KB")
    device = await join(endpoint, tls=certificates.context())
    for id in range(1, 501):
        device.publish("t/1", b"%d" % id, qos=1, id=id)
    await endpoint.until(lambda: len(endpoint.source.intake.paused) == 1)
    endpoint.start()
    assert len(await device.packets(500)) == 500
    assert [event["payload"] for event in endpoint.events] == [str(id) for id in range(1, 501)]


async def test_a_client_certificate_names_the_user(serve, join, certificates):
    endpoint = await serve(tls=tls(certificates, ca=certificates.ca, require_client_cert=True))
    endpoint.start()
    device = await join(endpoint, tls=certificates.context(certificates.client, certificates.client_key))
    device.publish("t/1")
    (event,) = await endpoint.arrived(1)
    assert event["username"] == "meter-1"


@pytest.mark.parametrize("known", [False, True])
async def test_without_the_right_certificate_nobody_comes_in(serve, dial, certificates, known):
    endpoint = await serve(tls=tls(certificates, ca=certificates.ca, require_client_cert=True))
    client = (certificates.stranger, certificates.stranger_key) if known else ()
    device = await dial(endpoint, certificates.context(*client))
    device.connect()
    with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):  # TLS 1.3: told at the first read
        await device.reader.readexactly(1)
    assert endpoint.counters["connections"] == 0


async def test_plain_text_on_a_tls_port_is_closed(serve, dial, certificates):
    endpoint = await serve(tls=tls(certificates))
    device = await dial(endpoint)
    device.connect()
    answer = await device.reader.read()
    assert not answer or answer[0] == 0x15  # a TLS alert
    assert endpoint.counters["connections"] == 0


@pytest.mark.parametrize("listen", ["0.0.0.0:1883", ":1883", "[::]:1883", "192.168.1.5:1883", "devices.example:1883"])
def test_an_open_door_must_be_meant(listen, tmp_path, certificates):
    with pytest.raises(ValidationError, match="anonymous: true"):
        MqttServer.Config(listen=listen)
    with pytest.raises(ValidationError, match="anonymous: true"):
        MqttServer.Config(listen=listen, tls=tls(certificates))
    MqttServer.Config(listen=listen, anonymous=True)
    MqttServer.Config(listen=listen, users=tmp_path / "users")
    MqttServer.Config(listen=listen, tls=tls(certificates, ca=certificates.ca, require_client_cert=True))


@pytest.mark.parametrize("listen", ["127.0.0.1:1883", "127.8.8.8:1", "[::1]:1883", "localhost:1883"])
def test_loopback_needs_nothing(listen):
    assert MqttServer.Config(listen=listen).listen == listen


@pytest.mark.parametrize("listen", ["1883", "127.0.0.1", "127.0.0.1:", "127.0.0.1:99999", "127.0.0.1:-1", "host:²"])
def test_an_address_must_be_one(listen):
    with pytest.raises(ValidationError, match="host:port"):
        MqttServer.Config(listen=listen)


def test_require_client_cert_needs_an_authority(certificates):
    with pytest.raises(ValidationError, match="needs `ca`"):
        MqttServer.Config(tls=tls(certificates, require_client_cert=True))
