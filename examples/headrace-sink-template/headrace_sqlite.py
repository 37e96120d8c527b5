"""A sink that puts events into a SQLite table."""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pydantic import Field

from headrace import Batch, ComponentConfig, Context, Done, Sink, hookimpl, json_bytes


class SqliteConfig(ComponentConfig):
    """Options of `sqlite`."""

    path: Path = Field(description="The database file; made if it is not there.")
    table: str = Field("events", pattern=r"^[a-z_]+$", description="The table; made if it is not there.")


class Sqlite(Sink[SqliteConfig]):
    """Put each event into a table, once however often it is sent."""

    name = "sqlite"

    def __init__(self, config: SqliteConfig, ctx: Context) -> None:
        super().__init__(config, ctx)
        self.thread = ThreadPoolExecutor(1)  # SQLite blocks; one thread also keeps the calls in order

    async def call(self, function: Callable[[], object]) -> None:
        await asyncio.get_running_loop().run_in_executor(self.thread, function)

    async def open(self) -> None:
        def connect() -> None:
            self.db = sqlite3.connect(self.config.path)
            self.db.execute(f"CREATE TABLE IF NOT EXISTS {self.config.table} (id PRIMARY KEY, timestamp, event)")

        await self.call(connect)

    async def write(self, batch: Batch, done: Done) -> None:
        rows = [(event.delivery_id, event.timestamp, json_bytes(event.columns).decode()) for event in batch]

        def insert() -> None:
            with self.db:  # one transaction: all of the batch or nothing
                self.db.executemany(f"INSERT OR IGNORE INTO {self.config.table} VALUES (?, ?, ?)", rows)

        await self.call(insert)

    async def close(self) -> None:
        await self.call(lambda: self.db.close() if hasattr(self, "db") else None)
        self.thread.shutdown()


@hookimpl
def register_sinks() -> list[type[Sqlite]]:
    return [Sqlite]
