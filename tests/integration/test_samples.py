"""Every file of sample_configs runs and does what its first lines say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from ruamel.yaml import YAML

from rig import until

SAMPLES = Path(__file__).resolve().parent.parent.parent / "sample_configs"


def sample(name: str, *swaps: tuple[str, str]) -> Any:
    """A sample with its addresses swapped for the test's own."""
    text = (SAMPLES / name).read_text()
    for old, new in swaps:
        assert old in text
        text = text.replace(old, new)
    return YAML(typ="safe").load(text)


async def publish(port: int, topic: str, message: str, client: str = "sensor7") -> None:
    process = await asyncio.create_subprocess_exec(
        "mosquitto_pub", "-p", str(port), "-i", client, "-t", topic, "-m", message, "-q", "1"
    )
    assert await asyncio.wait_for(process.wait(), 10) == 0


@pytest.fixture
def run(headrace: Callable[[dict[str, Any]], Any]) -> Callable[[Any], Any]:
    async def start(config: Any) -> Any:
        process = headrace(config)
        await process.start()
        return process

    return start


@pytest.mark.mosquitto
async def test_hello(run: Any, free_port: int) -> None:
    process = await run(sample("hello.yaml", ("127.0.0.1:1884", f"127.0.0.1:{free_port}")))
    await publish(free_port, "t/1", "hello")
    expected = '{"topic":"t/1","payload":"hello","clientid":"sensor7"}'
    await until(lambda: expected in process.text(), 10, "the message on the screen")


@pytest.mark.mosquitto
async def test_alert(run: Any, receiver: Any, free_port: int) -> None:
    addresses = [("127.0.0.1:1884", f"127.0.0.1:{free_port}"), ("http://localhost:5000", receiver.url)]
    process = await run(sample("alert.yaml", *addresses))
    for celsius in (20, 91.5):
        await publish(free_port, "site/1/temp", json.dumps({"device": "oven", "celsius": celsius}))
    await receiver.got(1)
    await process.until(lambda s: s["rules"]["too_hot"]["counters"]["matched"] == 2)
    (body,) = receiver.json()
    assert body == {"text": "oven is at 196.7 °F", "fahrenheit": pytest.approx(196.7), "from": "site/1/temp"}
    assert receiver.targets == ["/alerts"]
    assert receiver.headers[0]["x-api-key"] == "none"


@pytest.mark.mosquitto
async def test_device_events(run: Any, receiver: Any, free_port: int) -> None:
    addresses = [("127.0.0.1:1884", f"127.0.0.1:{free_port}"), ("http://localhost:5000", receiver.url)]
    await run(sample("device_events.yaml", *addresses))
    await publish(free_port, "t/1", "hello")
    await receiver.got(2)
    assert receiver.targets == ["/devices/sensor7"] * 2
    assert [(body["clientid"], body["online"]) for body in receiver.json()] == [("sensor7", True), ("sensor7", False)]


async def test_http_in(run: Any, free_port: int, tmp_path: Path) -> None:
    file = tmp_path / "readings.jsonl"
    await run(sample("http_in.yaml", ("127.0.0.1:8090", f"127.0.0.1:{free_port}"), ("readings.jsonl", str(file))))
    async with aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{free_port}/in/plant/7"
        async with session.post(url, json=[{"temp": 20.5}, {"temp": 21}]) as answer:
            assert answer.status == 202
    await until(lambda: file.exists() and file.read_text().count("\n") == 2, 10, "two lines in the file")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(row["topic"], row["temp"]) for row in rows] == [("plant/7", 20.5), ("plant/7", 21)]


@pytest.mark.mosquitto
async def test_webhook(run: Any, receiver: Any, free_port: int) -> None:
    await run(
        sample("webhook.yaml", ("127.0.0.1:1884", f"127.0.0.1:{free_port}"), ("http://localhost:5000", receiver.url))
    )
    await publish(free_port, "alarm/1", "fire")
    await publish(free_port, "other", "x")
    await receiver.got(5)
    events = [body["event"] for body in receiver.json()]
    assert sorted(events) == ["client.connected"] * 2 + ["client.disconnected"] * 2 + ["message.publish"]
    assert set(receiver.targets) == {"/hook"}


@pytest.mark.mosquitto
async def test_mqtt_to_http(run: Any, receiver: Any, mosquitto: Any) -> None:
    broker = await mosquitto()
    await run(
        sample("mqtt_to_http.yaml", ("mqtt://localhost:1883", broker.url), ("http://localhost:5000", receiver.url))
    )
    await publish(broker.port, "t/1", '{ "msg": "hello HTTP Server" }', "emqx_c")
    await receiver.got(1)
    (event,) = receiver.json()
    assert (event["topic"], event["payload"]) == ("t/1", '{ "msg": "hello HTTP Server" }')


@pytest.mark.mosquitto
async def test_swap_sink(run: Any, mosquitto: Any, tmp_path: Path) -> None:
    broker, file = await mosquitto(), tmp_path / "events.jsonl"
    await run(sample("swap_sink.yaml", ("mqtt://localhost:1883", broker.url), ("events.jsonl", str(file))))
    await publish(broker.port, "t/1", "hello")
    await until(lambda: file.exists() and file.read_text().endswith("\n"), 10, "a line in the file")
    (line,) = file.read_text().splitlines()
    assert json.loads(line)["payload"] == "hello"


def test_no_sample_is_forgotten() -> None:
    tested = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert {file.stem for file in SAMPLES.iterdir()} <= tested
