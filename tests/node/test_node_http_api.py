"""Paths, bodies and errors of the API, fuzzed from its own description in node/openapi.json."""

import json
from typing import Any

import pytest
from api_lab import Lab, fits, resolved, success
from hypothesis import given
from hypothesis import strategies as st
from peer_lab import run

import node.operations
from node.admin import FIELDS, TESTING, AdminRequest, parse_admin
from node.http_api import description
from node.operations import FAILURES, Answer, BadRequest, Operation, failed
from node.peer_filter import CLASSES, FOR_MS_MAX

DOCUMENT: dict[str, Any] = json.loads(description())
POSTS = ("/v1/kv", "/v1/admin")


def body_schema(path: str) -> Any:
    post = DOCUMENT["paths"][path]["post"]
    return post["requestBody"]["content"]["application/json"]["schema"]


def variants(path: str) -> dict[str, Any]:
    """The schema of each operation, by name."""
    mapping = resolved(DOCUMENT, body_schema(path))["discriminator"]["mapping"]
    return {op: resolved(DOCUMENT, {"$ref": reference}) for op, reference in mapping.items()}


OPERATIONS = variants("/v1/kv")


# Values that are what a schema says, or certainly are not.

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)
ascii_text = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=12)


@st.composite
def good(draw: st.DrawFn, schema: Any) -> Any:
    schema = resolved(DOCUMENT, schema)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return draw(st.sampled_from(schema["enum"]))
    if "oneOf" in schema:
        return draw(good(draw(st.sampled_from(schema["oneOf"]))))
    kind = schema.get("type")
    if kind == "integer":
        return draw(st.integers(schema["minimum"], schema["maximum"]))
    if kind == "string":
        if schema.get("pattern", "").endswith("{1,5}$"):
            return f"{draw(ascii_text)}:{draw(st.integers(1, 65535))}"
        return draw(ascii_text)
    if kind == "array":
        if "prefixItems" in schema:
            return [draw(good(one)) for one in schema["prefixItems"]]
        return [draw(good(schema["items"])) for _ in range(draw(st.integers(1, 3)))]
    if kind == "object":
        names = [
            name
            for name in schema["properties"]
            if name in schema["required"] or draw(st.booleans())
        ]
        return {name: draw(good(schema["properties"][name])) for name in names}
    return draw(json_values)


@st.composite
def bad(draw: st.DrawFn, schema: Any) -> Any:
    """A body with one field missing, or one that its schema refuses."""
    value = draw(good(schema))
    fields = schema["properties"]
    spoilable = [
        name for name in value if name in schema["required"] or not _anything(fields[name])
    ]
    name = draw(st.sampled_from(spoilable))
    if name in schema["required"] and (_anything(fields[name]) or draw(st.booleans())):
        del value[name]
        return value
    wrong = draw(
        (json_values | st.sampled_from(["", "x" * 300, -(2**70), 2**70, 0.5, [[]], [["read"]]]))
        .filter(lambda candidate: not fits(DOCUMENT, fields[name], candidate))
        .filter(lambda candidate: candidate is not None or name in schema["required"])
    )
    value[name] = wrong
    return value


def _anything(schema: Any) -> bool:
    return not set(resolved(DOCUMENT, schema)) & {"type", "enum", "const", "oneOf"}


def by_description(body: bytes) -> Operation:
    """A parser that knows nothing but the description."""
    try:
        document = json.loads(body)
    except ValueError:
        raise BadRequest("not JSON") from None
    if not fits(DOCUMENT, body_schema("/v1/kv"), document):
        raise BadRequest("not as described")
    return Operation(document["op"], str(document.get("key", "")))


def check_documented(path: str, status: int, answer: Any) -> None:
    """An answer is one of those that the description lists, and its flag is the table's."""
    responses = DOCUMENT["paths"][path]["post"]["responses"]
    described = responses[str(status)]
    schema = described["content"]["application/json"]["schema"]
    assert fits(DOCUMENT, schema, answer), answer
    if status != 200:
        error = answer["error"]
        assert error["code"] in described["x-codes"]
        assert error["definite"] is FAILURES[error["code"]].definite
        assert FAILURES[error["code"]].http_status == status
        assert error["leader"] == "n2"


def codes_of(path: str) -> list[str]:
    responses = DOCUMENT["paths"][path]["post"]["responses"].values()
    return [code for response in responses for code in response.get("x-codes", [])]


