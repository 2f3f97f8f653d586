"""What many runs say together: how a test went over time, where it flakes, which version broke it.

Rules of this file:
- Runs belong together if workload, nemesis and system are the same; of those, runs of the same
  spec and version are repetitions, which differ by seed alone.
- Only what was judged counts as good (pass) or bad (violation). A vacuous or failed run says
  nothing about a version.
- Pure: `RunSummary` in, plain values out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from . import words
from .lines import from_zero, trace
from .runs import UNFINISHED, UNREADABLE, RunSummary

GROUPS_MAX: Final = 100
RUNS_DRAWN_MAX: Final = 80
STEP_PX: Final = 9
PLOT_PX: Final = 34
# A bar says its outcome by its height, too: colours alone say it only to some.
_BARS_PX: Final = {"pass": 10, "violation": 24}
_BAR_PX_OTHER: Final = 17


@dataclass(frozen=True, slots=True, kw_only=True)
class Break:
    """A version that broke a test. `last_good` is empty if none was good before it, `fixed_in` if
    none was good since; `first_run` is the path of the first run that found it."""

    last_good: str
    first_bad: str
    first_run: str
    fixed_in: str


def groups(runs: Sequence[RunSummary]) -> list[dict[str, Any]]:
    """The trends of each (workload, nemesis, system), that with the newest run first."""
    together: dict[tuple[str, str, str], list[RunSummary]] = {}
    for run in sorted(runs, key=_age):
        if run.test:
            together.setdefault((run.workload, run.nemesis, run.system), []).append(run)
    newest_first = sorted(together.items(), key=lambda pair: _age(pair[1][-1]), reverse=True)
    return [_group(key, own) for key, own in newest_first[:GROUPS_MAX]]


def _age(run: RunSummary) -> tuple[float, str]:
    return (run.started_s or 0.0, run.path)


def _group(key: tuple[str, str, str], runs: list[RunSummary]) -> dict[str, Any]:
    drawn = runs[-RUNS_DRAWN_MAX:]
    plots = [
        _plot("Acknowledged per second", drawn, lambda run: run.ok_per_s, _per_s),
        _plot("Latency p99", drawn, lambda run: run.p99_ms, words.milliseconds),
        _plot("Time to recover", drawn, lambda run: run.recovery_s, words.duration),
    ]
    workload, nemesis, system = key
    return {
        "workload": workload,
        "nemesis": nemesis,
        "system": system,
        "total": len(runs),
        "drawn": len(drawn),
        "counts": counts(runs),
        "width": STEP_PX * max(len(drawn), 20),
        "bars": [_bar(number, run) for number, run in enumerate(drawn)],
        "plots": [plot for plot in plots if plot["points"]],
        "broken": broken(runs),
    }


def counts(runs: Iterable[RunSummary]) -> str:
    """How often which outcome, the most frequent first: ``10 pass, 2 violation``."""
    seen = Counter(run.outcome for run in runs)
    return ", ".join(f"{words.number(count)} {outcome}" for outcome, count in seen.most_common())


def _bar(number: int, run: RunSummary) -> dict[str, Any]:
    height = _BARS_PX.get(run.outcome, _BAR_PX_OTHER)
    said = f"{run.outcome}, {run.when}, version {run.version or '?'}, seed {run.seed or '?'}"
    return {"x": number * STEP_PX, "height": height, "kind": run.outcome, "said": said}


def _per_s(value: float) -> str:
    return f"{words.rate(value)}/s"


def _plot(
    title: str,
    runs: list[RunSummary],
    pick: Callable[[RunSummary], float | None],
    say: Callable[[float], str],
) -> dict[str, Any]:
    values = [pick(run) for run in runs]
    known = [value for value in values if value is not None]
    drawn = trace(
        values, step_px=STEP_PX, height_px=PLOT_PX, scale=from_zero(max(known, default=0.0))
    )
    for point in drawn["points"]:
        value, run = values[point["number"]], runs[point["number"]]
        point["said"] = f"{say(value or 0.0)}, {run.when}"
    return {
        "title": title,
        "last": say(known[-1]) if known else "",
        "range": f"{say(min(known))} to {say(max(known))}" if known else "",
        **drawn,
    }


def broken(runs: Sequence[RunSummary]) -> Break | None:
    """Find the last version of a group that turned bad; `runs` are the oldest first."""
    found: Break | None = None
    good = ""
    for version, outcomes, first_bad_run in _versions(runs):
        if "violation" in outcomes:
            if found is None or found.fixed_in:
                found = Break(
                    last_good=good, first_bad=version, first_run=first_bad_run, fixed_in=""
                )
        elif "pass" in outcomes:
            good = version
            if found is not None and not found.fixed_in:
                found = Break(
                    last_good=found.last_good,
                    first_bad=found.first_bad,
                    first_run=found.first_run,
                    fixed_in=version,
                )
    return found


def _versions(runs: Sequence[RunSummary]) -> list[tuple[str, set[str], str]]:
    """Each version with the outcomes it had and its first violation, by its first run."""
    outcomes: dict[str, set[str]] = {}
    first_bad: dict[str, str] = {}
    for run in runs:
        outcomes.setdefault(run.version, set()).add(run.outcome)
        if run.outcome == "violation":
            first_bad.setdefault(run.version, run.path)
    return [(version, seen, first_bad.get(version, "")) for version, seen in outcomes.items()]


def flaky(runs: Sequence[RunSummary]) -> list[list[RunSummary]]:
    """Repetitions of one test at one version that did not all end the same way.

    Each is the list of its runs, the newest first. Runs that did not finish have no outcome to
    compare.
    """
    together: dict[str, list[RunSummary]] = {}
    for run in sorted(runs, key=_age, reverse=True):
        if run.test and run.outcome not in (UNFINISHED, UNREADABLE, "interrupted"):
            together.setdefault(run.test, []).append(run)
    return [own for own in together.values() if len({run.outcome for run in own}) > 1]
