"""Clients of other hands: mosquitto_pub and mosquitto_sub, aiomqtt, MQTT.js."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from pathlib import Path

import aiomqtt
import pytest

LOCAL = "127.0.0.1:0"


async def run(*command: str, input: str = "", timeout: float = 30) -> tuple[int, str]:
    """Exit code, and all it printed."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    async with asyncio.timeout(timeout):
        output, _ = await process.communicate(input.encode())
    assert process.returncode is not None
    return process.returncode, output.decode()


def mosquitto(endpoint, program: str, version: str, *args: str) -> list[str]:
    return [program, "-h", "127.0.0.1", "-p", str(endpoint.port), "-V", version, "-i", "dev1", *args]


# -- Mosquitto's -----------------------------------------------------------------------------------------------


@pytest.mark.mosquitto
@pytest.mark.parametrize("version", ["mqttv31", "mqttv311", "mqttv5"])
@pytest.mark.parametrize("qos", ["0", "1", "2"])
async def test_mosquitto_pub(serve, version, qos):
    endpoint = await serve()
    endpoint.start()
    lines = "".join(f"{n}\n" for n in range(300))
    code, output = await run(*mosquitto(endpoint, "mosquitto_pub", version, "-t", "t/1", "-q", qos, "-l"), input=lines)
    assert (code, output) == (0, "")
    events = await endpoint.arrived(300)
    assert [event["payload"] for event in events] == [str(n) for n in range(300)]


@pytest.mark.mosquitto
async def test_mosquitto_pub_with_properties(serve):
    endpoint = await serve()
    endpoint.start()
    properties = ("-D", "publish", "user-property", "device", "m1", "-D", "publish", "content-type", "text/plain")
    command = mosquitto(endpoint, "mosquitto_pub", "mqttv5", "-t", "t/1", "-q", "1", "-m", "x", *properties)
    assert await run(*command) == (0, "")
    (event,) = await endpoint.arrived(1)
    assert event["pub_props"]["User-Property"] == {"device": "m1"}
    assert event["pub_props"]["Content-Type"] == "text/plain"


@pytest.mark.mosquitto
@pytest.mark.parametrize(("version", "flag"), [("mqttv311", True), ("mqttv5", False)])
async def test_mosquitto_pub_heeds_that_nothing_is_retained(serve, version, flag):
    endpoint = await serve()
    endpoint.start()
    command = mosquitto(endpoint, "mosquitto_pub", version, "-t", "t/1", "-q", "1", "-r", "-m", "x")
    assert await run(*command) == (0, "")
    (event,) = await endpoint.arrived(1)
    assert event["flags"]["retain"] is flag


@pytest.mark.mosquitto
@pytest.mark.parametrize("version", ["mqttv311", "mqttv5"])
async def test_mosquitto_sub_is_told_that_it_gets_nothing(serve, version):
    endpoint = await serve()
    _, output = await run(*mosquitto(endpoint, "mosquitto_sub", version, "-t", "t/#", "-W", "5"))
    assert output == "All subscription requests were denied.\n"


@pytest.mark.mosquitto
async def test_mosquitto_pub_over_tls_with_a_certificate(serve, certificates):
    tls = {"cert": certificates.server, "key": certificates.server_key, "ca": certificates.ca}
    endpoint = await serve(tls={**tls, "require_client_cert": True})
    endpoint.start()
    files = (
        "--cafile",
        str(certificates.ca),
        "--cert",
        str(certificates.client),
        "--key",
        str(certificates.client_key),
    )
    command = mosquitto(endpoint, "mosquitto_pub", "mqttv5", *files, "-t", "t/1", "-q", "1", "-m", "x")
    assert await run(*command) == (0, "")
    assert (await endpoint.arrived(1))[0]["username"] == "meter-1"


# -- aiomqtt ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [aiomqtt.ProtocolVersion.V311, aiomqtt.ProtocolVersion.V5])
async def test_aiomqtt(serve, version):
    endpoint = await serve()
    endpoint.start()
    will = aiomqtt.Will("w/1", "gone", 1)
    async with aiomqtt.Client("127.0.0.1", endpoint.port, identifier="dev1", protocol=version, will=will) as client:
        for n in range(50):
            await client.publish("t/1", str(n), qos=n % 3)
        granted = await client.subscribe("t/#", qos=1)
        assert all(int(getattr(code, "value", code)) >= 0x80 for code in granted)
    events = await endpoint.arrived(50)
    assert sorted(int(event["payload"]) for event in events) == list(range(50))


# -- MQTT.js ---------------------------------------------------------------------------------------------------

SCRIPT = """
const mqtt = require("mqtt");
const { url, version, n } = JSON.parse(process.argv[2]);
const client = mqtt.connect(url, { protocolVersion: version, clientId: "dev1", reconnectPeriod: 0,
  properties: version === 5 ? { sessionExpiryInterval: 60 } : undefined,
  will: { topic: "w/1", payload: "gone", qos: 1 } });
client.on("error", (error) => { console.log("error: " + error.message); process.exit(1); });
client.on("connect", () => {
  client.subscribe("t/#", (error, granted) => {
    console.log("subscribe: " + (error ? "refused" : JSON.stringify(granted)));
    let left = n;
    for (let i = 0; i < n; i++) client.publish("t/1", String(i), { qos: i % 3 }, (error) => {
      if (error) { console.log("publish: " + error.message); process.exit(1); }
      if (--left === 0) client.end(false, {}, () => console.log("done"));
    });
  });
});
"""


@pytest.fixture(scope="session")
def mqtt_js(request: pytest.FixtureRequest) -> Path:
    """A directory where node finds MQTT.js."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("NOT TESTED: node and npm not installed, which MQTT.js needs")
    directory: Path = request.config.cache.mkdir("mqtt-js")
    if not (directory / "node_modules" / "mqtt").is_dir():
        quick = ["--no-audit", "--no-fund", "--fetch-retries=0", "--prefix", str(directory)]
        try:
            subprocess.run(["npm", "install", *quick, "mqtt@5"], capture_output=True, text=True, timeout=60, check=True)
        except subprocess.SubprocessError as error:
            why = (error.stderr or "").strip()[-200:] if isinstance(error, subprocess.CalledProcessError) else error
            pytest.skip(f"NOT TESTED: MQTT.js cannot be installed: {why}")
    (directory / "device.js").write_text(SCRIPT)
    return directory


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("scheme", ["mqtt", "ws", "mqtts", "wss"])
async def test_mqtt_js(serve, mqtt_js, certificates, monkeypatch, scheme, version):
    secure, websocket = scheme in ("mqtts", "wss"), scheme in ("ws", "wss")
    tls = {"cert": certificates.server, "key": certificates.server_key} if secure else None
    endpoint = await serve(listeners=[{"listen": LOCAL, "tls": tls, "websocket": websocket}], filters=("t/#", "w/#"))
    endpoint.start()
    monkeypatch.setenv("NODE_EXTRA_CA_CERTS", str(certificates.ca))
    url = f"{scheme}://localhost:{endpoint.port}" + ("/mqtt" if websocket else "")
    job = json.dumps({"url": url, "version": version, "n": 60})
    code, output = await run("node", str(mqtt_js / "device.js"), job)
    assert (code, output.splitlines()[-1:]) == (0, ["done"]), output
    events = await endpoint.arrived(60)
    assert sorted(int(event["payload"]) for event in events) == list(range(60))
    assert all(event["clientid"] == "dev1" for event in events), "no will: it said goodbye"
