"""Somebody who looks at a running headrace: ``looker.py PORT scrape|dashboard``. Ends with it, or after two minutes.

``scrape`` reads /metrics once a second. ``dashboard`` is what a page with an open tap does: it reads the status once a
second, and the tap's events as they come.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
import urllib.request


def main(port: int, what: str) -> None:
    base = f"http://127.0.0.1:{port}"
    end = time.monotonic() + 120
    while not _read(f"{base}/healthz"):
        if time.monotonic() > end:
            return
        time.sleep(0.05)
    if what == "dashboard":
        threading.Thread(target=_tap, args=(f"{base}/api/v1/tap?node=sink:out",), daemon=True).start()
    path = "/metrics" if what == "scrape" else "/api/v1/status"
    while time.monotonic() < end and _read(base + path):
        time.sleep(1)


def _read(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return bool(answer.read())
    except OSError:
        return False


def _tap(url: str) -> None:
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=60) as answer:
        while answer.readline():
            pass


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
