"""No secret of the http sink comes out anywhere: a canary in every option that holds one, and every output searched."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp.web
import pytest

from rig import Headrace, free_port, until

CANARY = "C4NARY"


@pytest.fixture
async def echo() -> AsyncIterator[tuple[str, list[str]]]:
    """A server that refuses everything and repeats what it was told; ``/token`` gives tokens."""
    heard: list[str] = []

    async def answer(request: aiohttp.web.Request) -> aiohttp.web.Response:
        said = f"{request.path_qs} {dict(request.headers)} {await request.text()}"
        heard.append(said)
        if request.path == "/token":
            return aiohttp.web.json_response({"access_token": f"{CANARY}-token", "expires_in": 60})
        return aiohttp.web.Response(status=403, text=said)

    app = aiohttp.web.Application()
    app.router.add_route("*", "/{rest:.*}", answer)
    runner = aiohttp.web.AppRunner(app, access_log=None)
    await runner.setup()
    await aiohttp.web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}", heard
    await runner.cleanup()


def configuration(url: str, directory: Path, api: int) -> dict[str, Any]:
    address = url.removeprefix("http://")
    closed = free_port()
    oauth2 = {"token_url": f"{url}/token", "client_id": "me", "client_secret": f"{CANARY}-secret"}
    health = {"interval": "100ms", "path": "/health"}
    connectors = {
        "bearer": {"url": url, "auth": {"bearer": f"{CANARY}-bearer"}, "health_check": health},
        "basic": {"url": url, "auth": {"basic": {"user": "u", "password": f"{CANARY}-password"}}},
        "user": {"url": f"http://u:{CANARY}-in-url@{address}"},
        "query": {"url": f"{url}/?token={CANARY}-query"},
        "key": {"url": url, "auth": {"api_key": {"key": f"{CANARY}-key", "name": "appid", "place": "query"}}},
        "header": {"url": url, "headers": {"X-Api-Key": f"{CANARY}-header", "X-Signature": f"{CANARY}-signature"}},
        "oauth": {"url": url, "auth": {"oauth2": oauth2}},
        "no_token": {"url": url, "auth": {"oauth2": {**oauth2, "token_url": f"http://127.0.0.1:{closed}"}}},
        "proxy": {"url": "http://192.0.2.1", "proxy": f"http://u:{CANARY}-proxy@{address}"},
        "no_proxy": {"url": "https://192.0.2.1", "proxy": f"http://u:{CANARY}-proxy@127.0.0.1:{closed}"},
    }
    sign = {"keys": [f"{CANARY}-sign"]}
    return {
        "name": "canary",
        "sources": {"g": {"type": "generate", "devices": 1, "rate": 100, "count": 2, "payload": "x"}},
        "connectors": {name: {"type": "http", **options} for name, options in connectors.items()},
        "rules": {"all": {"sql": 'SELECT * FROM "#"', "to": list(connectors)}},
        "sinks": {
            name: {"type": "http", "connector": name, "sign": sign, "headers": {"Cookie": f"id={CANARY}-cookie"}}
            for name in connectors
        },
        "stream": {"url": f"embedded://{directory / 'log'}"},
        "shutdown_timeout": "0s",
        "api": {"listen": f"127.0.0.1:{api}"},
    }


async def output_of(*arguments: object) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "headrace.cli", *map(str, arguments),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    return output.decode()


async def test_no_secret_comes_out_anywhere(echo: Any, tmp_path: Path) -> None:
    url, heard = echo
    api = free_port()
    config = configuration(url, tmp_path, api)
    headrace = Headrace(tmp_path, config)
    headrace.config.rename(tmp_path / "pipeline.yaml")
    headrace.config = tmp_path / "pipeline.yaml"
    out: dict[str, str] = {}
    await headrace.start(wait=False)  # its source may be done before anybody looks
    try:
        await until(lambda: headrace.socket.exists(), 20)
        refused = [name for name in config["sinks"] if not name.startswith("no_")]
        await headrace.until(lambda status: all(status["sinks"][name]["counters"]["failed"] == 2 for name in refused))
        await headrace.until(lambda status: all(status["sinks"][f"no_{x}"]["last_error"] for x in ("token", "proxy")))
        await until(lambda: any("/health" in said for said in heard))
        out["status"] = json.dumps(await headrace.status())
        for name in ("bearer", "oauth"):
            out[f"log {name}"] = await output_of("log", name, headrace.config, "-o", "json")
        async with aiohttp.ClientSession() as session:
            parts = [f"{kind}/{name}" for kind in ("connectors", "sinks") for name in config[kind]]
            lists = ["config", "status", "sources", "connectors", "rules", "sinks", "dead_letters", "orphans"]
            logs = [f"sinks/{name}/deliveries" for name in config["sinks"]]
            for path in ("/metrics", "/readyz", *(f"/api/v1/{each}" for each in (*lists, *parts, *logs))):
                async with session.get(f"http://127.0.0.1:{api}{path}") as answer:
                    out[path] = await answer.text()
    finally:
        await headrace.stop()
    out["log"] = headrace.log.read_text()
    out["files"] = "".join(
        file.read_bytes().decode("latin-1") for file in (tmp_path / "log").rglob("*.*") if file.is_file()
    )
    broken = tmp_path / "broken.yaml"
    broken.write_text(json.dumps(config, indent=1).replace('"rate": 100', '"rate": "x"').replace('"sign"', '"sgin"'))
    tests = [["test", "connector", name, "--send"] for name in ("user", "key", "oauth")]
    shows = [["show", "config", "--defaults"], ["lint"], ["explain"]]
    for arguments in (*shows, ["dlq", "ls"], ["dlq", "show", "--limit", "99"], *tests):
        out[" ".join(arguments)] = await output_of(*arguments, headrace.config)
    out["lint broken"] = await output_of("lint", broken)

    everything = " ".join(heard)
    for sent in ("bearer", "in-url", "query", "key", "header", "secret", "token", "cookie"):
        seen = (
            f"{CANARY}-{sent}" in everything or base64.b64encode(f"u:{CANARY}-{sent}".encode()).decode() in everything
        )
        assert seen, f"{sent} was not used at all, so this test says nothing"
    assert "sgin" in out["lint broken"]
    assert "403" in out["files"]
    for name, text in out.items():
        assert text.strip(), f"{name} is empty"
        assert CANARY not in text, f"{name}: {text[max(0, text.find(CANARY) - 300) : text.find(CANARY) + 40]}"
        for user in ("password", "in-url", "proxy"):
            assert base64.b64encode(f"u:{CANARY}-{user}".encode()).decode() not in text, f"{name}, {user}"
