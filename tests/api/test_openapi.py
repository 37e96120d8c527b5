"""The API keeps to its own description, whatever is sent to it."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import requests
import schemathesis
from aiohttp import web
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import CHECKS

from commands import wait_for
from dashboards import Dashboard

PLANT = """
sources: {devices: {type: mqtt_server, listen: "127.0.0.1:MQTT"}}
rules: {all: {sql: 'SELECT * FROM "t/#"', to: out}}
connectors: {server: {type: http, url: "http://127.0.0.1:9"}}
sinks: {out: {type: console}}
"""
SECONDS = 6
KINDS = ("sources", "connectors", "rules", "sinks")
MADE = {
    ("post", f"/api/v1/{path}") for path in ("sources", "connectors", "rules", "sinks", "connectors/test", "sinks/test")
} | {("put", f"/api/v1/{kind}/{{name}}") for kind in KINDS}
"""What may name any file, host and port: sent to one that is kept from them."""
TAP = ("get", "/api/v1/tap")
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


def fuzz(operations: Sequence[Any], seconds: float, try_it: Callable[[Any], None], after: Callable[[], None]) -> int:
    """Send what the description lets through and what it does not, to each call in turn. How many requests it was."""
    end, sent = time.monotonic() + seconds, 0
    for turn in itertools.count():
        for operation in operations:
            if time.monotonic() > end and turn:
                return sent

            @settings(
                max_examples=3, deadline=None, database=None, phases=[Phase.generate], derandomize=turn == 0,
                suppress_health_check=list(HealthCheck),
            )  # fmt: skip
            @given(case=operation.as_strategy())
            def one(case: Any) -> None:
                nonlocal sent
                sent += 1
                try_it(case)

            one()
        after()
    raise AssertionError


def calls_of(plant: Dashboard) -> dict[tuple[str, str], Any]:
    api = schemathesis.openapi.from_url(f"{plant.url}api/v1/openapi.json")
    found = [each.ok() for each in api.get_all_operations()]
    return {(each.method, each.path): each for each in found}


def keeps_to_it(case: Any) -> None:
    case.call_and_validate(checks=[CHECKS.get_one(name) for name in KEPT], timeout=20)


def test_whatever_is_sent_the_answer_is_one_of_those_described(plant: Dashboard) -> None:
    operations = [each for call, each in calls_of(plant).items() if call not in MADE | {TAP}]
    assert len(operations) > 40
    sent = fuzz(operations, SECONDS, keeps_to_it, lambda: None)
    print(f"{sent} requests to {len(operations)} calls")
    assert plant.call("GET", "status")[0] == 200


def test_whatever_is_made_changed_and_tested_the_answer_is_one_of_those_described(tmp_path: Path) -> None:
    found = Counter[int]()
    running = Dashboard(tmp_path, PLANT, kept_in=True)
    try:
        before = running.config.read_text()
        operations = [each for call, each in calls_of(running).items() if call in MADE]
        assert len(operations) == len(MADE)
        there = {"sources": "devices", "connectors": "server", "rules": "all", "sinks": "out"}

        def try_it(case: Any) -> None:
            if "name" in case.path_parameters:  # one that is there: others are 404
                case.path_parameters["name"] = there[case.path.split("/")[3]]
            if isinstance(case.body, dict) and isinstance(case.body.get("url"), str):  # no text at random is an address
                scheme = "mqtt" if case.body.get("type") == "mqtt" else "http"
                case.body["url"] = f"{scheme}://127.0.0.1:9"
            response = case.call(timeout=20)
            case.validate_response(response, checks=[CHECKS.get_one(name) for name in KEPT])
            found[response.status_code] += 1

        def as_it_was() -> None:
            running.config.write_text(before)
            assert running.call("POST", "config/reload")[0] == 200

        sent = fuzz(operations, 2 * SECONDS, try_it, as_it_was)
        print(f"{sent} requests to {len(operations)} calls: {dict(found)}")
        assert min(found[200], found[201], found[400]) > 0
    finally:
        running.stop()


def test_whatever_a_tap_is_asked_for_the_answer_is_one_of_those_described(plant: Dashboard) -> None:
    checks = [CHECKS.get_one(name) for name in KEPT]
    found = Counter[int]()

    def try_it(case: Any) -> None:
        if case.query.get("node"):
            case.query["node"] = "rule:all"  # others are not there
        response = requests.request(**case.as_transport_kwargs(), stream=True, timeout=10)
        found[response.status_code] += 1
        with response:
            if response.status_code == 200:  # it goes on for ever: the beginning will do
                response._content = next(response.iter_content(64))
                response._content_consumed = True
                assert response.content.startswith(b"event: passed\ndata: 0\n\n")
            case.validate_response(response, checks=checks)

    fuzz([calls_of(plant)[TAP]] * 10, 1, try_it, lambda: None)
    assert min(found[200], found[404]) > 0
    wait_for(lambda: plant.call("GET", "status")[0] == 200)
