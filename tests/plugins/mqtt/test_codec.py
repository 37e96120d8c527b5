"""The codec: what is written reads back; what is broken raises ProtocolError and nothing else."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace_plugins._mqtt import codec, framing
from headrace_plugins._mqtt import properties as properties_of
from headrace_plugins._mqtt.framing import ProtocolError

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
names = texts.filter(lambda text: text and not set(text) & set("+#"))
binaries = st.binary(max_size=60)

KINDS = {
    "Payload-Format-Indicator": st.integers(0, 255),
    "Message-Expiry-Interval": st.integers(0, 2**32 - 1),
    "Content-Type": texts,
    "Response-Topic": texts,
    "Correlation-Data": binaries,
    "Topic-Alias": st.integers(0, 65535),
    "User-Property": st.lists(st.tuples(texts, texts), min_size=1, max_size=3),
    "Subscription-Identifier": st.integers(0, framing.MAX_VARINT),
}
properties = st.fixed_dictionaries({}, optional=KINDS)


def publish(topic, payload, qos, id, found, v5):
    return framing.encode_packet(
        0x30 | qos << 1,
        framing.encode_string(topic),
        id.to_bytes(2, "big") if qos else b"",
        properties_of.encode_properties(found) if v5 else b"",
        payload,
    )


publishes = st.builds(publish, names, binaries, st.integers(0, 2), st.integers(1, 65535), properties, st.booleans())


@given(st.integers(0, framing.MAX_VARINT))
def test_lengths_read_back(value):
    data = framing.encode_varint(value)
    assert len(data) <= 4
    assert framing.read_varint(data, 0, len(data)) == (value, len(data))


@given(names, binaries, st.integers(0, 2), st.integers(1, 65535), properties, st.booleans())
def test_a_publish_reads_back(topic, payload, qos, id, found, v5):
    data = b"\xc0\x00" + publish(topic, payload, qos, id, found, v5) + b"\xd0"
    (ping, (header, start, end)) = framing.frames(data)
    assert ping == (0xC0, 2, 2)
    assert end == len(data) - 1
    got = codec.decode_publish(data, header, start, end, v5, codec.Topics(), properties_of.IN_DELIVERY)
    assert got == (topic, payload, id.to_bytes(2, "big") if qos else b"", found if v5 else {})


@given(st.lists(publishes | binaries, max_size=6), st.booleans(), st.sampled_from([b"", b"\0", b"\x32\x05"]))
def test_the_quick_way_reads_what_the_long_way_does_or_leaves_it(packets, v5, torn):
    stream = b"".join(packets) + torn
    topics = codec.Topics()
    long: list[tuple[object, ...]] = []
    with contextlib.suppress(ProtocolError):
        for header, start, end in framing.frames(stream):
            topic, payload, id, found = codec.decode_publish(stream, header, start, end, v5, topics)
            long.append((header, topic, payload, id, end, found))
    quick = list(codec.plain_publishes(stream, 0, v5, topics.known))
    assert [(*one, {}) for one in quick] == long[: len(quick)]
    assert all(header & 0xF0 == 0x30 and not header & 1 for header, *_ in quick)


@pytest.mark.parametrize("v5", [False, True])
def test_the_quick_way_reads_plain_packets_of_any_length(v5):
    topics = codec.Topics()
    topics.check(b"t/1")
    packets = [publish("t/1", b"x" * n, qos, 7, {}, v5) for n in (0, 100, 117, 130, 16_300) for qos in (0, 1, 2)]
    stream = b"".join(packets)
    assert len(list(codec.plain_publishes(stream, 0, v5, topics.known))) == len(packets)
    assert not list(codec.plain_publishes(stream, 0, v5, {}))


@given(properties)
def test_properties_read_back(found):
    data = properties_of.encode_properties(found)
    assert properties_of.decode_properties(data, 0, len(data), properties_of.IN_DELIVERY) == (found, len(data))


@given(st.lists(publishes, max_size=5), st.data())
def test_packets_are_found_however_the_bytes_are_cut(packets, data):
    stream = b"".join(packets)
    rest, found, pos = b"", [], 0
    while pos < len(stream):
        step = data.draw(st.integers(1, len(stream) - pos))
        rest += stream[pos : pos + step]
        pos += step
        end = 0
        for _, _, end in framing.frames(rest):
            found.append(end)
        if rest[end:]:
            assert len(rest[end:]) < framing.missing(rest[end:]) <= len(stream)
        rest = rest[end:]
    assert not rest
    assert len(found) == len(packets)


@given(
    st.one_of(publishes, st.binary(max_size=80)),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4),
    st.integers(0, 400),
    st.booleans(),
)
def test_broken_packets_raise_nothing_but_protocol_errors(packet, changes, cut, v5):
    data = bytearray(packet)
    for index, value in changes:
        if data:
            data[index % len(data)] = value
    data = bytes(data[: len(data) - cut % (len(data) + 1)])
    decoders = (
        lambda start, end: codec.decode_publish(data, data[0], start, end, v5, codec.Topics()),
        lambda start, end: codec.decode_connect(data, start, end),
        lambda start, end: codec.decode_subscribe(data, start, end, v5),
        lambda start, end: codec.decode_unsubscribe(data, start, end, v5),
        lambda start, end: properties_of.decode_properties(data, start, end, properties_of.IN_DISCONNECT),
    )
    try:
        frames = list(framing.frames(data, 1000))
    except ProtocolError:
        frames = []
    for start, end in [(0, len(data)), *((start, end) for _, start, end in frames)]:
        for decode in decoders:
            if data:
                with contextlib.suppress(ProtocolError):
                    decode(start, end)


@given(
    st.sampled_from([3, 4, 5]), texts, st.booleans(), st.integers(0, 65535), st.none() | texts, st.none() | binaries,
    st.none() | st.tuples(names, binaries, st.integers(0, 2), st.booleans()),
)  # fmt: skip
def test_a_connect_reads_back(version, clientid, clean, keepalive, username, password, will):
    if version < 5 and username is None:
        password = None
    v5 = version == 5
    flags = 2 * clean | (username is not None) << 7 | (password is not None) << 6
    body = [framing.encode_string(clientid)]
    if will is not None:
        flags |= 4 | will[2] << 3 | will[3] << 5
        body += [b"\0" * v5, framing.encode_string(will[0]), framing.encode_string(will[1])]
    body += [framing.encode_string(part) for part in (username, password) if part is not None]
    head = (
        framing.encode_string("MQIsdp" if version == 3 else "MQTT")
        + bytes((version, flags))
        + keepalive.to_bytes(2, "big")
    )
    data = framing.encode_packet(
        0x10, head, properties_of.encode_properties({"Receive-Maximum": 5}) if v5 else b"", *body
    )
    ((_, start, end),) = framing.frames(data)
    assert codec.decode_connect(data, start, end) == codec.Connect(
        version,
        clientid,
        clean,
        keepalive,
        username,
        password,
        codec.Will(*will, {}) if will else None,
        {"Receive-Maximum": 5} if v5 else {},
    )


def test_topics_are_decoded_once_and_bounded():
    topics = codec.Topics()
    assert topics.check(b"t/1") is topics.known[b"t/1"]
    for i in range(10_001):
        topics.check(b"t/%d" % i)
    assert len(topics.known) <= 10_000
    topics.known.clear()
    topics.check(b"x" * 201)
    assert not topics.known


@pytest.mark.parametrize("raw", [b"a/+", b"#", b"\xff", b"a\0b", b"\xed\xa0\x80"])
def test_bad_topic_names_are_refused(raw):
    topics = codec.Topics()
    with pytest.raises(ProtocolError):
        topics.check(raw)
    assert not topics.known
