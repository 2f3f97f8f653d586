"""One spec behind TOML, command line and Python."""

import shlex
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.spec import FAULTS, Spec, from_values, read_toml

specs = st.builds(
    Spec,
    nemesis=st.sets(st.sampled_from(FAULTS)).map(
        lambda chosen: tuple(fault for fault in FAULTS if fault in chosen)
    ),
    nodes=st.integers(4, 7),
    concurrency=st.integers(7, 50),
    rate=st.floats(1, 1000),
    time_limit=st.floats(1, 1000),
    seed=st.integers(0, 2**62),
    store=st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1),
    mutant=st.sampled_from(["", "reads-skip-read-index"]),
)


@given(spec=specs)
def test_toml_round_trip(spec: Spec, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("spec") / "spec.toml"
    path.write_text(spec.to_toml(), encoding="utf-8")
    assert from_values(read_toml(path)) == spec


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"workload": "regster"}, "workload is 'regster', but must be one of: register"),
        ({"nemesis": "partition,fire"}, "nemesis is 'fire', but must be one of: partition"),
        ({"nodes": 0}, "nodes is 0, but must be from 1 to 31"),
        ({"nodes": "many"}, "nodes is 'many', but must be a whole number"),
        ({"nodes": 2.5}, "nodes is 2.5, but must be a whole number"),
        ({"rate": "fast"}, "rate is 'fast', but must be a number"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": True}, "seed is True"),
        ({"colour": "red"}, "unknown option 'colour'; known are: system, workload"),
        ({"nodes": 5, "concurrency": 3}, "concurrency is 3, but must be at least nodes"),
        (
            {"nemesis": "member", "nodes": 3},
            "nodes is 3, but the nemesis 'member' needs at least 4",
        ),
        ({"nemesis": 4}, "nemesis is 4, but must be a list of names"),
        ({"nemesis": "all,kill"}, "nemesis is 'all,kill', but 'all' stands alone"),
        ({"workload": "all"}, "workload is 'all', but must be one of: register"),
        ({"rate": float("nan")}, "rate is nan"),
    ],
)
def test_every_bad_value_is_named(values: dict[str, object], expected: str) -> None:
    with pytest.raises(UsageError, match=expected.replace("(", r"\(")):
        from_values(values)


@pytest.mark.parametrize(
    "values", [{"nodes": "many"}, {"seed": 1.5}, {"store": 5}, {"nemesis": "fire"}, {"rate": None}]
)
def test_python_is_checked_as_well(values: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Spec(**values)


def test_text_is_converted_however_it_comes_in() -> None:
    values: dict[str, Any] = {"nemesis": "kill", "nodes": "3", "rate": 10}
    spec = Spec(**values)
    assert (spec.nemesis, spec.nodes, spec.rate) == (("kill",), 3, 10.0)


def test_faults_are_in_one_order_however_they_are_typed() -> None:
    assert from_values({"nemesis": "clock, kill"}) == from_values({"nemesis": ["kill", "clock"]})
    assert from_values({"nemesis": "none"}).nemesis == ()


def test_the_line_that_repeats_a_run_says_everything_that_is_not_standard() -> None:
    spec = Spec(nemesis=("kill",), seed=7, rate=12.5, mutant="m")
    words = shlex.split(spec.repeat_line())
    assert words[:2] == ["splitbrain", "test"]
    pairs = dict(zip(words[2::2], words[3::2], strict=True))
    assert pairs["--seed"] == "7"
    assert pairs["--nemesis"] == "kill"
    assert pairs["--rate"] == "12.5"
    assert pairs["--mutant"] == "m"
    assert "--keys" not in pairs
    named = {name.removeprefix("--").replace("-", "_"): value for name, value in pairs.items()}
    assert from_values(named) == spec


def test_a_spec_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"missing\.toml: cannot be read"):
        read_toml(tmp_path / "missing.toml")
    (tmp_path / "bad.toml").write_text("nodes = = 3\n")
    with pytest.raises(UsageError, match=r"bad.toml: not TOML .*line 1"):
        read_toml(tmp_path / "bad.toml")


@pytest.mark.parametrize(
    ("workload", "name"),
    [
        ("register", "register"),
        ("mine.py", "mine"),
        ("/home/u/.pyenv/w/mine.py", "mine"),
        ("a.pyx/b.py:OTHER", "b"),
    ],
)
def test_a_run_is_called_after_its_workload_or_the_file_of_it(workload: str, name: str) -> None:
    assert Spec(workload=workload).name == name
