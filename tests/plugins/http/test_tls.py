"""https: what is trusted, what is not and why, and our own certificate."""

from __future__ import annotations

import logging
import re
import shutil
import ssl
from pathlib import Path
from typing import Any

import pytest

from headrace import NotConnected
from headrace_plugins.http import HttpConnector
from headrace_plugins.http.chain import chain
from rig import until


async def test_a_certificate_of_a_trusted_authority_is_accepted(secure: Any, client: Any, pki: Path) -> None:
    sink = await client.sink(secure.url, {"tls": {"ca": pki / "ca.pem"}})
    assert await client.deliver(sink, client.events(5)) == [None] * 5
    await sink.ctx.connector.health()


async def test_an_unknown_authority_is_refused_by_default(secure: Any, client: Any) -> None:
    sink = await client.sink(secure.url)
    (error,) = await client.deliver(sink, client.events())
    assert error.kind == "network"
    assert "the certificate of https://127.0.0.1" in str(error)
    assert "unable to get local issuer certificate" in str(error)
    with pytest.raises(NotConnected, match="certificate"):
        await sink.ctx.connector.health()
    assert secure.seen == []


@pytest.mark.parametrize("secure", ["other"], indirect=True)
async def test_a_certificate_of_another_name_is_refused_unless_that_name_is_wanted(
    secure: Any, client: Any, pki: Path
) -> None:
    ca = pki / "ca.pem"
    (error,) = await client.deliver(await client.sink(secure.url, {"tls": {"ca": ca}}), client.events())
    assert "IP address mismatch" in str(error)
    named = await client.sink(secure.url, {"tls": {"ca": ca, "server_name": "other.example"}})
    assert await client.deliver(named, client.events()) == [None]
    assert secure.seen[0].header("host") == f"127.0.0.1:{secure.port}"


async def test_any_certificate_is_accepted_when_insecure(secure: Any, client: Any) -> None:
    sink = await client.sink(secure.url, {"tls": {"insecure": True}})
    assert await client.deliver(sink, client.events()) == [None]


async def test_our_certificate_lets_us_in(secure: Any, client: Any, pki: Path) -> None:
    secure.tls.verify_mode = ssl.CERT_REQUIRED
    secure.tls.load_verify_locations(pki / "ca.pem")
    ca = {"ca": pki / "ca.pem"}
    (error,) = await client.deliver(await client.sink(secure.url, {"tls": ca}), client.events())
    assert error.kind == "network"
    tls = {**ca, "cert": pki / "client.pem", "key": pki / "client.key"}
    sink = await client.sink(secure.url, {"tls": tls})
    assert await client.deliver(sink, client.events(3)) == [None] * 3


async def test_plain_http_to_a_tls_port_and_tls_to_a_plain_one_fail_clearly(
    secure: Any, server: Any, client: Any
) -> None:
    (error,) = await client.deliver(await client.sink(f"http://127.0.0.1:{secure.port}"), client.events())
    assert error.kind == "network"
    await server.stop()
    server.tls = None
    await server.start()
    server.default = server.close(b"HTTP/1.1 400 X\r\n\r\n")
    sink = await client.sink(f"https://127.0.0.1:{server.port}", {"connect_timeout": "2s"})
    (error,) = await client.deliver(sink, client.events())
    assert error.kind == "network"


@pytest.mark.parametrize("size", [0, 1 << 16, 4 << 20])
async def test_bodies_of_any_size_arrive_whole(secure: Any, client: Any, pki: Path, size: int) -> None:
    sink = await client.sink(secure.url, {"tls": {"ca": pki / "ca.pem"}}, body="${payload}")
    assert await client.deliver(sink, client.events(3, b"\x7f" * size)) == [None] * 3
    assert {len(seen.body) for seen in secure.seen} == {size}


@pytest.mark.parametrize(
    "options", [{"ca": "nowhere.pem"}, {"cert": "nowhere.pem"}, {"cert": __file__}, {"ca": __file__}]
)
async def test_files_that_cannot_be_used_are_told_when_opening(options: dict[str, str], client: Any) -> None:
    with pytest.raises(NotConnected, match="cannot use the certificates of tls"):
        await client.connector("https://127.0.0.1:1", tls=options)


async def test_certificates_are_not_read_for_plain_http(client: Any) -> None:
    connector = await client.connector("http://127.0.0.1:1", tls={"ca": "nowhere.pem"})
    assert isinstance(connector, HttpConnector)


async def test_a_test_shows_the_certificate(secure: Any, client: Any, pki: Path) -> None:
    steps = await (await client.connector(secure.url, tls={"ca": pki / "ca.pem"})).test()
    assert [step.name for step in steps] == ["dns", "tcp", "tls", "http"]
    facts = steps[2].facts
    assert (facts["subject"], facts["issuer"], facts["names"]) == ("server", "authority", ["127.0.0.1"])
    assert facts["expires_in_days"] in (1, 2)
    assert facts["version"] == "TLSv1.3"
    assert re.fullmatch(r"TLSv1\.3, server \([12] more days\), authority \([12] more days\)", steps[2].detail)


