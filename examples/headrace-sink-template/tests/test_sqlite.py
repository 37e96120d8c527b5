"""The contract every sink keeps, and what is special to this one."""

import sqlite3
from pathlib import Path

import pytest
from headrace_sqlite import Sqlite

from headrace.testing import make_context, make_event
from headrace.testing.contracts import SinkContract, opened, write


class TestSqlite(SinkContract):
    @pytest.fixture
    def sink(self, tmp_path: Path) -> Sqlite:
        return Sqlite(Sqlite.Config(path=tmp_path / "events.db"), make_context())


async def test_an_event_sent_twice_is_stored_once(tmp_path: Path) -> None:
    sink = Sqlite(Sqlite.Config(path=tmp_path / "events.db"), make_context())
    event = make_event('{"n": 1}')
    async with opened(sink):
        assert await write(sink, [event]) == [None]
        assert await write(sink, [event]) == [None]
    db = sqlite3.connect(tmp_path / "events.db")
    stored = db.execute("SELECT event ->> '$.topic' FROM events").fetchall()
    db.close()
    assert stored == [("t/1",)]


async def test_a_failed_insert_settles_nothing_as_delivered(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    sink = Sqlite(Sqlite.Config(path=path), make_context())
    async with opened(sink):
        db = sqlite3.connect(path)
        db.execute("DROP TABLE events")
        db.close()
        verdicts = await write(sink, [make_event("1"), make_event("2")])
    assert [type(verdict) for verdict in verdicts] == [sqlite3.OperationalError] * 2
