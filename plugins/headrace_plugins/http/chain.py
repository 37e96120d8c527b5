"""The certificates a server shows of itself, for people: who vouches for whom, and until when."""

from __future__ import annotations

import ssl
import time
from typing import Any

__all__ = ["chain"]


def chain(tls: ssl.SSLObject) -> tuple[str, dict[str, Any]]:
    """Of a finished handshake: a line for people, and for programs the same with all names.

    ``expires_in_days`` is that of the certificate that ends first: when it does, the connection does not come up.
    """
    version = tls.version() or "TLS"
    verified = bool(tls.getpeercert())
    links = [_link(info) for info in _infos(tls, verified=verified)]
    facts: dict[str, Any] = {"version": version, "verified": verified, "chain": links}
    if links:
        first = min(links, key=lambda link: int(link["expires_in_days"]))
        facts |= {**links[0], "expires_in_days": first["expires_in_days"]}
    told = ", ".join(f"{link['subject']} ({_days(link['expires_in_days'])})" for link in links)
    return ", ".join(filter(None, (version, "" if verified else "the certificate is not verified", told))), facts


def _infos(tls: ssl.SSLObject, *, verified: bool) -> list[dict[str, Any]]:
    """From the server's own certificate to the authority's; without verification, whatever the server sent.

    Python has a public call for this from 3.13 on, and that gives bytes which the ssl module cannot read. What it
    calls is there, and the same, from 3.10 on.
    """
    connection = getattr(tls, "_sslobj", None)
    get = getattr(connection, "get_verified_chain" if verified else "get_unverified_chain", None)
    if get is None:  # another Python: the server's own alone
        return [tls.getpeercert() or {}] if verified else []
    return [certificate.get_info() for certificate in get() or ()]


def _link(info: dict[str, Any]) -> dict[str, Any]:
    ends = ssl.cert_time_to_seconds(info["notAfter"])
    return {
        "subject": _name(info.get("subject", ())),
        "issuer": _name(info.get("issuer", ())),
        "names": [value for _, value in info.get("subjectAltName", ())],
        "expires": info["notAfter"],
        "expires_in_days": int((ends - time.time()) // 86400),
    }


def _days(days: int) -> str:
    return f"{days} more days" if days >= 0 else f"ended {-days} days ago"


def _name(parts: Any) -> str:
    """A distinguished name: the common name, or all of it."""
    pairs = [pair for part in parts for pair in part]
    return next((v for k, v in pairs if k == "commonName"), ", ".join(f"{k}={v}" for k, v in pairs))
