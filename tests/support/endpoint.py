"""A process that runs one `mqtt_server`, takes everything at once, and prints its port: for tests of scale.

python endpoint.py '{"max_connections": 20000}'
"""

from __future__ import annotations

import asyncio
import gc
import json
import resource
import sys

from headrace.testing.context import make_context
from headrace_plugins.mqtt_server.source import MqttServer


async def main(options: dict[str, object]) -> None:
    source = MqttServer(
        MqttServer.Config(**{"listen": "127.0.0.1:0", **options}), make_context("direct", filters=("#",))
    )
    await source.open()
    print(source.address.rpartition(":")[2], flush=True)
    while True:
        _, ack = await source.read()
        ack(None)


if __name__ == "__main__":
    gc.freeze()  # as the service does it
    gc.set_threshold(100_000, 20, 50)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(main(json.loads(sys.argv[1])))
