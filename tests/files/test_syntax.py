"""What is read, what is refused, and where it is said to stand."""

from __future__ import annotations

import json
from copy import deepcopy

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from xserve.files.guard import MAX_BYTES, MAX_DEPTH, MAX_NODES
from xserve.files.syntax import SyntaxFault, parse

QUICK = settings(max_examples=60, deadline=None)

GOOD = {
    "json": (b'{"a": [1, {"b": null}], "c": "x"}', {"a": [1, {"b": None}], "c": "x"}),
    "yaml": (b"a:\n  - 1\n  - b: null\nc: x\n", {"a": [1, {"b": None}], "c": "x"}),
    "yaml in flow style": (b"{a: [1, {b: ~}], c: x}", {"a": [1, {"b": None}], "c": "x"}),
    "json with a trailing comma, which is yaml": (b'{"a": 1,}', {"a": 1}),
    "json after blank lines": (b'\n\n {"a": 1}\n', {"a": 1}),
    "an end mark": (b"a: 1\n...\n", {"a": 1}),
    "a start mark": (b"---\na: 1\n", {"a": 1}),
    "a pair of surrogates": (b'{"a": "\\ud83d\\ude00"}', {"a": "\U0001f600"}),
    "an escaped backslash before u": (b'{"a": "\\\\ud800"}', {"a": "\\ud800"}),
    "a merge": (b"d: &d {x: 1, y: 2}\ne: {<<: *d, y: 3}\n", {"d": {"x": 1, "y": 2}, "e": {"x": 1, "y": 3}}),
    "a merge of several": (
        b"a: &a {x: 1}\nb: &b {x: 2, y: 2}\nc: {<<: [*a, *b]}\n",
        {"a": {"x": 1}, "b": {"x": 2, "y": 2}, "c": {"x": 1, "y": 2}},
    ),
    "a quoted merge key is a key": (b'{"<<": 1}', {"<<": 1}),
    "a quoted merge key is a key in yaml": (b"'<<': 1\n", {"<<": 1}),
    "an alias": (b"a: &x [1]\nb: *x\n", {"a": [1], "b": [1]}),
    "an alias as a key": (b"a: &x k\n*x : 1\n", {"a": "k", "k": 1}),
    "tags of the core schema": (b"a: !!str 5\nb: !!int '5'\nc: !!float 1\n", {"a": "5", "b": 5, "c": 1}),
    "a tag for text": (b"a: ! 5\n", {"a": "5"}),
    "multi-byte text": ("名: 模型\n".encode(), {"名": "模型"}),
}


@pytest.mark.parametrize(("raw", "data"), GOOD.values(), ids=GOOD)
def test_good_documents_are_read(raw, data):
    assert parse(raw).data == data


WORDS = ["no", "yes", "on", "off", "y", "0_5", "1_8", "1:30", "2024-01-01", "1,000", "0b11", "+-1", "1e", "."]


@pytest.mark.parametrize("word", WORDS)
def test_what_yaml_1_1_would_turn_into_something_else_stays_text(word):
    assert parse(f"a: {word}".encode()).data == {"a": word}


VALUES = {
    "true": True, "True": True, "FALSE": False, "null": None, "~": None, "": None, "7": 7, "-7": -7, "+7": 7,
    "0777": 777, "0o17": 15, "0x1F": 31, "0.5": 0.5, ".5": 0.5, "1.": 1.0, "1e3": 1000.0, "-1.5E-2": -0.015,
}  # fmt: skip


@pytest.mark.parametrize(("text", "value"), VALUES.items())
def test_scalars_follow_the_core_schema_of_yaml_1_2(text, value):
    found = parse(f"a: {text}".encode()).data["a"]

    assert found == value
    assert isinstance(found, bool) is isinstance(value, bool)


@pytest.mark.parametrize("text", ["0777", "0x1F", "7", "0.50", "1e3", "0123456"])
def test_numbers_keep_their_text(text):
    number = parse(f"a: {text}".encode()).data["a"]

    assert number.source == text
    assert deepcopy(number).source == text


