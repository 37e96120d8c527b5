"""Certificates: how they are given, and the TLS context that follows them when their files change."""

from __future__ import annotations

import ssl
from pathlib import Path

from pydantic import Field, model_validator

from headrace import ComponentConfig, NotConnected
from headrace_plugins._files import versions_of

__all__ = ["Certificates", "TlsOptions"]


class TlsOptions(ComponentConfig):
    """How an https server is checked, and who we are to it."""

    ca: Path | None = Field(None, description="PEM file of the authorities to trust; default is the system's.")
    cert: Path | None = Field(None, description="PEM file of our certificate, with its chain.")
    key: Path | None = Field(None, description="PEM file of our private key; default is the file of cert.")
    server_name: str | None = Field(None, description="Name the certificate must carry, instead of the URL's host.")
    insecure: bool = Field(False, description="Accept any certificate. For tests only.")

    @model_validator(mode="after")
    def _key_needs_cert(self) -> TlsOptions:
        if self.key and not self.cert:
            raise ValueError("key needs cert")
        return self


class Certificates:
    """The TLS context of a connector. A certificate is renewed by writing its files anew: no restart is needed."""

    def __init__(self, options: TlsOptions) -> None:
        self._options = options
        self.files = [path for path in (options.ca, options.cert, options.key) if path]
        self._versions: list[tuple[int, int, int] | None] = []
        self.context: ssl.SSLContext | None = None

    def load(self) -> None:
        """Read the files. NotConnected, with the reason, if they cannot be used."""
        self._versions = versions_of(self.files)
        self.context = self._make()

    def renew(self) -> bool:
        """Read the files again if they changed; True if there is a new context.

        NotConnected if they cannot be used as they are: the old context stays until they change once more.
        """
        versions = versions_of(self.files)
        if versions == self._versions:
            return False
        self._versions = versions
        self.context = self._make()
        return True

    def _make(self) -> ssl.SSLContext:
        options = self._options
        try:
            context = ssl.create_default_context(cafile=options.ca)
            if options.cert:
                context.load_cert_chain(options.cert, options.key)
        except (OSError, ssl.SSLError) as exc:
            raise NotConnected(f"cannot use the certificates of tls: {exc}") from exc
        if options.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context
