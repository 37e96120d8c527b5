"""What one flush does for one topic of the embedded log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.stream.topic import Message

if TYPE_CHECKING:
    from headrace.stream.logtopic import LogTopic

__all__ = ["Job"]


class Job:
    """Made and finished on the loop, run there or on the writer thread."""

    __slots__ = ("commit", "commit_error", "error", "low", "messages", "size", "stored", "topic")

    def __init__(self, topic: LogTopic, messages: list[Message], commit: bytes | None, low: int) -> None:
        self.topic = topic
        self.messages = messages
        self.commit = commit
        self.low = low
        self.size = sum([len(message.payload) for message in messages]) if messages else 0
        self.stored = 0
        self.error: OSError | None = None
        self.commit_error: OSError | None = None

    def run(self) -> None:
        """Append, then commit, then remove what the commit made useless: in this order a crash loses nothing."""
        topic = self.topic
        if self.messages:
            self.stored, self.error = topic.series.append(self.messages)
        if self.commit is None:
            return
        try:
            topic.offsets.write(self.commit)
            useless = topic.series.removable(self.low)
            if useless and topic.log.sync:
                topic.offsets.sync()  # else a power cut could leave an older commit and no records behind it
            topic.series.remove(useless)
        except OSError as exc:
            self.commit_error = exc