def test_numbers_of_json_keep_their_text_and_are_written_as_numbers():
    data = parse(b'{"a": 0.50, "b": 7}').data

    assert (data["a"].source, data["b"].source) == ("0.50", "7")
    assert json.dumps(data) == '{"a": 0.5, "b": 7}'


BAD = {
    "empty": (b"", (0, 0), "empty"),
    "only comments": (b"# x\n", (0, 0), "only comments"),
    "only null": (b"---\n~\n", (2, 1), "nothing but null"),
    "byte order mark": (b"\xef\xbb\xbfa: 1", (1, 1), "byte order mark"),
    "utf-16 little": ("a: 1".encode("utf-16"), (1, 1), "UTF-16"),
    "utf-16 big": (b"\xfe\xff\0a", (1, 1), "UTF-16"),
    "latin-1": ("x: 1\na: \xe9".encode("latin-1"), (2, 4), "0xE9 is not UTF-8"),
    "nul": (b"a: 1\nb\0", (2, 2), "control character (code 0)"),
    "escape": (b"a: \x1b[0m", (1, 4), "code 27"),
    "delete character in yaml": (b"b: 1\na: \x7f", (2, 4), "control characters are not allowed"),
    "two documents": (b"a: 1\n---\nb: 1\n", (2, 1), "second document"),
    "duplicate key, yaml": (b"a: 1\nb: 2\na: 3\n", (3, 1), '"a" is given twice'),
    "duplicate key, yaml, quoted": (b"{a: 1, 'a': 2}", (1, 8), '"a" is given twice'),
    "duplicate key, json": (b'{"x": {"a": 1,\n "a": 2}}', (2, 2), '"a" is given twice'),
    "duplicate key, json, escaped": (b'{"a": 1, "\\u0061": 2}', (1, 10), '"a" is given twice'),
    "duplicate merge key": (b"<<: {a: 1}\n<<: {b: 1}\n", (2, 1), '"<<" is given twice'),
    "merge of a scalar": (b"<<: 1\n", (1, 5), "Only mappings"),
    "merge of a list of scalars": (b"<<: [1]\n", (1, 5), "Only mappings"),
    "number as a key": (b"a:\n  404: x\n", (2, 3), 'write "404" in quotes'),
    "truth as a key": (b"true: x\n", (1, 1), 'write "true" in quotes'),
    "list as a key": (b"? [a]\n: x\n", (1, 3), "A key must be text"),
    "alias of a list as a key": (b"a: &x [1]\n*x : 1\n", (2, 1), "A key must be text"),
    "NaN": (b'{"a": NaN}', (1, 7), "NaN is not a finite number"),
    "-Infinity": (b'{"a":\n -Infinity}', (2, 2), "-Infinity is not a finite number"),
    ".nan": (b"a: .nan", (1, 4), "not a finite number"),
    "-.inf": (b"a: -.inf", (1, 4), "not a finite number"),
    "overflow, json": (b'{"a": 1e999}', (1, 7), "too large"),
    "overflow, yaml": (b"a: 1e999", (1, 4), "too large"),
    "a number of 5000 digits, json": (b'{"a": %s}' % (b"1" * 5000), (1, 7), "at most 128 characters"),
    "a number of 5000 digits, yaml": (b"a: %s" % (b"1" * 5000), (1, 4), "at most 128 characters"),
    "half a surrogate pair": (b'{"a": 1, "b": "\\uD800"}', (1, 15), "half of a surrogate pair"),
    "half a surrogate pair in a key": (b'{"\\udc00": 1}', (1, 2), "half of a surrogate pair"),
    "unknown alias": (b"a: *x\n", (1, 4), "&x"),
    "an alias in itself": (b"a: &x\n  - *x\n", (2, 5), "inside what it repeats"),
    "an object of python": (b"a: !!python/object:os.system x", (1, 4), "!!python/object:os.system is not taken"),
    "a foreign tag on a mapping": (b"a: !x {b: 1}", (1, 4), "!x is not taken"),
    "a tag that does not fit": (b"a: !!int x", (1, 4), "!!int is not taken"),
    "a tab": (b"a:\n\t- b\n", (2, 1), "tab"),
    "yaml that is none": ("é: 'ü' x\n".encode(), (1, 8), "not YAML"),
    "json that is none": (b'{"a": 1\n "b": 2}', (2, 2), "not JSON: expecting ',' delimiter"),
    "truncated json": (b'{"a": [1, 2', (1, 12), "not JSON"),
    "truncated flow yaml": (b"{a: [1, 2", (1, 10), "not YAML"),
    "json after json": (b'{"a": 1}\n{"a": 2}', (2, 1), "not JSON: extra data"),
    "deep json": (b"[" * 65 + b"]" * 65, (1, 65), "deeper than 64"),
    "deep yaml": (b"- " * 65 + b"x", (1, 129), "deeper than 64"),
    "deep through aliases": (
        b"a: &a %s1%s\nb: %s*a%s\n" % (b"[" * 40, b"]" * 40, b"[" * 30, b"]" * 30), (2, 34), "deeper than 64",
    ),
    "wide json": (b"[%s1]" % (b"1," * MAX_NODES), (1, 2 * MAX_NODES), "more than 20000"),
    "wide yaml": (b"- 1\n" * (MAX_NODES + 1), (MAX_NODES, 3), "more than 20000"),
    "too many bytes": (b"#" * (MAX_BYTES + 1), (0, 0), "at most 1048576 are read"),
}  # fmt: skip