@given(st.data(), st.sampled_from(POSTS), st.booleans())
def test_every_answer_is_one_of_those_described(
    data: st.DataObject, path: str, valid: bool
) -> None:
    """Whatever is asked and whatever comes of it; the connection serves on."""
    schemas = variants(path)
    schema = schemas[data.draw(st.sampled_from(sorted(schemas)))]
    body = data.draw(good(schema) if valid else bad(schema))
    code = data.draw(st.sampled_from(["", *codes_of(path)]))
    value = json.dumps(data.draw(json_values))

    async def main() -> None:
        lab = Lab(parse=by_description)
        lab.answer = lambda: failed(code, "n1", value) if code else success(value)
        client = lab.connect()
        status, answer = client.ask("POST", path, json.dumps(body).encode())
        check_documented(path, status, answer)
        taken = lab.operations + lab.admin
        if valid:
            assert len(taken) == 1
            assert status == (FAILURES[code].http_status if code else 200)
            if not code:
                assert answer["value"] == json.loads(value)
            elif code in ("precondition-failed", "held"):
                assert answer["error"]["value"] == json.loads(value)
            else:
                assert "value" not in answer["error"]
        else:
            assert (status, answer["error"]["code"], taken) == (400, "bad-request", [])
        assert client.ask("GET", "/status")[0] == 200
        client.end()

    run(main)


@given(st.data(), st.sampled_from(sorted(OPERATIONS)))
def test_the_real_parser_answers_in_the_same_words(data: st.DataObject, op: str) -> None:
    body = data.draw(good(OPERATIONS[op]) | bad(OPERATIONS[op]) | json_values)

    async def main() -> None:
        lab = Lab()
        client = lab.connect()
        check_documented("/v1/kv", *client.ask("POST", "/v1/kv", json.dumps(body).encode()))
        client.end()

    run(main)


@pytest.mark.skipif(
    not hasattr(node.operations, "SHAPES"), reason="the parser of all operations is not here yet"
)
@given(st.data(), st.sampled_from(sorted(OPERATIONS)))
def test_the_parser_takes_what_is_described_and_nothing_else(data: st.DataObject, op: str) -> None:
    body = data.draw(good(OPERATIONS[op]))
    reads_only = op != "txn" or (
        "session" not in body and all(step[0] in ("read", "compare") for step in body["ops"])
    )
    if not reads_only:
        body.pop("mode", None)
    assert node.operations.parse(json.dumps(body).encode()).op == op
    with pytest.raises(BadRequest):
        node.operations.parse(json.dumps(data.draw(bad(OPERATIONS[op]))).encode())


@given(st.data(), st.sampled_from(sorted({**FIELDS, **TESTING})))
def test_what_an_operator_may_ask_is_what_is_described(data: st.DataObject, op: str) -> None:
    schema = variants("/v1/admin")[op]
    body = data.draw(good(schema))
    request = parse_admin(json.dumps(body).encode(), testing=True)
    lists = {name: tuple(value) for name, value in body.items() if isinstance(value, list)}
    assert request == AdminRequest(**{**body, **lists})
    with pytest.raises(BadRequest):
        parse_admin(json.dumps(data.draw(bad(schema))).encode(), testing=True)
    with pytest.raises(BadRequest, match="has no field"):
        parse_admin(json.dumps({**body, "other": 1}).encode(), testing=True)


@given(st.data(), st.sampled_from(sorted(TESTING)))
def test_a_node_that_was_not_started_for_tests_knows_nothing_of_faults(
    data: st.DataObject, op: str
) -> None:
    body = data.draw(good(variants("/v1/admin")[op]))
    with pytest.raises(BadRequest, match=r"^op must be one of add_member, [^:]*, snapshot$"):
        parse_admin(json.dumps(body).encode())


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"[]", b"{}", b"[" * 100_000, b'{"op":["snapshot"]}', b'{"op":"elect"}'),
        *(
            json.dumps({"op": "add_member", "name": name, "peer": peer, "client": "h:1"}).encode()
            for name, peer in [
                ("", "h:1"),
                ("n" * 65, "h:1"),
                ("n\n4", "h:1"),
                ("n4", "h"),
                ("n4", "h:0"),
                ("n4", "h:65536"),
                ("n4", ":1"),
                ("n4", "h:\u0663"),
            ]
        ),
    ],
)
def test_wrong_requests_of_an_operator_are_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        parse_admin(body)


