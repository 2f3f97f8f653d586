"""Each way to make a generator of others: what it does, by hand-made cases."""

from collections import Counter
from dataclasses import replace

import pytest

from checker.history import NEMESIS, Event, EventType, History
from workloads.generator import (
    PENDING,
    Context,
    Generator,
    GeneratorError,
    Invocation,
    OnUpdate,
    Reply,
    Step,
    any_of,
    calls,
    chain,
    clients,
    concurrency_limit,
    concurrent_keys,
    crashing,
    cycle,
    cycle_times,
    delay,
    each_process,
    each_thread,
    f_map,
    filter_ops,
    flip_flop,
    ignore_updates,
    imperfect,
    limit,
    map_in_context,
    map_ops,
    mix,
    nemesis,
    on_threads,
    on_update,
    once,
    op,
    ops,
    perfect,
    phases,
    process_limit,
    repeat,
    reserve,
    say,
    sequential_keys,
    shortest_of,
    simulate,
    sleep,
    stagger,
    synchronize,
    then,
    time_limit,
    trace,
    until_ok,
)

SECOND = 1_000_000_000


def invoked(history: History) -> list[Event]:
    return [event for event in history.events if event.type is EventType.INVOKE]


def fs(generator: Generator, **options: int) -> str:
    """The functions that a generator invokes, in order, against perfect clients."""
    return "".join(event.f for event in invoked(simulate(generator, **options)))  # type: ignore[arg-type]


def times(history: History) -> list[int]:
    return [event.time for event in invoked(history) if event.time is not None]


def letters(text: str) -> Generator:
    return ops(*((letter,) for letter in text))


def test_an_operation_happens_once_and_a_row_of_them_in_order() -> None:
    assert fs(op("a")) == "a"
    assert fs(letters("abc")) == "abc"
    assert invoked(simulate(op("w", 3, "k")))[0].value == 3


def test_once_limit_repeat_and_cycle() -> None:
    assert fs(once(letters("abc"))) == "a"
    assert fs(repeat(letters("abc"), 3)) == "aaa", "repeat does not let its source go on"
    assert fs(cycle(letters("abc"), 2)) == "abcabc"
    assert fs(limit(5, cycle(letters("abc")))) == "abcab"
    assert fs(limit(0, repeat(op("a")))) == ""
    assert fs(cycle(letters(""), None)) == "", "an empty cycle ends instead of spinning"


def test_calls_runs_what_its_function_makes_and_ends_with_none() -> None:
    def made(context: Context, number: int) -> Generator | None:
        return letters("ab"[: number + 1]) if number < 2 else None

    assert fs(calls(made)) == "aab"
    numbers = limit(4, calls(lambda _context, number: op("w", number)))
    assert [event.value for event in invoked(simulate(numbers))] == [0, 1, 2, 3]


def test_chain_does_not_wait_but_then_and_phases_do() -> None:
    slow = perfect(1000)
    assert times(simulate(chain(op("a"), op("b")), slow)) == [0, 0]
    assert times(simulate(then(op("a"), op("b")), slow)) == [0, 1000]
    assert times(simulate(phases(op("a"), op("b"), op("c")), slow)) == [0, 1000, 2000]


def test_a_repeated_phase_waits_for_the_end_of_the_one_before() -> None:
    history = simulate(cycle(phases(op("a"), op("b")), 2), perfect(1000))
    assert times(history) == [0, 1000, 2000, 3000]


def test_synchronize_looks_at_the_threads_it_may_use_only() -> None:
    """Thread 0 is busy for long; what is confined to threads 1 and 2 does not wait for it."""
    busy = on_threads(lambda thread: thread == 0, op("long"))
    others = on_threads(lambda thread: thread != 0, phases(op("a"), op("b")))
    history = simulate(
        any_of(busy, others),
        lambda one, _n: perfect(10_000 if one.f == "long" else 10)(one, 0),
    )
    ends = {event.f: event.time for event in history.events if event.type is EventType.OK}
    assert ends == {"long": 10_000, "a": 10, "b": 20}


def test_until_ok_goes_on_until_one_is_acknowledged() -> None:
    history = simulate(until_ok(repeat(op("a"))), imperfect(), threads=1)
    assert [event.type.value for event in history.events] == [
        *("invoke", "fail", "invoke", "info", "invoke", "ok"),
    ]


