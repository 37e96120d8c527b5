"""Opening and closing."""

from __future__ import annotations

import socket

import pytest

from headrace import NotConnected


async def test_a_taken_port_is_tried_again(serve):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        listen = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(NotConnected, match=f"cannot listen on {listen}.*in use"):
            await serve(listen=listen)
    endpoint = await serve(listen=listen)
    assert endpoint.source.ctx.status.snapshot()["reason"] == f"listening on {listen}"
    await endpoint.source.open()  # again, after an error elsewhere: it stays as it is
    assert endpoint.source.address == listen


@pytest.mark.parametrize("options", [{"users": "/nowhere/users"}, {"tls": {"cert": "/nowhere/c", "key": "/nowhere/k"}}])
async def test_missing_files_are_named(serve, options):
    with pytest.raises(NotConnected, match="No such file"):
        await serve(**options)


async def test_closing_after_a_failed_open_is_fine(serve):
    with pytest.raises(NotConnected):
        await serve(users="/nowhere/users")
    # the fixture closes it