@pytest.mark.parametrize(("raw", "place", "words"), BAD.values(), ids=BAD)
def test_bad_documents_are_refused_at_their_place(raw, place, words):
    with pytest.raises(SyntaxFault) as refused:
        parse(raw)

    assert words in refused.value.message
    assert (refused.value.line, refused.value.column) == place


@pytest.mark.parametrize("raw", [b"[" * 64 + b"]" * 64, b"- " * 64 + b"x"], ids=["json", "yaml"])
def test_the_deepest_document_is_read(raw):
    found = parse(raw).data
    for _ in range(MAX_DEPTH - 1):
        found = found[0]
    assert found in ([], ["x"])


@pytest.mark.parametrize(
    "raw", [b"[%s1]" % (b"1," * (MAX_NODES - 2)), b"- 1\n" * (MAX_NODES - 1)], ids=["json", "yaml"]
)
def test_the_widest_document_is_read(raw):
    assert len(parse(raw).data) == MAX_NODES - 1


def _laughs(merge: bool) -> bytes:
    lines = ["l0: &l0 {a: 1, b: 2}" if merge else "l0: &l0 [ha, ha]"]
    for level in range(1, 30):
        again = ", ".join([f"*l{level - 1}"] * 9)
        lines.append(f"l{level}: &l{level} {{<<: [{again}]}}" if merge else f"l{level}: &l{level} [{again}]")
    return "\n".join(lines).encode()


@pytest.mark.parametrize("merge", [False, True], ids=["aliases", "merges"])
def test_a_bomb_is_refused_at_the_line_that_lights_it(merge):
    with pytest.raises(SyntaxFault, match="more than 20000 values") as refused:
        parse(_laughs(merge))

    assert refused.value.line in (5, 6)


DOCUMENT = {
    "json": b'{\n  "models": {\n    "chat": {"gpus": [0, 1]}\n  }\n}\n',
    "yaml": b"models:\n  chat:\n    gpus:\n    - 0\n    - 1\n",
}