@pytest.mark.parametrize("secure", ["chained"], indirect=True)
async def test_a_test_shows_the_whole_chain_and_what_ends_first(secure: Any, client: Any, pki: Path) -> None:
    steps = await (await client.connector(secure.url, tls={"ca": pki / "ca.pem"})).test()
    facts = steps[2].facts
    assert [link["subject"] for link in facts["chain"]] == ["chained", "between", "authority"]
    assert [link["issuer"] for link in facts["chain"]] == ["between", "authority", "authority"]
    assert [link["expires_in_days"] // 10 for link in facts["chain"]] == [2, 0, 0]
    assert facts["chain"][0]["names"] == ["127.0.0.1"]
    assert (facts["verified"], facts["subject"]) == (True, "chained")
    assert (
        facts["expires_in_days"] == facts["chain"][2]["expires_in_days"] in (1, 2)
    )  # the authority is the first to go
    assert "chained (29 more days), between (8 more days), authority (1 more days)" in steps[2].detail


@pytest.mark.parametrize("secure", ["chained"], indirect=True)
async def test_a_chain_that_is_not_verified_is_shown_as_it_was_sent(secure: Any, client: Any) -> None:
    step = (await (await client.connector(secure.url, tls={"insecure": True})).test())[2]
    assert [link["subject"] for link in step.facts["chain"]] == ["chained", "between"]
    assert step.facts["verified"] is False
    assert "the certificate is not verified, chained (29 more days)" in step.detail


def test_where_python_tells_of_no_chain_the_servers_own_is_shown() -> None:
    class Other:
        def version(self) -> str:
            return "TLSv1.3"

        def getpeercert(self) -> dict[str, Any]:
            return {"subject": ((("commonName", "server"),),), "notAfter": "Jan  1 00:00:00 2020 GMT"}

    detail, facts = chain(Other())  # type: ignore[arg-type]  # what it asks for is there
    assert [link["subject"] for link in facts["chain"]] == ["server"]
    assert "server (ended " in detail


async def test_a_test_says_why_a_certificate_is_not_accepted(secure: Any, client: Any) -> None:
    *_, last = await (await client.connector(secure.url)).test()
    assert (last.name, last.ok) == ("tls", False)
    assert "unable to get local issuer certificate" in last.detail
    insecure = await client.connector(secure.url, tls={"insecure": True})
    assert "not verified" in (await insecure.test())[2].detail


def renew(directory: Path, pki: Path, name: str) -> None:
    """Put other files in the place of the client's certificate, as whoever renews it would."""
    for kind in ("pem", "key"):
        shutil.copy(pki / f"{name}.{kind}", directory / f"new.{kind}")
        (directory / f"new.{kind}").replace(directory / f"mine.{kind}")


async def test_a_renewed_certificate_is_used_without_a_restart(
    secure: Any, client: Any, pki: Path, tmp_path: Path
) -> None:
    secure.tls.verify_mode = ssl.CERT_REQUIRED
    secure.tls.load_verify_locations(pki / "ca.pem")
    who: list[str] = []
    secure.on_connect = lambda writer: who.append(writer.get_extra_info("peercert")["subject"][0][0][1])
    renew(tmp_path, pki, "client")
    tls = {"ca": pki / "ca.pem", "cert": tmp_path / "mine.pem", "key": tmp_path / "mine.key"}
    sink = await client.sink(secure.url, {"tls": tls, "pool_size": 1})
    assert await client.deliver(sink, client.events(2)) == [None] * 2
    renew(tmp_path, pki, "other")
    await secure.until(lambda: secure.open == 0)
    assert await client.deliver(sink, client.events(2)) == [None] * 2
    assert who == ["client", "other"]


async def test_files_that_cannot_be_used_leave_the_old_certificate(
    secure: Any, client: Any, pki: Path, tmp_path: Path, caplog: Any
) -> None:
    caplog.set_level(logging.INFO)
    renew(tmp_path, pki, "client")
    tls = {"ca": pki / "ca.pem", "cert": tmp_path / "mine.pem", "key": tmp_path / "mine.key"}
    sink = await client.sink(secure.url, {"tls": tls, "pool_size": 1, "max_inactive": "50ms"}, timeout="400ms")
    connector = sink.ctx.connector
    (tmp_path / "mine.pem").write_text("half a certifi")
    await until(lambda: "cannot use the certificates" in (connector.ctx.status.last_error or ""))
    assert await client.deliver(sink, client.events(2)) == [None] * 2
    assert [record.message for record in caplog.records if "the old ones stay in use" in record.message]
    renew(tmp_path, pki, "other")
    await until(lambda: any("are in use" in record.message for record in caplog.records))
