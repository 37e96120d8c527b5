"""The table of EMQX's options in docs/http.md names options that exist, and leaves none of EMQX's out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from headrace.config.model import SinkOptions
from headrace_plugins.http.config import HttpConnectorConfig, HttpSinkConfig

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "http.md"
EMQX = {
    "connector": """url headers connect_timeout pool_size pool_type enable_pipelining max_inactive enable description
        ssl.enable ssl.verify ssl.cacertfile ssl.certfile ssl.keyfile ssl.server_name_indication oauth2
        resource_opts.health_check_interval resource_opts.health_check_timeout resource_opts.start_after_created
        resource_opts.start_timeout""",
    "action": """enable connector parameters.path parameters.method parameters.headers parameters.body
        parameters.max_retries fallback_actions resource_opts.health_check_interval resource_opts.health_check_timeout
        resource_opts.health_check_interval_jitter resource_opts.worker_pool_size resource_opts.dispatch_strategy
        resource_opts.query_mode resource_opts.inflight_window resource_opts.request_ttl
        resource_opts.max_buffer_bytes resource_opts.buffer_mode resource_opts.buffer_seg_bytes
        resource_opts.resume_interval resource_opts.metrics_flush_interval resource_opts.batch_size
        resource_opts.batch_time""",
}


def rows() -> list[tuple[str, str, str, str]]:
    """Kind, EMQX's name, ours or a dash, remark."""
    lines = PAGE.read_text().split("## Coming from EMQX")[1].splitlines()
    found = [re.fullmatch(r"\| (connector|action) `([\w.]+)` \| (?:`([\w.]+)`|–) \|(.*)\|", line) for line in lines]
    return [(row[1], row[2], row[3] or "", row[4].strip()) for row in found if row]


def exists(model: type[BaseModel], path: str) -> bool:
    name, _, rest = path.partition(".")
    field: Any = model.model_fields.get(name)
    if field is None or not rest:
        return field is not None
    inner = [each for each in (field.annotation, *get_args(field.annotation)) if isinstance(each, type)]
    return any(issubclass(each, BaseModel) and exists(each, rest) for each in inner)


def test_no_option_of_emqx_is_left_out() -> None:
    for kind, names in EMQX.items():
        assert sorted(emqx for its, emqx, _, _ in rows() if its == kind) == sorted(names.split())


@pytest.mark.parametrize(("kind", "emqx", "ours"), [row[:3] for row in rows() if row[2]])
def test_what_is_named_exists(kind: str, emqx: str, ours: str) -> None:
    models: list[type[BaseModel]] = [HttpConnectorConfig] if kind == "connector" else [HttpSinkConfig, SinkOptions]
    assert ours == "connector" or any(exists(model, ours) for model in models), f"{emqx}: there is no option {ours}"


def test_what_has_no_counterpart_says_why() -> None:
    """Those that only repeat the row above them may be silent."""
    silent = [emqx for _, emqx, ours, remark in rows() if not ours and not remark]
    assert silent == ["resource_opts.health_check_interval_jitter", "resource_opts.health_check_timeout"]
