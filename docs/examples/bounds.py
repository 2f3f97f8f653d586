"""A counter that only grows: no read below what was acknowledged, none above what was asked for."""

from splitbrain import Finding, Finds, Probe, Workload, generator


def load(setting):
    adds = generator.repeat(generator.op("add", 1, key="total"))
    reads = generator.repeat(generator.op("read", key="total"))
    return generator.mix(adds, reads)


def final(setting):
    return generator.each_thread(generator.op("read", key="total"))


def out_of_bounds(operations):
    adds = [one for one in operations if one.f == "add" and one.type != "fail"]
    for read in operations:
        if read.f != "read" or read.type != "ok":
            continue
        seen = read.output or 0
        before = [one for one in adds if one.type == "ok" and one.end < read.start]
        begun = [one for one in adds if one.start < read.end]
        if seen < len(before):
            return Finding(summary=f"{len(before)} adds were acknowledged, but a later read saw {seen}",
                           operations=(*before, read))  # fmt: skip
        if seen > len(begun):
            return Finding(summary=f"only {len(begun)} adds had begun, but a read saw {seen}",
                           operations=(*begun, read))  # fmt: skip
    return None


WORKLOAD = Workload(
    name="bounds", summary="a counter that only grows", data="counter", functions=("add", "read"),
    load=load, final=final, checks=(Finds("bounds", out_of_bounds),), probe=Probe(f="read", key="probe"),
)  # fmt: skip