def test_until_ok_does_not_take_somebody_elses_success_for_its_own() -> None:
    mine = on_threads(lambda thread: thread == 0, until_ok(limit(3, repeat(op("mine")))))
    other = on_threads(lambda thread: thread == 1, op("other"))

    def reply(one: Invocation, number: int) -> Reply:
        return (perfect() if one.f == "other" else crashing())(one, number)

    history = simulate(any_of(mine, other), reply, threads=2)
    assert Counter(event.f for event in invoked(history)) == {"mine": 3, "other": 1}


def test_process_limit_bounds_the_processes_and_ends_all_at_once() -> None:
    history = simulate(process_limit(7, repeat(op("a"))), crashing(), threads=3)
    processes = {event.process for event in invoked(history)}
    assert len(processes) <= 7
    assert processes >= {0, 1, 2, 3, 4, 5}


def test_concurrency_limit_leaves_threads_free() -> None:
    history = simulate(limit(20, concurrency_limit(2, repeat(op("a")))), perfect(100), threads=5)
    under_way = most = 0
    for event in history.events:
        under_way += 1 if event.type is EventType.INVOKE else -1
        most = max(most, under_way)
    assert most == 2


def test_time_limit_counts_from_the_first_operation() -> None:
    late = chain(sleep(5), phases(time_limit(1, delay(0.25, repeat(op("a"))))))
    assert times(simulate(late, threads=1)) == [
        5 * SECOND + n * SECOND // 4 for n in range(4)
    ]  # the operation at 6 s would be after the limit


