"""The image of a state, as bytes: what a snapshot holds.

Lines of JSON, each a list that begins with what it is: `head`, `keys`, `deadlines`, `sessions`,
`end`. The last line has the digest of all bytes before it.

Rules of this file:
- The same state gives the same bytes on every node: keys and sessions in the order that the log
  gave them, the elements of sets sorted.
- Lines are short (about `LINE_BYTES`), so that a thread that writes them never keeps the others
  waiting for long.
- Nothing is believed: whatever is not an image raises `Malformed`, never anything else.
"""

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import NamedTuple

from node.answers import FAILURES, Result
from node.core.messages import Json, Malformed, natural
from node.json_text import NULL, canonical
from node.json_text import decode as decode_json
from node.keyspace import FOREVER, FrozenKeys, Keyspace
from node.sessions import Record, Sessions
from node.values import LIST, LOCK, QUEUE, SET, Line, Lock, Members, Value, new_line

FORMAT = 1
LINE_BYTES = 64 * 1024
LINE_KEYS = 1000
_DIGEST_BYTES = 16
_END_BYTES = len(b'["end","') + 2 * _DIGEST_BYTES + len(b'"]\n')


class Head(NamedTuple):
    """What an image says before the keys.

    `state_hash` is what the state must show that was read: nothing is missing, nothing is added.
    """

    applied_index: int
    applied_term: int
    time_ms: int
    configuration: str
    state_hash: str


def encode(head: Head, keys: FrozenKeys, sessions: Sequence[Record]) -> bytes:
    """The bytes of an image."""
    lines = [_line(["head", FORMAT, *head])]
    lines += _key_lines(keys)
    lines += _deadline_lines(keys)
    lines += (_line(["sessions", *_record_to_list(record)]) for record in sessions)
    whole = b"".join(lines)
    return whole + _end(whole)


def _line(parts: list[Json]) -> bytes:
    return canonical(parts).encode("ascii") + b"\n"


def _end(whole: bytes | memoryview) -> bytes:
    return b'["end","%s"]\n' % blake2b(whole, digest_size=_DIGEST_BYTES).hexdigest().encode()


def _key_lines(keys: FrozenKeys) -> Iterator[bytes]:
    parts: list[Json] = ["keys"]
    size = 0
    for key, value in keys.values.items():
        parts += (key, value if type(value) is str else _value_to_list(value))
        size += len(value) if type(value) is str else _size(value)
        if size >= LINE_BYTES or len(parts) > 2 * LINE_KEYS:
            yield _line(parts)
            parts, size = ["keys"], 0
    if len(parts) > 1:
        yield _line(parts)


def _size(value: Value) -> int:
    return value.size if isinstance(value, Line | Members) else 0


def _value_to_list(value: Value) -> list[Json]:
    if isinstance(value, Line):
        return [value.kind, value.left, *value.texts()]
    if isinstance(value, Members):
        return [SET, 0, *sorted(value.texts)]
    assert isinstance(value, Lock)
    return [LOCK, value.token, value.owner]


def _deadline_lines(keys: FrozenKeys) -> Iterator[bytes]:
    parts: list[Json] = ["deadlines"]
    for key, due_ms in keys.deadlines.items():
        parts += (key, due_ms)
        if len(parts) > 2 * LINE_KEYS:
            yield _line(parts)
            parts = ["deadlines"]
    if len(parts) > 1:
        yield _line(parts)


def _record_to_list(record: Record) -> list[Json]:
    parts: list[Json] = [
        record.id, record.ttl_ms, record.used_ms, record.used_index, record.acknowledged,
    ]  # fmt: skip
    for sequence, (result, _) in record.replies.items():
        parts += (sequence, result.error, result.value)
    return parts


