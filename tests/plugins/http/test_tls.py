"""https: what is trusted, what is not and why, and our own certificate."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest

from headrace import NotConnected
from headrace_plugins.http import HttpConnector

KEY = "ec -pkeyopt ec_paramgen_curve:P-256"


def openssl(directory: Path, command: str) -> None:
    subprocess.run(["openssl", *command.split()], cwd=directory, check=True, capture_output=True)


def certificate(directory: Path, name: str, alternative: str) -> None:
    """``name``.pem and ``name``.key, signed by the test's authority."""
    (directory / "extensions").write_text(f"subjectAltName={alternative}\n")
    openssl(directory, f"req -newkey {KEY} -nodes -keyout {name}.key -out request -subj /CN={name}")
    signing = "x509 -req -in request -CA ca.pem -CAkey ca.key -CAcreateserial -extfile extensions"
    openssl(directory, f"{signing} -days 2 -out {name}.pem")


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, and the certificates of a server, of one with another name, and of a client."""
    directory = tmp_path_factory.mktemp("pki")
    authority = "-subj /CN=authority -addext keyUsage=critical,keyCertSign"
    openssl(directory, f"req -x509 -newkey {KEY} -nodes -keyout ca.key -out ca.pem -days 2 {authority}")
    certificate(directory, "server", "IP:127.0.0.1")
    certificate(directory, "other", "DNS:other.example")
    certificate(directory, "client", "DNS:client")
    return directory


@pytest.fixture
async def secure(server: Any, pki: Path, request: pytest.FixtureRequest) -> Any:
    """The fault server behind TLS; the parameter names its certificate."""
    await server.stop()
    server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    name = getattr(request, "param", "server")
    server.tls.load_cert_chain(pki / f"{name}.pem", pki / f"{name}.key")
    await server.start()
    return server


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