def test_delay_spaces_operations_and_makes_up_for_a_stall() -> None:
    assert times(simulate(limit(4, delay(2, repeat(op("a")))))) == [
        n * 2 * SECOND for n in range(4)
    ]
    stalled = simulate(
        limit(6, delay(0.1, repeat(op("a")))),
        lambda one, number: perfect(SECOND // 2 if number == 0 else 10)(one, number),
        threads=1,
    )
    assert times(stalled) == [0] + [SECOND // 2 + 10 * n for n in range(5)], "all were owed by then"


def test_sleep_keeps_a_thread_busy_and_is_not_in_the_history() -> None:
    history = simulate(chain(op("a"), sleep(3), op("b")), threads=1)
    assert [event.f for event in history.events] == ["a", "a", "b", "b"]
    assert times(history)[1] == 3 * SECOND + 10
    assert fs(chain(op("a"), say("hello"), op("b"))) == "ab"


def test_cycle_times_gives_each_its_window_and_keeps_its_state() -> None:
    numbers = calls(lambda _context, number: op("w", number))
    generator = cycle_times((5, delay(2, numbers)), (10, delay(4, repeat(op("r")))))
    history = simulate(time_limit(31, generator))
    seen = [(event.f, event.value, (event.time or 0) / SECOND) for event in invoked(history)]
    writes = [(value, at) for f, value, at in seen if f == "w"]
    assert [value for value, _ in writes] == list(range(len(writes)))
    assert all(at % 15 < 5 for _, at in writes)
    assert all(at % 15 >= 5 for f, _, at in seen if f == "r")
    assert {int(at // 15) for _, at in writes} == {0, 1, 2}


def test_any_takes_what_is_due_first_and_ends_with_the_last() -> None:
    slow, fast = delay(3, letters("aaa")), delay(1, letters("bbbb"))
    history = simulate(any_of(slow, fast))
    assert sorted(times(history)) == times(history)
    assert Counter(event.f for event in invoked(history)) == {"a": 3, "b": 4}


def test_any_is_fair_where_everything_is_due_at_once() -> None:
    history = simulate(limit(400, any_of(repeat(op("a")), repeat(op("b")))))
    count = Counter(event.f for event in invoked(history))
    assert min(count.values()) > 140


def test_shortest_ends_with_the_first_that_ends() -> None:
    count = Counter(fs(shortest_of(delay(1, repeat(op("a"))), delay(2, letters("bbb")))))
    assert count["b"] == 3
    assert 5 <= count["a"] <= 6


def test_mix_draws_by_weight_and_drops_what_has_ended() -> None:
    text = fs(limit(1000, mix(repeat(op("a")), repeat(op("b")), weights=(3, 1))))
    assert 690 < text.count("a") < 810
    assert Counter(fs(mix(letters("aaaaa"), letters("bb"), letters("c")))) == {
        "a": 5,
        "b": 2,
        "c": 1,
    }


def test_mix_is_not_held_up_by_one_that_is_pending() -> None:
    waits = calls(lambda _context, _number: PENDING)
    assert fs(limit(20, mix(waits, repeat(op("a"))))) == "a" * 20


def test_flip_flop_alternates_and_ends_with_whose_turn_it_is() -> None:
    assert fs(flip_flop(repeat(op("a")), letters("bb"))) == "ababa"
    assert fs(flip_flop()) == ""


def test_reserve_keeps_ranges_apart_also_within_a_reserve() -> None:
    inner = reserve((1, repeat(op("b"))), default=repeat(op("c")))
    generator = limit(300, reserve((2, repeat(op("a"))), (3, inner), default=repeat(op("d"))))
    by_f: dict[str, set[int | str]] = {}
    for event in invoked(simulate(generator, perfect(1000), threads=7)):
        by_f.setdefault(event.f, set()).add(event.process)
    assert by_f == {"a": {0, 1}, "b": {2}, "c": {3, 4}, "d": {5, 6}}


def test_reserve_lets_others_go_on_where_one_range_blocks() -> None:
    blocks = reserve((2, repeat(op("w"))), default=repeat(op("r")))
    history = simulate(
        time_limit(1, delay(0.01, blocks)),
        lambda one, number: perfect(10 * SECOND if one.f == "w" else 10)(one, number),
        threads=4,
    )
    count = Counter(event.f for event in invoked(history))
    assert count["w"] == 2
    assert count["r"] > 90


def test_clients_and_nemesis_have_their_own_threads() -> None:
    generator = clients(limit(6, repeat(op("a"))), limit(2, repeat(op("cut"))))
    history = simulate(generator, threads=2, nemesis=True)
    assert {event.process for event in invoked(history) if event.f == "cut"} == {NEMESIS}
    assert {event.process for event in invoked(history) if event.f == "a"} <= {0, 1}
    ends = {event.type for event in history.events if event.f == "cut"}
    assert ends == {EventType.INVOKE, EventType.INFO}
    assert fs(chain(nemesis(op("cut")), op("a"))) == "a", "without a nemesis it is nothing"


def test_each_thread_and_each_process_have_copies() -> None:
    by_thread = simulate(each_thread(letters("ab")), crashing(), threads=3)
    assert Counter(int(event.process) % 3 for event in invoked(by_thread)) == {0: 2, 1: 2, 2: 2}
    endless = simulate(limit(30, each_process(letters("ab"))), crashing(), threads=3)
    assert {event.f for event in invoked(endless)} == {"a"}, "every crash begins a fresh copy"


def test_copies_draw_from_streams_of_their_own() -> None:
    source = limit(40, mix(repeat(op("a")), repeat(op("b"))))
    rows: dict[int | str, str] = {}
    for event in invoked(simulate(each_thread(source), threads=3)):
        rows[event.process] = rows.get(event.process, "") + event.f
    assert len(set(rows.values())) == 3


def test_map_filter_and_f_map() -> None:
    assert fs(map_ops(lambda one: replace(one, f=one.f.upper()), letters("ab"))) == "AB"
    assert fs(f_map({"a": "x"}, letters("ab"))) == "xb"
    assert fs(filter_ops(lambda one: one.f != "b", letters("abcb"))) == "ac"
    timed = map_in_context(lambda one, context: replace(one, value=context.time_ns), op("a"))
    assert invoked(simulate(timed))[0].value == 0
    with pytest.raises(GeneratorError, match="refused"):
        simulate(filter_ops(lambda _one: False, repeat(op("a"))))


def test_on_update_changes_what_comes_and_ignore_updates_does_not() -> None:
    def stop(this: OnUpdate, event: Event, _context: Context) -> Generator:
        return op("end") if event.type is EventType.OK else this

    assert fs(on_update(stop, repeat(op("a"))), threads=1) == "aend"
    assert fs(limit(3, ignore_updates(until_ok(repeat(op("a")))))) == "aaa"


def test_trace_sees_every_question_and_changes_nothing() -> None:
    seen: list[tuple[str, object, object]] = []
    watched = trace("t", lambda *what: seen.append(what), letters("ab"))
    assert fs(watched) == "ab"
    assert {label for label, _, _ in seen} == {"t"}
    assert sum(isinstance(question, Event) for _, question, _ in seen) == 4
    assert [answer for _, _, answer in seen].count(None) == 1, "it is asked once more at its end"


def test_sequential_keys_finish_one_key_before_the_next() -> None:
    generator = sequential_keys(("x", "y"), lambda _key: letters("ab"))
    assert [(event.key, event.f) for event in invoked(simulate(generator))] == [
        *(("x", "a"), ("x", "b"), ("y", "a"), ("y", "b")),
    ]


def test_concurrent_keys_give_every_group_a_key_of_its_own() -> None:
    generator = concurrent_keys(
        2, lambda number: f"k{number}" if number < 7 else None, lambda _k: limit(5, repeat(op("r")))
    )
    history = simulate(generator, perfect(100), threads=6)
    by_key: dict[str | None, set[int]] = {}
    for event in invoked(history):
        by_key.setdefault(event.key, set()).add(int(event.process) // 2)
    assert sorted(str(key) for key in by_key) == [f"k{n}" for n in range(7)]
    assert all(len(groups) == 1 for groups in by_key.values())
    assert all(count == 5 for count in Counter(one.key for one in invoked(history)).values())


def test_keys_hear_of_their_own_key_only() -> None:
    """The answer about x comes in when the threads are at y already."""
    generator = sequential_keys(("x", "y"), lambda _key: until_ok(limit(2, repeat(op("r")))))
    history = simulate(
        generator, lambda one, n: perfect(50 if one.key == "x" else 100)(one, n), threads=4
    )
    assert [event.key for event in invoked(history)] == ["x", "x", "y", "y"]


def test_concurrent_keys_say_what_to_do_about_the_concurrency() -> None:
    with pytest.raises(GeneratorError, match="make the concurrency a multiple of 2"):
        simulate(concurrent_keys(2, ("x",), lambda _key: op("r")), threads=3)
    with pytest.raises(GeneratorError, match="no operation"):
        simulate(sequential_keys(str, lambda _key: letters("")))


def test_stagger_passes_pending_and_synchronized_sources() -> None:
    """A stagger over phases: the wait between them is not made up for by a burst of the second."""
    history = simulate(
        stagger(10, phases(limit(10, repeat(op("a"))), limit(10, repeat(op("b"))))), perfect(10)
    )
    assert fs_of(history) == "a" * 10 + "b" * 10


def fs_of(history: History) -> str:
    return "".join(event.f for event in invoked(history))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: stagger(0, op("a")), "above 0"),
        (lambda: delay(-1, op("a")), "from 0 to"),
        (lambda: mix(op("a"), weights=(1, 2)), "one weight"),
        (lambda: reserve((0, op("a")), default=op("b")), "at least one thread"),
        (lambda: simulate(reserve((9, op("a")), default=op("b"))), "wants 9 threads"),
        (lambda: cycle_times((0, op("a"))), "longer than 0"),
        (lambda: concurrent_keys(0, ("k",), lambda _key: op("a")), "at least one thread"),
        (lambda: simulate(calls(lambda _c, _n: PENDING)), "wait for ever"),
        (lambda: simulate(repeat(op("a")), steps_max=50), "within 50 steps"),
    ],
)
def test_nonsense_is_refused_with_a_reason(make: object, says: str) -> None:
    with pytest.raises(GeneratorError, match=says):
        make()  # type: ignore[operator]


def test_pending_is_no_end() -> None:
    """A generator of one's own may wait for an event and go on with it."""

    class AfterOk:
        def __init__(self, *, heard: bool = False) -> None:
            self.heard = heard

        def next(self, context: Context) -> Step:
            return op("late").next(context) if self.heard else PENDING

        def update(self, event: Event, context: Context) -> "AfterOk":
            return AfterOk(heard=self.heard or event.type is EventType.OK)

    assert fs(limit(2, any_of(op("early"), AfterOk()))) == "earlylate"
    assert fs(synchronize(op("a"))) == "a"
