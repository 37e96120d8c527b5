"""Who we are to the broker, and what is said when it does not work."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess

import pytest

from headrace import NotConnected

pytestmark = pytest.mark.mosquitto


async def test_a_broker_that_is_away_is_named(subscribe):
    class Away:
        url = "mqtt://127.0.0.1:1"

    with pytest.raises(NotConnected, match=r"cannot connect to mqtt://127\.0\.0\.1:1: Connection refused"):
        await subscribe(Away)


async def test_an_unknown_host_is_named(subscribe):
    class Nowhere:
        url = "mqtt://nowhere.invalid"

    with pytest.raises(NotConnected, match=r"cannot connect to mqtt://nowhere.invalid: "):
        await subscribe(Nowhere)


async def test_a_broker_that_does_not_answer_is_given_up(subscribe, silent_port):
    class Silent:
        url = f"mqtt://127.0.0.1:{silent_port}"

    with pytest.raises(NotConnected, match="does not answer to the connection"):
        await subscribe(Silent, connect_timeout="100ms")


async def test_a_cancelled_open_leaves_nothing_behind(subscribe, silent_port):
    class Silent:
        url = f"mqtt://127.0.0.1:{silent_port}"

    task = asyncio.create_task(subscribe(Silent))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_user_and_password(mosquitto, subscribe, publish, tmp_path):
    passwords = tmp_path / "passwords"
    tool = shutil.which("mosquitto_passwd")
    assert tool
    subprocess.run([tool, "-b", "-c", str(passwords), "alice", "secret"], check=True, capture_output=True)
    passwords.chmod(0o644)
    broker = await mosquitto(f"user root\npassword_file {passwords}\nallow_anonymous false")
    reader = await subscribe(broker, username="alice", password="secret")
    assert reader.state[0] == "running"
    assert "secret" not in repr(reader.source.config)
    with pytest.raises(NotConnected, match="refused the connection: Not authorized"):
        await subscribe(broker, username="alice", password="wrong")
    with pytest.raises(NotConnected, match="refused the connection: Not authorized"):
        await subscribe(broker, version="3.1.1")


def tls_listener(port, certificates, *more):
    lines = ["user root", f"listener {port} 127.0.0.1", f"cafile {certificates.ca}", f"certfile {certificates.server}"]
    return "\n".join([*lines, f"keyfile {certificates.server_key}", *more])


@pytest.fixture
async def secure(mosquitto, certificates, publish):
    """A broker that speaks plain text on one port and TLS on another."""

    async def make(*more):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        broker = await mosquitto(tls_listener(port, certificates, *more))
        async with asyncio.timeout(10):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except ConnectionError:
                    await asyncio.sleep(0.02)
                else:
                    writer.close()
                    break

        class Secure:
            url = f"mqtts://localhost:{port}"
            plain = broker

        return Secure

    return make


@pytest.mark.parametrize("kind", ["bulk", "stock"])
async def test_tls(secure, subscribe, publish, certificates, kind):
    broker = await secure()
    reader = await subscribe(broker, stock=kind == "stock", tls={"ca": certificates.ca})
    reader.start()
    await publish(broker.plain, 300)
    await reader.arrived(300)
    assert reader.payloads == [str(n) for n in range(300)]


async def test_back_pressure_over_tls_loses_nothing(secure, subscribe, publish, certificates):
    broker = await secure("max_queued_messages 0")
    reader = await subscribe(broker, tls={"ca": certificates.ca}, buffer="64KB")
    await publish(broker.plain, 500)
    await reader.until(lambda: reader.source._link.incoming.paused)
    reader.start()
    await reader.arrived(500)
    assert reader.payloads == [str(n) for n in range(500)]


async def test_an_untrusted_broker_is_refused_unless_told_otherwise(secure, subscribe):
    broker = await secure()
    with pytest.raises(NotConnected, match="the certificate is not trusted"):
        await subscribe(broker)
    reader = await subscribe(broker, tls={"insecure": True})
    assert reader.state[0] == "running"


async def test_a_client_certificate(secure, subscribe, certificates):
    broker = await secure("require_certificate true")
    client = {"cert": certificates.client, "key": certificates.client_key}
    reader = await subscribe(broker, tls={"ca": certificates.ca, **client})
    assert reader.state[0] == "running"
    with pytest.raises(NotConnected):
        await subscribe(broker, name="other", tls={"ca": certificates.ca})


async def test_the_client_id_is_stable_and_can_be_set(mosquitto, subscribe, publish):
    broker = await mosquitto()
    reader = await subscribe(broker)
    assert reader.source._link._client._client_id == b"headrace-test-plant"
    reader = await subscribe(broker, client_id="mine")
    assert reader.source._link._client._client_id == b"mine"


async def test_two_clients_of_one_id_do_not_chase_each_other_without_pause(mosquitto, subscribe):
    broker = await mosquitto()
    one = await subscribe(broker)
    one.start()
    two = await subscribe(broker)
    two.start()
    await one.until(lambda: one.errors and two.errors)
    await asyncio.sleep(0.3)
    assert len(one.errors) + len(two.errors) < 20
