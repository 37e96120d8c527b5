"""The API keeps to its own description, whatever is sent to it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import schemathesis
from aiohttp import web
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import CHECKS

from dashboards import Dashboard

PLANT = """
sources: {devices: {type: mqtt_server, listen: "127.0.0.1:MQTT"}}
rules: {all: {sql: 'SELECT * FROM "t/#"', to: out}}
sinks: {out: {type: console}}
"""
SECONDS = 6
KINDS = ("sources", "connectors", "rules", "sinks")
ELSEWHERE = {
    # what is sent here may name any file and any host
    *(("post", f"/api/v1/{kind}") for kind in ("sources", "connectors", "sinks")),
    *(("post", f"/api/v1/{kind}/test") for kind in ("connectors", "sinks")),
    ("get", "/api/v1/tap"),  # it does not end
}
KEPT = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance",
)  # fmt: skip


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    running = Dashboard(tmp_path_factory.mktemp("plant"), PLANT)
    yield running
    running.stop()


def calls(document: Any) -> Iterator[tuple[str, str, Any]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def test_every_route_is_described(plant: Dashboard, monkeypatch: pytest.MonkeyPatch) -> None:
    from headrace.api import configuration, dashboard, facts, kept, listing, openapi, parts, tap, trials

    described = {(method, path) for method, path, _ in calls(plant.ask("openapi.json"))}
    modules = (configuration, facts, kept, listing, openapi, parts, tap, trials)
    app = web.Application()
    app.add_routes([route for module in modules for route in module.routes()])
    routes = {
        (route.method.lower(), route.resource.canonical.replace("{kind}", kind))
        for route in app.router.routes()
        for kind in KINDS
        if route.resource is not None and route.method != "HEAD"
    }
    assert routes <= described
    own = {("get", path) for path in ("/healthz", "/readyz", "/metrics", "/api/v1/status", "/api/v1/me")}
    assert described - routes == own | {("post", f"/api/v1/{way}") for way in ("login", "logout")}
    assert dashboard.routes()  # pages, no part of the API


def test_every_call_says_what_it_does_and_takes(plant: Dashboard) -> None:
    document = plant.ask("openapi.json")
    operations = list(calls(document))
    assert all(operation["summary"] for _, _, operation in operations)
    ids = [operation["operationId"] for _, _, operation in operations]
    assert len(set(ids)) == len(ids)
    for each in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(each)
    body = document["paths"]["/api/v1/sinks"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    http = next(each for each in body["oneOf"] if each["title"] == "http")
    assert {"name", "type", "url", "connector", "retry"} <= set(http["properties"])


def test_the_addresses_begin_with_the_prefix(tmp_path: Any) -> None:
    running = Dashboard(tmp_path, PLANT, prefix="/plants/one")
    try:
        document = running.ask("openapi.json")
        assert document["servers"] == [{"url": "/plants/one"}]
        assert "/api/v1/sinks/{name}" in document["paths"]
    finally:
        running.stop()


def test_whatever_is_sent_the_answer_is_one_of_those_described(plant: Dashboard) -> None:
    api = schemathesis.openapi.from_url(f"{plant.url}api/v1/openapi.json")
    checks = [CHECKS.get_one(name) for name in KEPT]
    operations = [found.ok() for found in api.get_all_operations()]
    operations = [each for each in operations if (each.method, each.path) not in ELSEWHERE]
    assert len(operations) > 40
    end, sent = time.monotonic() + SECONDS, 0
    for turn in itertools.count():
        for operation in operations:
            if time.monotonic() > end:
                break

            @settings(
                max_examples=3, deadline=None, database=None, phases=[Phase.generate], derandomize=turn == 0,
                suppress_health_check=list(HealthCheck),
            )  # fmt: skip
            @given(case=operation.as_strategy())
            def try_it(case: Any) -> None:
                nonlocal sent
                sent += 1
                case.call_and_validate(checks=checks, timeout=10)

            try_it()
        else:
            continue
        break
    print(f"{sent} requests to {len(operations)} calls")
    assert sent > len(operations)
    assert plant.call("GET", "status")[0] == 200
