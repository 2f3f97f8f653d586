"""What a node counts and measures, in the text format of Prometheus (version 0.0.4).

Rules of this file:
- Pure: whoever measures calls `inc`, `set`, `observe`; nothing is measured in here.
- Names are checked when a metric is made, so that what is rendered can always be read. A metric is
  made once; a second one of its name is a mistake.
- The number of label values of a metric has a limit: what comes from outside must not fill memory.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import pairwise
from math import inf, isnan
from typing import Generic, TypeVar

SERIES_MAX = 256

LATENCY_BUCKETS_S = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
)  # fmt: skip
"""For times that a client or a disk makes one wait."""

SIZE_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
"""For how many entries go into a batch."""

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*", re.ASCII)
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)

Labels = tuple[tuple[str, str], ...]


def _number(value: float) -> str:
    if isinstance(value, int):
        return str(int(value))  # True is one
    if isnan(value):
        return "NaN"
    if value in (inf, -inf):
        return "+Inf" if value > 0 else "-Inf"
    return repr(value)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _sample(name: str, labels: Labels, value: float) -> str:
    if not labels:
        return f"{name} {_number(value)}\n"
    inside = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels)
    return f"{name}{{{inside}}} {_number(value)}\n"


class Counter:
    """Only grows, until the process ends."""

    __slots__ = ("value",)
    kind = "counter"

    def __init__(self) -> None:
        self.value: float = 0

    def inc(self, amount: float = 1) -> None:
        """Count."""
        assert amount >= 0
        self.value += amount

    def render(self, name: str, labels: Labels) -> str:
        """Its one sample."""
        return _sample(name, labels, self.value)


class Gauge:
    """Goes up and down."""

    __slots__ = ("value",)
    kind = "gauge"

    def __init__(self) -> None:
        self.value: float = 0

    def set(self, value: float) -> None:
        """What it is now."""
        self.value = value

    def render(self, name: str, labels: Labels) -> str:
        """Its one sample."""
        return _sample(name, labels, self.value)


class Histogram:
    """How many observations were at most so large, for each of some bounds."""

    __slots__ = ("_bounds", "_counts", "_sum")
    kind = "histogram"

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum: float = 0

    def observe(self, value: float) -> None:
        """Note one."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def render(self, name: str, labels: Labels) -> str:
        """A sample for each bucket, their sum and their number."""
        lines: list[str] = []
        seen = 0
        for bound, count in zip((*self._bounds, inf), self._counts, strict=True):
            seen += count
            lines.append(_sample(f"{name}_bucket", (*labels, ("le", _number(bound))), seen))
        lines.append(_sample(f"{name}_sum", labels, self._sum))
        lines.append(_sample(f"{name}_count", labels, seen))
        return "".join(lines)


Series = TypeVar("Series", bound=Counter | Gauge | Histogram)


class Family(Generic[Series]):
    """A metric with labels: one series for each combination of their values."""

    __slots__ = ("_labels", "_make", "_series")

    def __init__(self, labels: tuple[str, ...], make: Callable[[], Series]) -> None:
        self._labels = labels
        self._make = make
        self._series: dict[tuple[str, ...], Series] = {}

    def labels(self, *values: str) -> Series:
        """The series of these values, one for each label. Past the limit all are "other"."""
        series = self._series.get(values)
        if series is None:
            assert len(values) == len(self._labels), f"labels are {self._labels}"
            if len(self._series) >= SERIES_MAX:
                values = ("other",) * len(values)
            series = self._series.setdefault(values, self._make())
        return series

    def render(self, name: str, labels: Labels) -> str:
        """The samples of every series, in order."""
        assert not labels
        return "".join(
            series.render(name, tuple(zip(self._labels, values, strict=True)))
            for values, series in sorted(self._series.items())
        )


class _Read:
    """A value that is asked for when it is rendered."""

    __slots__ = ("_read",)

    def __init__(self, read: Callable[[], float]) -> None:
        self._read = read

    def render(self, name: str, labels: Labels) -> str:
        return _sample(name, labels, self._read())


_Metric = Counter | Gauge | Histogram | Family[Counter] | Family[Gauge] | Family[Histogram] | _Read


class Registry:
    """All metrics of a node."""

    def __init__(self) -> None:
        self._metrics: dict[str, tuple[str, str, _Metric]] = {}

    def counter(self, name: str, text: str) -> Counter:
        """A new counter; by convention its name ends in _total."""
        return self._add(name, "counter", text, Counter())

    def gauge(self, name: str, text: str) -> Gauge:
        """A new gauge."""
        return self._add(name, "gauge", text, Gauge())

    def histogram(
        self, name: str, text: str, bounds: Sequence[float] = LATENCY_BUCKETS_S
    ) -> Histogram:
        """A new histogram with these upper bounds, which must rise."""
        return self._add(name, "histogram", text, Histogram(_checked(bounds)))

    def counters(self, name: str, text: str, *labels: str) -> Family[Counter]:
        """Counters told apart by labels."""
        return self._add(name, "counter", text, Family(_names(labels), Counter))

    def gauges(self, name: str, text: str, *labels: str) -> Family[Gauge]:
        """Gauges told apart by labels."""
        return self._add(name, "gauge", text, Family(_names(labels), Gauge))

    def histograms(
        self, name: str, text: str, *labels: str, bounds: Sequence[float] = LATENCY_BUCKETS_S
    ) -> Family[Histogram]:
        """Histograms told apart by labels."""
        kept = _checked(bounds)
        return self._add(name, "histogram", text, Family(_names(labels), lambda: Histogram(kept)))

    def read_counter(self, name: str, text: str, read: Callable[[], float]) -> None:
        """A counter that somebody keeps already: it is asked for when metrics are."""
        self._add(name, "counter", text, _Read(read))

    def read_gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """A gauge that is asked for when metrics are."""
        self._add(name, "gauge", text, _Read(read))

    def render(self) -> str:
        """The text that GET /metrics answers."""
        parts: list[str] = []
        for name, (kind, text, metric) in self._metrics.items():
            help_text = text.replace("\\", "\\\\").replace("\n", "\\n")
            parts.append(f"# HELP {name} {help_text}\n# TYPE {name} {kind}\n")
            parts.append(metric.render(name, ()))
        return "".join(parts)

    def _add(self, name: str, kind: str, text: str, metric: "_M") -> "_M":
        if not _NAME.fullmatch(name):
            raise ValueError(f"no name of a metric: {name!r}")
        if kind == "counter" and not name.endswith("_total"):
            raise ValueError(f"the name of a counter ends in _total: {name!r}")
        if name in self._metrics:
            raise ValueError(f"there is a metric of this name already: {name!r}")
        self._metrics[name] = (kind, text, metric)
        return metric


_M = TypeVar("_M", bound=_Metric)


def _names(labels: tuple[str, ...]) -> tuple[str, ...]:
    for label in labels:
        if not _LABEL.fullmatch(label) or label.startswith("__") or label == "le":
            raise ValueError(f"no name of a label: {label!r}")
    if not labels or len(set(labels)) != len(labels):
        raise ValueError(f"labels must be given, and differ: {labels}")
    return labels


def _checked(bounds: Sequence[float]) -> tuple[float, ...]:
    kept = tuple(bounds)
    rising = all(low < high for low, high in pairwise(kept))
    if not kept or not rising or kept[-1] == inf:
        raise ValueError(f"bounds must rise and be finite: {kept}")
    return kept
