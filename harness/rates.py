"""How much was offered to the system, and how much of it was taken.

Rules of this file:
- Offered is what the generator's schedule wanted in the time that it got to: operations that were
  sent, and those that were given up because the system had not taken them a second later.
- Achieved is what was sent in the time that it took. Both are equal as long as there is always a
  free thread.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from checker.history import EventType


@dataclass(slots=True)
class Rates:
    """The load of one run of a generator. Filled by the interpreter as it goes."""

    began_ns: int
    ended_ns: int = 0
    sent: int = 0
    forgone: int = 0
    scheduled_ns: int = 0
    late_ns_max: int = 0
    completed: dict[str, int] = field(
        default_factory=lambda: {kind.value: 0 for kind in EventType if kind != EventType.INVOKE}
    )

    def invoked(self, now_ns: int, at_ns: int, forgone: int) -> None:
        """Count an operation that was wanted at `at_ns` and sent at `now_ns`."""
        self.sent += 1
        self.forgone += forgone
        self.ended_ns = now_ns
        # Where no schedule wanted it earlier it was wanted when it was asked for.
        at_ns = at_ns if at_ns > self.began_ns else now_ns
        if at_ns > self.scheduled_ns:
            self.scheduled_ns = at_ns
        if now_ns - at_ns > self.late_ns_max:
            self.late_ns_max = now_ns - at_ns

    @property
    def seconds(self) -> float:
        """From the beginning to the last operation that was sent."""
        return max(0, self.ended_ns - self.began_ns) / 1e9

    @property
    def offered_per_s(self) -> float:
        """Operations that were wanted, by the time in which they were wanted."""
        span_s = max(0, self.scheduled_ns - self.began_ns) / 1e9
        return (self.sent + self.forgone) / span_s if span_s else 0.0

    @property
    def achieved_per_s(self) -> float:
        """Operations that were sent, by the time that it took."""
        return self.sent / self.seconds if self.seconds else 0.0

    def to_json(self) -> dict[str, float | int | dict[str, int]]:
        """Return the numbers for `outcome.json`."""
        return {
            "seconds": round(self.seconds, 3),
            "sent": self.sent,
            "forgone": self.forgone,
            "offered_per_s": round(self.offered_per_s, 1),
            "achieved_per_s": round(self.achieved_per_s, 1),
            "late_ms_max": round(self.late_ns_max / 1e6, 1),
            "completed": dict(self.completed),
        }
