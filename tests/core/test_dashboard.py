"""The dashboard's files are served as they were built, and without them the page says what to do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from headrace.api import dashboard


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[str]:
    app = web.Application()
    app.add_routes(dashboard.routes(tmp_path / "dist"))
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def fetch(url: str) -> tuple[int, str, aiohttp.typedefs.LooseHeaders]:
    async with aiohttp.ClientSession() as client, client.get(url) as answer:
        return answer.status, await answer.text(), answer.headers


async def test_without_a_build_the_page_says_how_to_make_one(site: str) -> None:
    status, text, _ = await fetch(site)
    assert status == 200
    assert "make dashboard" in text
    assert (await fetch(f"{site}/assets/index.js"))[0] == 404


async def test_what_is_built_is_served_and_may_load_nothing_from_elsewhere(site: str, tmp_path: Path) -> None:
    assets = tmp_path / "dist" / "assets"
    assets.mkdir(parents=True)
    (tmp_path / "dist" / "index.html").write_text("<title>headrace</title>")
    (assets / "index-a1.js").write_text("1")
    status, text, headers = await fetch(site)
    assert (status, text) == (200, "<title>headrace</title>")
    policy = dict(headers)["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "http" not in policy
    assert (await fetch(f"{site}/assets/index-a1.js"))[:2] == (200, "1")


async def test_no_other_file_is_served(site: str, tmp_path: Path) -> None:
    (tmp_path / "dist" / "assets").mkdir(parents=True)
    (tmp_path / "secret.txt").write_text("secret")
    for path in (
        "/assets/..%2f..%2fsecret.txt",
        "/assets/../../secret.txt",
        "/secret.txt",
        "/assets/%2e%2e%2fsecret.txt",
    ):
        assert (await fetch(site + path))[0] == 404
