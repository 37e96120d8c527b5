"""The contract every transform keeps."""

from __future__ import annotations

import pytest

from headrace.testing import make_context
from headrace.testing.contracts import TransformContract
from headrace_plugins.sql.transform import Sql

QUERIES = {
    "select": 'SELECT payload.temp AS temp, * FROM "t/#", "$events/client_connected"',
    "where": 'SELECT clientid FROM "t/#" WHERE payload.id = 7 AND qos > 0',
    "foreach": 'FOREACH payload.items AS item DO item, topic FROM "t/#"',
}


class TestSql(TransformContract):
    @pytest.fixture(params=QUERIES.values(), ids=QUERIES)
    def transform(self, request) -> Sql:
        return Sql(Sql.Config(query=request.param), make_context())
