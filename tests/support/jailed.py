"""``python jailed.py DIRECTORY …``: headrace that reaches nothing but loopback and writes only below ``DIRECTORY``.

What it is kept from is an error for it, as a firewall or a read-only disk would give, and a line in ``DIRECTORY/kept``.
"""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
PATHS = {
    "os.mkdir": (0,), "os.rmdir": (0,), "os.remove": (0,), "os.rename": (0, 1), "os.link": (0, 1), "os.symlink": (1,),
    "os.truncate": (0,), "os.chmod": (0,), "os.chown": (0,), "os.utime": (0,),
}  # fmt: skip
"""Which arguments of these events name what is changed."""
ADDRESSES = {"socket.connect": 1, "socket.bind": 1, "socket.sendto": 1, "socket.getaddrinfo": 0}


class Jail:
    """An audit hook. It sees what Python's own modules do: uvloop, which goes past them, is not let in."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory.resolve()
        self._kept = os.open(directory / "kept", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "import" and args[0] == "uvloop":
            raise ImportError("not in here")
        if event == "open":
            if args[2] & WRITES:
                self._inside(event, args, (0,))
        elif event in PATHS:
            self._inside(event, args, PATHS[event])
        elif event in ADDRESSES:
            self._near(event, args[ADDRESSES[event]])
        elif event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork"):
            self._refuse(event, args)

    def _inside(self, event: str, args: Sequence[Any], places: Sequence[int]) -> None:
        for place in places:
            path = args[place]
            if isinstance(path, int) or path == os.devnull:
                continue
            found = Path(os.path.realpath(os.fsdecode(path)))
            if found != self._directory and self._directory not in found.parents:
                self._refuse(event, args)

    def _near(self, event: str, address: Any) -> None:
        host = address[0] if isinstance(address, tuple) else address
        if isinstance(address, tuple) or event == "socket.getaddrinfo":
            host = host.decode("ascii", "replace") if isinstance(host, bytes) else host
            try:
                # what binds to ("", 0) is about to connect: its port is of no use to others
                near = host == "localhost" or address == ("", 0) or ipaddress.ip_address(host).is_loopback
            except ValueError:
                near = False
            if not near:
                self._refuse(event, (address,))
        else:
            self._inside(event, (host,), (0,))

    def _refuse(self, event: str, args: Sequence[Any]) -> None:
        os.write(self._kept, f"{event} {args[:2]!r}\n".encode("utf-8", "backslashreplace"))
        raise PermissionError(f"{event}: not in here")


if __name__ == "__main__":
    sys.path = [path for path in sys.path if Path(path).resolve() != Path(__file__).resolve().parent]
    sys.dont_write_bytecode = True
    directory, *argv = sys.argv[1:]
    sys.addaudithook(Jail(Path(directory)))
    from headrace.cli import main

    sys.exit(main(argv))
