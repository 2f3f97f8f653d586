"""What is counted is what is shown, in text that can be read back."""

import re
from math import inf, isnan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.metrics import SERIES_MAX, Registry

SAMPLE = re.compile(r'([a-zA-Z_:][\w:]*)(?:\{((?:\w+="(?:[^"\\\n]|\\.)*",?)*)\})? (\S+)', re.ASCII)
LABEL = re.compile(r'(\w+)="((?:[^"\\\n]|\\.)*)"', re.ASCII)
Key = tuple[str, tuple[tuple[str, str], ...]]


def read_back(text: str) -> tuple[dict[str, str], dict[str, str], dict[Key, float]]:
    """Types, help and samples of an exposition: a slow reader of the format, written apart."""
    types: dict[str, str] = {}
    helps: dict[str, str] = {}
    samples: dict[Key, float] = {}
    assert text == "" or text.endswith("\n")
    for line in text.split("\n")[:-1]:
        if line.startswith("# HELP "):
            name, _, rest = line[7:].partition(" ")
            helps[name] = rest
        elif line.startswith("# TYPE "):
            name, kind = line[7:].split(" ")
            assert name not in types, "the samples of a metric stand together"
            types[name] = kind
        else:
            found = SAMPLE.fullmatch(line)
            assert found is not None, line
            name, inside, value = found.groups()
            labels = tuple(
                (label, re.sub(r"\\(.)", lambda part: {"n": "\n"}.get(part[1], part[1]), quoted))
                for label, quoted in LABEL.findall(inside or "")
            )
            family = re.sub(r"_(bucket|sum|count)$", "", name)
            assert name in types or types[family] == "histogram", line
            assert (name, labels) not in samples
            samples[name, labels] = float(value)
    return types, helps, samples


def test_every_kind_is_shown() -> None:
    registry = Registry()
    writes = registry.counter("writes_total", "Writes.\nAll of \\them.")
    term = registry.gauge("term", "The term.")
    by_op = registry.counters("requests_total", "Requests.", "op", "code")
    registry.read_gauge("queue", "Waiting.", lambda: 7)
    registry.read_counter("frames_total", "Frames.", lambda: 8)
    writes.inc()
    writes.inc(2)
    term.set(-1.5)
    by_op.labels("read", "200").inc()
    by_op.labels("read", "200").inc()
    by_op.labels("cas", "412").inc()
    types, helps, samples = read_back(registry.render())
    assert types == {
        "writes_total": "counter",
        "term": "gauge",
        "requests_total": "counter",
        "queue": "gauge",
        "frames_total": "counter",
    }
    assert helps["writes_total"] == "Writes.\\nAll of \\\\them."
    assert samples == {
        ("writes_total", ()): 3,
        ("term", ()): -1.5,
        ("requests_total", (("op", "cas"), ("code", "412"))): 1,
        ("requests_total", (("op", "read"), ("code", "200"))): 2,
        ("queue", ()): 7,
        ("frames_total", ()): 8,
    }


def test_the_text_is_this() -> None:
    registry = Registry()
    registry.counter("a_total", "One.").inc()
    seconds = registry.histogram("b_seconds", "Two.", bounds=(0.5, 1))
    seconds.observe(0.5)
    seconds.observe(3)
    registry.gauges("c", "Three.", "name").labels('n"1\\\n').set(2)
    assert registry.render() == (
        "# HELP a_total One.\n# TYPE a_total counter\na_total 1\n"
        "# HELP b_seconds Two.\n# TYPE b_seconds histogram\n"
        'b_seconds_bucket{le="0.5"} 1\nb_seconds_bucket{le="1"} 1\nb_seconds_bucket{le="+Inf"} 2\n'
        "b_seconds_sum 3.5\nb_seconds_count 2\n"
        '# HELP c Three.\n# TYPE c gauge\nc{name="n\\"1\\\\\\n"} 2\n'
    )


@given(
    st.lists(st.integers(-100, 100), min_size=1, max_size=6, unique=True).map(sorted),
    st.lists(st.integers(-120, 120)),
)
def test_a_histogram_counts_as_a_slow_one_does(bounds: list[int], values: list[int]) -> None:
    registry = Registry()
    histogram = registry.histograms("h", "", "kind", bounds=bounds).labels("x")
    for value in values:
        histogram.observe(value)
    samples = read_back(registry.render())[2]
    for bound in [*bounds, inf]:
        shown = "+Inf" if bound == inf else str(bound)
        expected = sum(value <= bound for value in values)
        assert samples["h_bucket", (("kind", "x"), ("le", shown))] == expected
    assert samples["h_count", (("kind", "x"),)] == len(values)
    assert samples["h_sum", (("kind", "x"),)] == sum(values)


@given(st.lists(st.tuples(st.text(), st.text()), max_size=8), st.floats())
def test_any_label_and_any_number_can_be_read_back(
    labels: list[tuple[str, str]], number: float
) -> None:
    registry = Registry()
    gauges = registry.gauges("g", "", "one", "two")
    for values in labels:
        gauges.labels(*values).set(number)
    samples = read_back(registry.render())[2]
    assert set(samples) == {("g", (("one", one), ("two", two))) for one, two in labels}
    for value in samples.values():
        assert value == number or (isnan(value) and isnan(number))


def test_labels_from_outside_do_not_fill_memory() -> None:
    registry = Registry()
    counters = registry.counters("c_total", "", "name")
    for number in range(SERIES_MAX * 3):
        counters.labels(f"n{number}").inc()
    samples = read_back(registry.render())[2]
    assert len(samples) == SERIES_MAX + 1
    assert samples["c_total", (("name", "other"),)] == SERIES_MAX * 2
    assert sum(samples.values()) == SERIES_MAX * 3


def test_names_and_bounds_are_checked() -> None:
    registry = Registry()
    registry.gauge("taken", "")
    for name in ("taken", "", "1a", "a-b", "a b", "\u00e4", "a\n"):
        with pytest.raises(ValueError, match="name"):
            registry.gauge(name, "")
    with pytest.raises(ValueError, match="_total"):
        registry.counter("writes", "")
    for labels in ((), ("a", "a"), ("le",), ("__x",), ("a-b",)):
        with pytest.raises(ValueError, match="label"):
            registry.gauges("g", "", *labels)
    for bounds in ((), (1, 1), (2, 1), (1, inf)):
        with pytest.raises(ValueError, match="rise"):
            registry.histogram("h", "", bounds)
    assert Registry().render() == ""
