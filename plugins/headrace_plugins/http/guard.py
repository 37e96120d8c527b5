"""Where a connector may not go: networks by address, and hosts by name where events choose them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from headrace import NotConnected

__all__ = ["NETWORKS", "Guard", "check_host_pattern", "check_network", "host_allowed"]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

NETWORKS = {
    "loopback": ("127.0.0.0/8", "0.0.0.0/8", "::1/128", "::/128"),
    "private": ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7", "fec0::/10"),
    # link-local, where clouds tell machines their credentials, and the addresses of those who do it elsewhere
    "metadata": (
        "169.254.0.0/16",
        "fe80::/10",
        "100.100.100.200/32",
        "168.63.129.16/32",
        "192.0.0.192/32",
        "fd00:ec2::254/128",
    ),
    "multicast": ("224.0.0.0/4", "255.255.255.255/32", "ff00::/8"),
}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_HOST = re.compile(r"[a-z0-9]([a-z0-9_-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9_-]*[a-z0-9])?)*\Z")


class Guard:
    """Networks that are denied. It looks at the addresses that are connected to, not at names."""

    def __init__(self, deny: Iterable[str]) -> None:
        self._networks = [network for name in deny for network in _networks(name)]

    def allowed(self, host: str, addresses: list[str]) -> list[str]:
        """Those of the addresses that may be connected to; NotConnected if there are none."""
        if not self._networks:
            return addresses
        good = [address for address in addresses if not self._denied(ipaddress.ip_address(address.partition("%")[0]))]
        if not good:
            raise NotConnected(f"{host} is at {', '.join(addresses)}, which deny forbids")
        return good

    def _denied(self, address: Address) -> bool:
        return any(each in network for each in _meant(address) for network in self._networks)


def _meant(address: Address) -> list[Address]:
    """The address, and an IPv4 address that it stands for."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    inside = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64:
        inside.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return [address, *[each for each in inside if each is not None]]


def _networks(name: str) -> list[Network]:
    return [ipaddress.ip_network(text) for text in NETWORKS.get(name, (name,))]


def check_network(name: str) -> str:
    """ValueError if it is neither one of our names nor a network."""
    try:
        _networks(name)
    except ValueError:
        known = ", ".join(NETWORKS)
        raise ValueError(f"{name!r} is no network such as 10.0.0.0/8, and none of {known}") from None
    return name


def check_host_pattern(pattern: str) -> str:
    """ValueError if it is no host name, with or without ``*.`` before it."""
    pattern = pattern.lower()
    name = pattern.removeprefix("*.")
    if not _HOST.match(name) or (name != pattern and "." not in name):
        raise ValueError(f"{pattern!r} is no host; write host.example.com, or *.example.com for those below it")
    return pattern


def host_allowed(host: str, patterns: Iterable[str]) -> bool:
    """Is this the name of a host, and one that a pattern means? Names are in lower case."""
    if not _HOST.match(host):
        return False
    return any(host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern for pattern in patterns)
