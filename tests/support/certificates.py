"""Certificates for tests of TLS, made with the openssl command."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path
from typing import NamedTuple


class Certificates(NamedTuple):
    """PEM files. ``server`` is for localhost and 127.0.0.1, ``client`` has the common name ``meter-1``."""

    ca: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path
    stranger: Path
    stranger_key: Path

    def context(self, *client: Path) -> ssl.SSLContext:
        """What a device uses that trusts ``ca``; ``client``: its own certificate and key."""
        context = ssl.create_default_context(cafile=self.ca)
        if client:
            context.load_cert_chain(*client)
        return context


def make_certificates(directory: Path) -> Certificates:
    """New ones, valid for two days."""
    openssl = shutil.which("openssl")
    assert openssl, "the tests of TLS need the openssl command"

    def run(*args: str) -> None:
        subprocess.run([openssl, *args], check=True, capture_output=True, cwd=directory)

    def key_and(name: str, subject: str, *args: str) -> None:
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{name}.key")
        run("req", *curve, "-subj", f"/CN={subject}", *args)

    key_and("ca", "test authority", "-x509", "-days", "2", "-out", "ca.crt")
    key_and("stranger", "stranger", "-x509", "-days", "2", "-out", "stranger.crt")
    for name, subject in (("server", "localhost"), ("client", "meter-1")):
        key_and(name, subject, "-out", f"{name}.csr")
        (directory / f"{name}.ext").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        sign = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", f"{name}.ext")
        run("x509", "-req", "-in", f"{name}.csr", *sign, "-out", f"{name}.crt")
    return Certificates(
        *(directory / name for name in ("ca.crt", "server.crt", "server.key", "client.crt", "client.key")),
        *(directory / name for name in ("stranger.crt", "stranger.key")),
    )