def decode(image: bytes, keys: Keyspace, sessions: Sessions) -> Head:
    """Fill empty keys and sessions with what an image holds."""
    if image[-_END_BYTES:] != _end(memoryview(image)[:-_END_BYTES]):
        raise Malformed("not a whole image of a state: its digest is another")
    lines = _lines(image)
    what, *parts = next(lines)
    if what != "head" or len(parts) != 6 or parts[0] != FORMAT:
        raise Malformed(f"not an image of format {FORMAT}: {parts[:1]!r:.60}")
    _, index, term, time_ms, configuration, state_hash = parts
    if type(configuration) is not str or type(state_hash) is not str:
        raise Malformed("not the head of an image")
    head = Head(natural(index), natural(term), natural(time_ms), configuration, state_hash)
    for what, *parts in lines:
        if what == "keys":
            _read_keys(parts, keys)
        elif what == "deadlines":
            _read_deadlines(parts, keys)
        elif what == "sessions":
            sessions.add(_record_from_list(parts))
        elif what != "end":
            raise Malformed(f"not a line of an image: {what!r:.60}")
    return head


def _lines(image: bytes) -> Iterator[list[Json]]:
    start = 0
    while start < len(image):
        end = image.find(b"\n", start)
        try:
            if end < 0:
                raise ValueError
            parts = decode_json(image[start:end].decode("ascii"))
        except (ValueError, RecursionError):
            raise Malformed(f"no JSON at offset {start} of an image") from None
        if type(parts) is not list or not parts:
            raise Malformed(f"no list at offset {start} of an image")
        yield parts
        start = end + 1


def _text(value: Json) -> str:
    if type(value) is not str:
        raise Malformed(f"not text: {value!r:.60}")
    return value


def _read_keys(parts: list[Json], keys: Keyspace) -> None:
    if len(parts) % 2:
        raise Malformed("a key without a value in an image")
    pairs = iter(parts)
    for key, value in zip(pairs, pairs, strict=True):
        if type(key) is not str:
            raise Malformed(f"not a key: {key!r:.60}")
        if type(value) is str and value != NULL:
            keys.put(key, value)
        elif type(value) is list and len(value) > 2:
            _read_collection(key, value, keys)
        else:
            raise Malformed(f"not a value: {value!r:.60}")


def _read_collection(key: str, parts: list[Json], keys: Keyspace) -> None:
    kind, number, *rest = parts
    texts = [_text(part) for part in rest]
    if kind in (LIST, QUEUE):
        keys.put(key, new_line(_text(kind), key, texts, natural(number)))
    elif kind == LOCK and len(texts) == 1:
        keys.put(key, Lock(texts[0], natural(number)))
    elif kind == SET:
        for text in texts:
            held = keys.get(key)
            assert held is None or isinstance(held, Members)
            if held is not None and text in held.texts:
                raise Malformed("an element twice in a set")
            keys.change_set(key, held, text, add=True)
    else:
        raise Malformed(f"not a kind of value: {kind!r:.60}")


def _read_deadlines(parts: list[Json], keys: Keyspace) -> None:
    if len(parts) % 2:
        raise Malformed("a key without a deadline in an image")
    pairs = iter(parts)
    for key, due_ms in zip(pairs, pairs, strict=True):
        value = keys.get(_text(key))
        if value is None or type(due_ms) is not int or due_ms <= FOREVER:
            raise Malformed(f"not a deadline: {key!r:.60}")
        keys.put(_text(key), value, due_ms)


def _record_from_list(parts: list[Json]) -> Record:
    if len(parts) < 5 or len(parts) % 3 != 2:
        raise Malformed("not a session")
    identity, ttl_ms, used_ms, used_index, acknowledged = (natural(part) for part in parts[:5])
    record = Record(identity, ttl_ms, 0)
    record.acknowledged = acknowledged
    record.use(used_index, used_ms)
    replies = iter(parts[5:])
    for sequence, error, value in zip(replies, replies, replies, strict=True):
        if error != "" and error not in FAILURES:
            raise Malformed(f"not a reply: {error!r:.60}")
        record.keep(natural(sequence), Result(_text(error), _text(value)))
    return record
