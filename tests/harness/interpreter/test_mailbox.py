"""The mailbox: nothing is lost, and no wait is longer than it was told."""

import threading
import time

from harness.mailbox import Mailbox


def test_a_wait_ends_in_time_also_after_items_that_were_taken_without_waiting() -> None:
    """What CPython's SimpleQueue does not do: see harness/mailbox.py."""
    box: Mailbox[int] = Mailbox()
    for round_ in range(2000):
        box.put(round_)
        assert box.take() == round_
        # The bell still rings for what was taken; with no time left this must not wait for ever.
        assert not box.wait(1e-6 if round_ % 2 else -1.0)
    began = time.monotonic()
    assert not box.wait(-1.0), "the bell is shut now: a negative time must not mean for ever"
    assert not box.wait(0.05)
    assert time.monotonic() - began < 5


def test_everything_that_many_threads_put_is_taken_in_the_order_of_each() -> None:
    box: Mailbox[tuple[int, int]] = Mailbox()

    def put_all(who: int) -> None:
        for n in range(2000):
            box.put((who, n))

    threads = [threading.Thread(target=put_all, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    taken: list[tuple[int, int]] = []
    deadline = time.monotonic() + 30
    while len(taken) < 8000 and time.monotonic() < deadline:
        if box.wait(0.001):
            while not box.empty():
                taken.append(box.take())
    for thread in threads:
        thread.join(10)
    for who in range(4):
        assert [n for one, n in taken if one == who] == list(range(2000))


def test_a_put_wakes_whoever_waits() -> None:
    box: Mailbox[str] = Mailbox()
    threading.Timer(0.05, box.put, ["answer"]).start()
    assert box.wait(20)
    assert box.take() == "answer"
    assert box.empty()
