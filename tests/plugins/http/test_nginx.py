"""The sink behind nginx, which closes connections, buffers, limits, and answers for a server that is away."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from headrace.testing.pipelines import run_pipeline
from rig import free_port, until

pytestmark = pytest.mark.nginx

CONFIG = """
daemon off;
master_process off;
pid nginx.pid;
error_log error.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  client_max_body_size 17m;
  keepalive_requests 7;
  limit_req_zone $server_addr zone=slow:32k rate=100r/s;
  limit_req_status 429;
  proxy_http_version 1.1;
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://127.0.0.1:{backend}; }}
    location /limited {{ limit_req zone=slow; proxy_pass http://127.0.0.1:{backend}; }}
  }}
}}
"""


@pytest.fixture
async def nginx(server: Any, tmp_path: Path) -> AsyncIterator[str]:
    """A reverse proxy before the server; its address. A connection takes seven requests."""
    port = free_port()
    (tmp_path / "nginx.conf").write_text(CONFIG.format(port=port, backend=server.port))
    program = shutil.which("nginx")
    assert program
    process = await asyncio.create_subprocess_exec(
        program, "-p", str(tmp_path), "-c", "nginx.conf", "-e", "error.log", stderr=asyncio.subprocess.DEVNULL
    )

    async def up() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writer.close()
        return True

    async with asyncio.timeout(10):
        while not await up():
            assert process.returncode is None, (tmp_path / "error.log").read_text()
            await asyncio.sleep(0.01)
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    await process.wait()


@pytest.mark.parametrize("pipelining", [1, 10])
async def test_every_event_arrives_once_though_connections_are_closed(
    nginx: str, server: Any, client: Any, pipelining: int
) -> None:
    sink = await client.sink(nginx, {"pool_size": 4, "pipelining": pipelining}, path="/${topic|path}")
    batch = client.events(200)
    assert await client.deliver(sink, batch) == [None] * 200
    assert sorted(seen.target for seen in server.seen) == sorted(f"/{event['topic']}" for event in batch)
    assert all(json.loads(seen.body)["topic"] == seen.target[1:] for seen in server.seen)


@pytest.mark.parametrize("size", [0, 1 << 14, 16 << 20])
async def test_bodies_arrive_whole(nginx: str, server: Any, client: Any, size: int) -> None:
    sink = await client.sink(nginx, {"pool_size": 2}, body="${payload}")
    assert await client.deliver(sink, client.events(3, b"n" * size)) == [None] * 3
    assert [len(seen.body) for seen in server.seen] == [size] * 3


async def test_a_body_that_is_too_long_for_it_is_refused_and_the_next_goes_on(nginx: str, client: Any) -> None:
    sink = await client.sink(nginx, {"pool_size": 1}, body="${payload}")
    too_long, fine = client.events(1, b"n" * (18 << 20)) + client.events(1, b"n")
    (error,) = await client.deliver(sink, [too_long])
    assert (error.kind, error.status) == ("status", 413)
    assert await client.deliver(sink, [fine]) == [None]


async def test_a_server_behind_it_that_is_away_is_a_502(nginx: str, server: Any, client: Any) -> None:
    port = server.port
    await server.stop()
    sink = await client.sink(nginx)
    (error,) = await client.deliver(sink, client.events())
    assert (error.kind, error.status) == ("status", 502)
    await server.start(port)
    assert await client.deliver(sink, client.events()) == [None]


async def test_its_limit_slows_us_down_and_loses_nothing(nginx: str, server: Any) -> None:
    config = f"""
sources: {{g: {{type: generate, devices: 10, rate: 1000, count: 40, payload: '{{"seq": ${{seq}}}}'}}}}
rules: {{all: {{sql: 'SELECT clientid, payload.seq AS seq FROM "#"', to: out}}}}
sinks: {{out: {{type: http, url: "{nginx}/limited", retry: {{initial: 10ms, max: 100ms}}}}}}
"""
    async with run_pipeline(config) as running:
        await until(lambda: running.status()["sinks"]["out"]["counters"]["success"] == 40)
        assert running.status()["sinks"]["out"]["counters"]["retried"] > 0
    rows = [json.loads(seen.body) for seen in server.seen]
    assert len({(row["clientid"], row["seq"]) for row in rows}) == len(rows) == 40
