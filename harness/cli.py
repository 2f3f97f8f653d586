"""The command: `splitbrain ...`.

Rules of this file:
- It parses, calls, prints and exits; what a command does is elsewhere, and imported when needed,
  so that `splitbrain --help` answers at once.
- Results go to standard output, everything else to standard error. With `--json` standard output
  holds JSON and nothing else.
- Every error that a user can cause ends in one line and an exit code of ARCHITECTURE.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Final, NoReturn, TextIO, cast

from harness.errors import SplitbrainError, UsageError
from harness.outcome import worst
from harness.seed import fresh_seed
from harness.spec import Spec, flag, from_values, read_toml

_PROGRAM: Final = "splitbrain"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    try:
        options = _parser().parse_args(arguments)
        command: Callable[[argparse.Namespace], int] = options.command
        return command(options)
    except SplitbrainError as error:
        _complain(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        _complain("interrupted")
        return 130
    except Exception as error:  # noqa: BLE001  (Python would exit with 1, and 1 is a violation)
        import traceback

        traceback.print_exc()
        _complain(f"internal error: {type(error).__name__}: {error}; please report it")
        return 4


class _Output:
    """Standard output that whoever reads it may close early (``| head``): the exit code, which
    says more than the text, must not change with that."""

    def write(self, text: str) -> int:
        """Write as much as somebody reads."""
        try:
            return sys.stdout.write(text)
        except BrokenPipeError:
            _silence_output()
            return len(text)

    def flush(self) -> None:
        """Hand on what was written."""
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            _silence_output()


def _silence_output() -> None:
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(text: str) -> None:
    output = _Output()
    output.write(text + "\n")
    output.flush()


def _complain(text: str) -> None:
    sys.stderr.write(f"{_PROGRAM}: {text}\n")


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, and exits with our code for bad usage."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (try: {self.prog} --help)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=_PROGRAM,
        description="Finds out whether a replicated store keeps its word when networks split, "
        "machines die and clocks jump.",
        epilog="Exit codes: 0 pass, 1 violation, 2 usage, 3 inconclusive or vacuous, "
        "4 harness failure, 130 interrupted.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_test(commands)
    _add_replay(commands)
    _add_sweep(commands)
    _add_check(commands)
    _add_verify(commands)
    _add_report(commands)
    _add_index(commands)
    _add_serve(commands)
    _add_lab(commands)
    _add_doctor(commands)
    _add_mutants(commands)
    return parser


def _add_test(commands: Any) -> None:
    test = commands.add_parser("test", help="run a test on real hosts")
    test.add_argument("--spec", type=Path, metavar="FILE", help="a TOML file with these options")
    for option in fields(Spec):
        test.add_argument(
            flag(option.name),
            default=None,
            metavar=_metavar(option.metadata, option.default),
            help=_help(option.metadata, option.default, name=option.name),
        )
    _add_output(test, "print outcome.json instead of text", "print the outcome's line only")
    test.set_defaults(command=_test)


def _add_output(command: Any, json_help: str, quiet_help: str) -> None:
    output = command.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help=json_help)
    output.add_argument("--quiet", action="store_true", help=quiet_help)


def _metavar(metadata: Any, default: object) -> str:
    if metadata["choices"] is not None:
        return "NAME" if isinstance(default, str) else "NAMES"
    return {int: "N", float: "N", str: "TEXT"}[type(default)]


def _help(metadata: Any, default: object, *, name: str) -> str:
    text = str(metadata["help"])
    if metadata["choices"] is not None:
        text += f" ({', '.join(metadata['choices'])})"
    if name == "seed":
        return f"{text}; by default a fresh one, which is printed"
    shown = ",".join(default) if isinstance(default, tuple) else default
    return f"{text}; {shown} by default" if shown not in ("", -1) else text


def _test(options: argparse.Namespace) -> int:
    from harness.run import run_all
    from harness.summary import summary

    values = read_toml(options.spec) if options.spec is not None else {}
    typed = {option.name: getattr(options, option.name) for option in fields(Spec)}
    values |= {name: value for name, value in typed.items() if value is not None}
    spec = from_values({"seed": fresh_seed(), **values})
    codes = []
    try:
        for result in run_all(spec, shown=False if options.quiet else None):
            codes.append(result.exit_code)
            if options.json:
                _say(json.dumps({**result.document, "path": str(result.path)}))
            else:
                text = summary(result, command=_called_as())
                _say(text.partition("\n")[0] if options.quiet else text)
            _summarize(result.path)
    except SplitbrainError as error:
        # Of a series, what was found before counts as well.
        _complain(str(error))
        codes.append(error.exit_code)
    except KeyboardInterrupt:
        _complain("interrupted")
        codes.append(130)
    return worst(codes)


def _add_replay(commands: Any) -> None:
    command = commands.add_parser(
        "replay", help="the same load and the same faults as a run, again"
    )
    command.add_argument("run", type=Path, metavar="RUN", help="a run's folder")
    command.add_argument("--store", metavar="DIR", help="the folder that the new run is kept in")
    command.add_argument("--json", action="store_true", help="print outcome.json instead of text")
    command.set_defaults(command=_replay)


def _replay(options: argparse.Namespace) -> int:
    from harness.replay import replay
    from harness.summary import summary

    result, differences = replay(options.run, where=options.store)
    if options.json:
        known = {**result.document, "path": str(result.path), "differences": differences}
        _say(json.dumps(known))
    else:
        _say(summary(result, command=_called_as()))
        _say("\n".join(["different from the first run:", *(f"  {one}" for one in differences)])
             if differences else "as in the first run")  # fmt: skip
    return result.exit_code


def _called_as() -> str:
    """Return what to type to run this program again: its name if that finds it, else its path."""
    import shutil

    found = shutil.which(_PROGRAM)
    if found is not None and Path(found).resolve() == Path(sys.argv[0]).resolve():
        return _PROGRAM
    return sys.argv[0] if Path(sys.argv[0]).name == _PROGRAM else _PROGRAM


def _summarize(folder: Path) -> None:
    """Show the summary of a run or a sweep on the page of the job that this is a step of."""
    from harness import step_summary

    warning = step_summary.append(folder / "summary.md")
    if warning is not None:
        _complain(f"warning: {warning}")


def _add_sweep(commands: Any) -> None:
    sweep = commands.add_parser("sweep", help="run a matrix of tests, whatever becomes of each")
    sweep.add_argument("file", type=Path, metavar="FILE", help="a TOML file, see docs/ci.md")
    sweep.add_argument(
        "--budget-s", metavar="N", help="seconds for all of it; what does not fit is not begun"
    )
    sweep.add_argument(
        "--resume", action="store_true", help="go on with the newest sweep of this file"
    )
    sweep.add_argument("--store", metavar="DIR", help="the folder that runs are kept in")
    _add_output(sweep, "one JSON object a run instead of text", "print the last line only")
    sweep.set_defaults(command=_sweep)


def _sweep(options: argparse.Namespace) -> int:
    from harness import sweep_text
    from harness.sweep import NOT_RUN, Record, Watch, sweep
    from harness.sweep_plan import Planned, budget_of

    def begins(planned: Planned, total: int) -> None:
        if not options.quiet:
            _complain(f"{planned.number}/{total} begins: {planned.title}")

    def ended(record: Record, total: int) -> None:
        if options.json:
            _say(json.dumps(record))
        if not options.quiet and record["outcome"] != NOT_RUN:
            _complain(sweep_text.ended(record, total))

    swept = sweep(
        options.file,
        store_folder=options.store,
        budget_s=None if options.budget_s is None else budget_of(options.budget_s),
        resume=options.resume,
        watch=Watch(begins=begins, ended=ended, shown=False if options.quiet else None),
    )
    for failure in swept.document["failures"]:
        _complain(failure)
    if options.quiet:
        _say(sweep_text.total(swept.document))
    elif not options.json:
        _say(sweep_text.table(swept.document, str(swept.folder / "summary.md")))
    elif left := sweep_text.not_run(swept.document):
        _complain(left)
    _summarize(swept.folder)
    return swept.exit_code


def _add_check(commands: Any) -> None:
    check = commands.add_parser("check", help="check recorded histories")
    check.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="histories or runs")
    check.add_argument(
        "--model",
        metavar="MODEL",
        help="what the history should behave like (runs know theirs): a name, see docs/models.md, "
        "or FILE.py:NAME for one of your own (the file is executed)",
    )
    check.add_argument(
        "--transactions",
        choices=("list-append", "rw-register"),
        help="the history is of transactions: search it for anomalies, see docs/transactions.md",
    )
    check.add_argument(
        "--isolation",
        default="strict-serializable",
        metavar="LEVEL",
        help="with --transactions: what was promised; strict-serializable",
    )
    check.add_argument("--initial", metavar="JSON", help="the initial state")
    check.add_argument(
        "--failed-cas",
        choices=("differs", "absent"),
        help="what a failed cas says: the value was another one (differs), or it did not happen "
        "(absent); by default what the format means by it",
    )
    check.add_argument(
        "--nil-read",
        choices=("absent", "unknown"),
        help="what a read of nil says: there is no value (absent), or nothing (unknown); by default "
        "what the format means by it",
    )
    _add_format(check)
    check.add_argument(
        "--columns", metavar="OURS=THEIRS,...", help="which column of a CSV or Parquet file is what"
    )
    check.add_argument("--budget-s", metavar="N", help="seconds a file; 60, or what the run says")
    check.add_argument("--memory-mb", metavar="N", help="memory; 2048, or what the run says")
    check.add_argument("--workers", type=int, default=1, metavar="N", help="keys at once; 1")
    check.add_argument(
        "--certificate", type=Path, metavar="FILE", help="write the proof of the verdict there"
    )
    check.add_argument(
        "--checkpoint",
        type=Path,
        metavar="FILE",
        help="keep there what was found when the budget is spent, and go on from it",
    )
    check.add_argument("--json", action="store_true", help="one JSON object a file")
    check.set_defaults(command=_check)


def _add_format(command: Any) -> None:
    formats = ("auto", "jsonl", "edn", "jepsen-log", "csv", "parquet")
    command.add_argument("--format", default="auto", choices=formats, help="of the history; auto")


def _add_verify(commands: Any) -> None:
    verify = commands.add_parser("verify", help="verify the proof of a verdict, independently")
    verify.add_argument("history", type=Path, metavar="HISTORY", help="a history or a run's folder")
    verify.add_argument("certificate", type=Path, metavar="CERTIFICATE", help="a JSON file")
    verify.add_argument("--model", metavar="FILE.py:NAME", help="where the model is your own")
    _add_format(verify)
    verify.add_argument("--json", action="store_true", help="one JSON object")
    verify.set_defaults(command=_verify)


def _add_report(commands: Any) -> None:
    report = commands.add_parser("report", help="write the HTML report of a run again")
    report.add_argument("run", type=Path, metavar="RUN", help="a run's folder")
    report.set_defaults(command=_report)


def _add_index(commands: Any) -> None:
    index = commands.add_parser("index", help="write one page about all runs of a store")
    index.add_argument(
        "--store", type=Path, default=Path("store"), metavar="DIR", help="its folder; store"
    )
    index.add_argument(
        "--compare",
        nargs=2,
        type=Path,
        metavar=("RUN_A", "RUN_B"),
        help="write compare.html of these two runs there instead",
    )
    index.set_defaults(command=_index)


def _add_serve(commands: Any) -> None:
    serve = commands.add_parser("serve", help="all runs in a browser, on this machine")
    serve.add_argument(
        "--store", type=Path, default=Path("store"), metavar="DIR", help="its folder; store"
    )
    serve.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="127.0.0.1; any other but localhost lets other machines read every run",
    )
    serve.add_argument(
        "--port", type=int, default=8484, metavar="N", help="8484; 0 for any that is free"
    )
    serve.set_defaults(command=_serve)


def _add_lab(commands: Any) -> None:
    lab = commands.add_parser("lab", help="SSH hosts on this machine")
    actions = lab.add_subparsers(required=True, metavar="up|down|status|ssh")
    for name, help_text in (
        ("up", "bring the hosts up; twice is no error"),
        ("down", "take them down; nothing is left"),
        ("status", "say what is there"),
        ("ssh", "open a shell on a host, or run a command there"),
    ):
        action = actions.add_parser(name, help=help_text)
        action.add_argument("--lab", type=int, default=0, metavar="N", help="which lab; 0")
        if name == "up":
            action.add_argument(
                "--nodes", type=int, metavar="N", help="how many; 5, or 3 virtual machines"
            )
            action.add_argument(
                "--vm", action="store_true", help="virtual machines, with clocks of their own"
            )
        if name == "down":
            action.add_argument(
                "--docker",
                action="store_true",
                help="containers that runs with --hosts docker left behind, instead",
            )
        if name == "ssh":
            action.add_argument("host", help="n1, n2, ...")
            action.add_argument("words", nargs=argparse.REMAINDER, help="a command")
        action.set_defaults(command=_lab, action=name)


def _add_doctor(commands: Any) -> None:
    doctor = commands.add_parser("doctor", help="what this machine can do, and what it lacks")
    doctor.set_defaults(command=_doctor)


def _add_mutants(commands: Any) -> None:
    mutants = commands.add_parser("mutants", help="the known bugs that --mutant can put in")
    mutants.set_defaults(command=_mutants)


def _check(options: argparse.Namespace) -> int:
    from harness.recheck import check_paths

    return check_paths(options, out=cast("TextIO", _Output()))


def _verify(options: argparse.Namespace) -> int:
    from harness.recheck import verify_certificate

    return verify_certificate(options, out=cast("TextIO", _Output()))


def _report(options: argparse.Namespace) -> int:
    from reports.command import run_report

    return run_report(options.run)


def _index(options: argparse.Namespace) -> int:
    from reports.command import run_index

    return run_index(options.store, options.compare and tuple(options.compare))


def _serve(options: argparse.Namespace) -> int:
    from harness.serve import serve

    return serve(options.store, host=options.host, port=options.port, say=_say, complain=_complain)


def _lab(options: argparse.Namespace) -> int:
    from harness.lab_command import act

    return act(options)


def _doctor(options: argparse.Namespace) -> int:
    from harness import doctor

    del options
    findings = doctor.examine()
    _say(doctor.render(findings))
    return 0 if doctor.ok(findings) else 4


def _mutants(options: argparse.Namespace) -> int:
    from harness.systems.raft import mutants

    del options
    for mutant, text in mutants().items():
        _say(f"{mutant:30}{text}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
