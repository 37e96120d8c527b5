"""The stream layer: Faust apps on an embedded log or on Kafka. The only importer of faust."""

from headrace.stream.consumer import Consumer
from headrace.stream.kept import Kept, read_topic
from headrace.stream.stream import Stream
from headrace.stream.topic import Record, Topic, TopicOptions

__all__ = ["Consumer", "Kept", "Record", "Stream", "Topic", "TopicOptions", "read_topic"]