@pytest.mark.parametrize(
    ("language", "path", "value", "key"),
    [
        ("json", (), (1, 1), (1, 1)),
        ("json", ("models", "chat", "gpus"), (3, 22), (3, 14)),
        ("json", ("models", "chat", "gpus", 1), (3, 26), (3, 26)),
        ("json", ("models", "chat", "none"), (3, 13), (3, 5)),
        ("json", ("models", "chat", "gpus", 7), (3, 22), (3, 14)),
        ("yaml", ("models", "chat", "gpus"), (4, 5), (3, 5)),
        ("yaml", ("models", "chat", "gpus", 1), (5, 7), (5, 7)),
        ("yaml", ("nothing", "of", "it"), (1, 1), (1, 1)),
    ],
)
def test_values_and_keys_are_found_or_else_their_nearest_parent(language, path, value, key):
    positions = parse(DOCUMENT[language]).positions

    assert (positions.at(path), positions.key_at(path)) == (value, key)


def test_a_merged_key_is_found_where_it_was_written():
    positions = parse(b"d: &d\n  x: 1\ne:\n  <<: *d\n").positions

    assert positions.key_at(("e", "x")) == (2, 3)


@pytest.mark.parametrize(
    ("raw", "closed"),
    [(b'{"a": 1}', True), (b"{a: 1}", True), (b"a: 1\n", False), (b"a: 1\n...\n", True), (b"- {a: 1}\n", False)],
)
def test_a_document_knows_whether_it_can_be_the_front_of_a_longer_one(raw, closed):
    assert parse(raw).closed is closed


@QUICK
@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_read_or_refused_with_a_sentence(raw):
    _parse_or_refuse(raw)


@QUICK
@given(st.text(alphabet="{}[]:,&*!|>-?'\"%@`#<\\u \n\t01.eax~", max_size=120))
def test_arbitrary_punctuation_is_read_or_refused_with_a_sentence(text):
    _parse_or_refuse(text.encode())


def _parse_or_refuse(raw: bytes) -> None:
    sentence = _refusal(raw)

    assert sentence is None or sentence.endswith(".")
    assert "cannot be read (" not in (sentence or "")


def _refusal(raw: bytes) -> str | None:
    try:
        parse(raw)
    except SyntaxFault as fault:
        return fault.message
    return None


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=10,
)


@QUICK
@given(st.dictionaries(st.text(max_size=6), PLAIN, min_size=1))
def test_what_json_writes_is_read_back(data):
    assert parse(json.dumps(data).encode()).data == data


@QUICK
@given(st.dictionaries(st.text(max_size=6), PLAIN, min_size=1))
def test_what_a_writer_of_yaml_quotes_is_read_back(data):
    text = yaml.safe_dump(data, default_style='"', allow_unicode=True)

    assert parse(text.encode()).data == data


@QUICK
@given(st.dictionaries(st.text("abc", min_size=1), PLAIN, min_size=1), st.data())
def test_no_front_part_of_closed_json_is_read(data, cut):
    text = json.dumps(data)
    end = cut.draw(st.integers(0, len(text) - 1))

    with pytest.raises(SyntaxFault):
        parse(text[:end].encode())


HARD = {
    "brackets": b"[" * MAX_BYTES,
    "braces": b'{"a":' * (MAX_BYTES // 5),
    "dashes": b"- " * (MAX_BYTES // 2),
    "one long line": b"a: " + b"x" * (MAX_BYTES - 3),
    "backslashes": b'{"' + b"\\\\" * (MAX_BYTES // 2 - 4),
    "numbers": b"[" + b"1," * (MAX_BYTES // 2 - 2) + b"1]",
    "anchors": b"&a " * (MAX_BYTES // 3),
    "questions": b"? " * (MAX_BYTES // 2),
    "line ends": b"\n" * MAX_BYTES,
    "quotes": b'"' * MAX_BYTES,
}


@pytest.mark.parametrize("raw", HARD.values(), ids=HARD)
def test_the_largest_of_nasty_files_is_dealt_with(raw):
    """Whatever is wrong with it is said in a sentence of ours, within the time limit of a test."""
    assert "cannot be read (" not in (_refusal(raw) or "")