def test_the_description_and_the_tables_name_the_same_things() -> None:
    fields = {**FIELDS, **TESTING}
    assert set(fields) == set(variants("/v1/admin"))
    for op, schema in variants("/v1/admin").items():
        assert set(schema["required"]) == {"op", *fields[op]}
        testing = schema.get("description", "").startswith("With --testing-faults only")
        assert testing == (op in TESTING)
    drop = variants("/v1/admin")["drop_messages"]["properties"]
    assert drop["classes"]["items"]["enum"] == list(CLASSES)
    assert drop["for_ms"]["maximum"] == FOR_MS_MAX
    described = {code for path in POSTS for code in codes_of(path)}
    assert described | {"not-found"} == set(FAILURES)
    for path in POSTS:
        for status, response in DOCUMENT["paths"][path]["post"]["responses"].items():
            for code in response.get("x-codes", []):
                assert FAILURES[code].http_status == int(status)
    assert {code for code, row in FAILURES.items() if row.has_value} == {
        "precondition-failed",
        "held",
    }
    shapes = getattr(node.operations, "SHAPES", None)
    if shapes is not None:
        for op, schema in OPERATIONS.items():
            assert set(schema["required"]) == {"op", *shapes[op].fields}
            assert set(schema["properties"]) == {"op", *shapes[op].fields, *shapes[op].optional}
        assert {op for op, shape in shapes.items() if not shape.internal} == set(OPERATIONS)


def test_every_reference_of_the_description_leads_somewhere() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    text = json.dumps(DOCUMENT)
    used = {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert used == set(schemas)
    assert DOCUMENT["openapi"].startswith("3.1")


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/status", {"name": "n1", "role": "follower"}),
        ("/v1/members", {"voters": ["n1"]}),
        ("/openapi.json", DOCUMENT),
    ],
)
def test_documents(path: str, answer: Any) -> None:
    assert ask("GET", path) == (200, answer)
    status, refused = ask("POST", path, b"{}")
    assert (status, refused["error"]["code"]) == (404, "not-found")


def ask(method: str, path: str, body: bytes = b"", headers: str = "") -> tuple[int, Any]:
    async def main() -> tuple[int, Any]:
        client = Lab().connect()
        answer: tuple[int, Any] = client.ask(method, path, body, headers)
        client.end()
        return answer

    return run(main)


def test_metrics_are_text() -> None:
    async def main() -> None:
        client = Lab().connect()
        client.say(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        head, _, body = client.raw().partition(b"\r\n\r\n")
        assert b"Content-Type: text/plain; version=0.0.4" in head
        assert body == b"# nothing\n"
        client.end()

    run(main)


def test_administration_can_need_a_token() -> None:
    async def main() -> None:
        lab = Lab(token="let me in")
        client = lab.connect()
        for headers in ("", "Authorization: Bearer wrong\r\n", "Authorization: let me in\r\n"):
            status, answer = client.ask("POST", "/v1/admin", b'{"op":"snapshot"}', headers)
            check_documented("/v1/admin", status, answer)
            assert (status, answer["error"]["code"]) == (403, "not-authorised")
        assert lab.admin == []
        right = "Authorization: Bearer let me in\r\n"
        assert client.ask("POST", "/v1/admin", b'{"op":"snapshot"}', right)[0] == 200
        assert lab.admin == [AdminRequest("snapshot")]
        assert client.ask("GET", "/status")[0] == 200
        assert client.ask("POST", "/v1/kv", b'{"op":"read","key":"k"}')[0] == 200
        client.end()

    run(main)


def test_a_success_says_where_and_what() -> None:
    async def main() -> None:
        lab = Lab()
        client = lab.connect()
        for node_name in ("n1", 'n"2'):
            lab.answer = lambda node_name=node_name: Answer("", '{"a":[1,1.0]}', 12, 5, node_name)  # type: ignore[misc]
            status, answer = client.ask("POST", "/v1/kv", b'{"op":"read","key":"k"}')
            assert status == 200
            assert answer == {
                "ok": True,
                "value": {"a": [1, 1.0]},
                "index": 12,
                "term": 5,
                "node": node_name,
            }
        client.end()

    run(main)
