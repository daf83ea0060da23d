#!/usr/bin/env python3
"""The tables of docs/scaling.md: `scripts/scaling.py`. Arithmetic and one simulation; Python's standard library alone.

Constants are the chain's (runtime/src/constants.rs, crates/primitives/src/limits.rs, pallets/workers); measured numbers are those of
docs/benchmarks/2026-11-22.md. Change them here when they change there.
"""
import random

# The chain.
BLOCK_SECONDS = 10
BLOCK_WEIGHT_MS = 500
BLOCK_BYTES = 5 * 2**20
ASSIGNED_PER_BLOCK = 16
CANDIDATES = 32
MAX_WORKERS, MAX_TASKS = 1_024, 256
# Database access as the runtime charges it, milliseconds.
READ_MS, WRITE_MS = 0.025, 0.1
# `pallet_workers::schedule` at 256 tasks and 1,024 workers: 8.39 ms with 778 reads, and 0.54 ms with 37 reads and 11 writes a unit.
SCHEDULE_MS, SCHEDULE_READS, SCHEDULE_WRITES = 8.391, 778, 4
UNIT_MS, UNIT_READS, UNIT_WRITES = 0.542, 37, 11
READS_PER_TASK = 3
# k, bytes of a proof, milliseconds in Wasm, natively: measured.
PROOFS = [(256, 17_338, 0.45, 0.06), (1_024, 68_799, 1.23, 0.22), (4_096, 274_623, 4.43, 0.87), (16_384, 1_097_919, 16.96, 3.58)]
PROOF_TICKET_BYTES = 32 * 2


def schedule_weight(tasks, units=ASSIGNED_PER_BLOCK):
    """Weight of the scheduler's hook, ms, if its cost grows in step with the open tasks."""
    reads = SCHEDULE_READS - MAX_TASKS * READS_PER_TASK + tasks * READS_PER_TASK + units * UNIT_READS
    writes = SCHEDULE_WRITES + units * UNIT_WRITES
    return SCHEDULE_MS * tasks / MAX_TASKS + units * UNIT_MS + reads * READ_MS + writes * WRITE_MS


def scheduler_table():
    print("| open tasks | weight of the hook, ms | share of a block | |")
    print("| --- | --- | --- | --- |")
    for tasks in (16, 256, 1_000, 4_000, 10_000):
        weight = schedule_weight(tasks)
        note = "the bound of today (`MaxOpenTasks`)" if tasks == MAX_TASKS else ""
        if weight > BLOCK_WEIGHT_MS:
            note = "more than a block may weigh"
        print(f"| {tasks:,} | {weight:,.0f} | {weight / BLOCK_WEIGHT_MS:.0%} | {note} |")
    print()


def simulate(workers, blocks_per_unit, blocks, seed=1):
    """Workers of one slot under the chain's rule, with units enough at any time. Gives the share that is busy, and the share of draws that
    found nobody free, once it has settled."""
    rng = random.Random(seed)
    free_at = [0] * workers
    busy = found_nobody = draws = counted = 0
    for block in range(blocks):
        for _ in range(ASSIGNED_PER_BLOCK):
            start = rng.randrange(workers)
            candidates = ((start + i) % workers for i in range(min(CANDIDATES, workers)))
            free = [who for who in candidates if free_at[who] <= block]
            settled = block >= blocks // 2
            draws += settled
            if not free:
                # Nobody takes the task's other units either.
                found_nobody += settled
                continue
            free_at[rng.choice(free)] = block + blocks_per_unit
        if block >= blocks // 2 and block % 64 == 0:
            busy += sum(until > block for until in free_at) / workers
            counted += 1
    return busy / counted, found_nobody / draws


def simulation_table():
    print("| workers | a unit takes, blocks | busy workers | draws that find nobody | units a day |")
    print("| --- | --- | --- | --- | --- |")
    for workers, duration in [(1_000, 32), (1_000, 64), (10_000, 64), (10_000, 640), (100_000, 640), (100_000, 6_400)]:
        busy, nobody = simulate(workers, duration, min(3 * duration + 512, 14_000))
        units = busy * workers / duration * 86_400 / BLOCK_SECONDS
        print(f"| {workers:,} | {duration:,} | {busy:.0%} | {nobody:.1%} | {units:,.0f} |")
    print()


def proof_table():
    print("| k | proof, bytes | of it the two strips | Wasm, ms | native, ms | blocks full of proofs, bytes a day | of a block's weight |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for k, size, wasm, native in PROOFS:
        day = size * 86_400 // BLOCK_SECONDS
        print(f"| {k:,} | {size:,} | {PROOF_TICKET_BYTES * k / size:.0%} | {wasm} | {native} | {day / 2**30:,.2f} GiB | {1.5 * wasm / BLOCK_WEIGHT_MS:.1%} |")
    print()


def propagation_table():
    hops, latency = 4, 0.1
    print(f"| block | link | a hop: announce, ask, send | verify | {hops} hops | of {BLOCK_SECONDS} s: blocks beside |")
    print("| --- | --- | --- | --- | --- | --- |")
    # The block's execution: its weight at most; a proof at k = 1,024 and a few transactions for the small one.
    for name, size, verify in [("a proof of k = 1,024", 75_000, 0.01), ("full", BLOCK_BYTES, BLOCK_WEIGHT_MS / 1e3)]:
        for link_name, link in [("10 Mbit/s", 10e6 / 8), ("100 Mbit/s", 100e6 / 8), ("1 Gbit/s", 1e9 / 8)]:
            # Announce, request, answer: three times the link's latency; then the bytes; each node executes before it announces.
            hop = 3 * latency + size / link
            total = hops * (hop + verify)
            # A block found by another within that time stands beside this one.
            fork = 1 - 2.718281828 ** (-total / BLOCK_SECONDS)
            print(f"| {name} | {link_name} | {hop:.2f} s | {verify:.2f} s | {total:.1f} s | {fork:.0%} |")
    print()


def model_table():
    parameters = 10**9
    print("| 10^9 parameters, what | how much | by |")
    print("| --- | --- | --- |")
    rows = []
    master, operands = 4 * parameters, parameters
    rows.append(("master parameters (`i32`)", f"{master / 2**30:.1f} GiB", "4 bytes each"))
    rows.append(("operands (`i8`)", f"{operands / 2**30:.1f} GiB", "1 byte each"))
    tokens_per_unit = 2**20
    macs_step = 3 * parameters * tokens_per_unit
    rows.append(("work of a unit of 2^20 rows", f"{macs_step:.1e} multiply-accumulates", "forward and two backward products a parameter and row"))
    speed = 450e9
    rows.append(("on one core, 450 GMAC/s measured", f"{macs_step / speed / 3600:.1f} h = {macs_step / speed / BLOCK_SECONDS:,.0f} blocks", "docs/benchmarks"))
    rows.append(("tokens to train (20 a parameter)", f"{20 * parameters:.0e}", "the usual rule"))
    units = 20 * parameters / tokens_per_unit
    rows.append(("units", f"{units:,.0f}", "tokens / rows of a unit"))
    rows.append(("rounds of 64 units", f"{units / 64:,.0f}", "`MAX_UNITS`"))
    moved = 64 * master * 2
    rows.append(("bytes moved a round, at least", f"{moved / 2**30:,.0f} GiB", "every worker takes the base and gives its own"))
    rows.append(("of it through the merging worker", f"{64 * master / 2**30:,.0f} GiB", f"{64 * master / (1e9 / 8) / 60:.0f} min on 1 Gbit/s"))
    rows.append(("bytes moved in all", f"{moved * units / 64 / 2**50:.2f} PiB", "rounds by that"))
    # An audit draws an op of a step, then a block of its output: 4 in each of 2 steps.
    steps, ops, blocks = 128, 64, 2**20 // 32 * (16_384 // 32)
    once = 2 / steps * 4 / (ops * blocks)
    rows.append(("an audit finds one wrong block", f"once in {1 / once:.0e} units", f"2/{steps} of the steps, 4 of {ops} x {blocks:,} blocks"))
    rows.append(("it finds a unit with half of the ops left out", f"{1 - 0.5 ** 8:.1%}", "1 - (1/2)^8: does not depend on the size"))
    rows.append(("a watcher", "the same work again", "finds everything, and doubles the cost if one watches all"))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def body_table():
    print("| what a unit leaves | bytes | kept where | for how long |")
    print("| --- | --- | --- | --- |")
    assignment, result, standing = 150, 1_500, 400
    for row in [
        ("its blocks' proofs, k = 1,024", "68,799 a block that it sealed", "bodies", "archive: for ever; `--blocks-pruning N`: N final blocks"),
        ("result extrinsic", f"about {result:,} and openings", "bodies", "as above"),
        ("audit's answer, 8 blocks, k = 1,024", f"about {8 * 70_000:,}", "bodies", "as above"),
        ("assignment, deadline", f"about {assignment}", "state", "until its result or deadline"),
        ("standing result", f"about {standing}", "state", "until its window ends (16 blocks and what challenges add)"),
        ("record of the result", "about 200", "state", "until its round is replaced"),
        ("round's parameters", "32 a tensor", "state", "for ever"),
        ("output parameters", "4 a parameter", "tensor stores", "while pinned; then the longest unused goes first"),
    ]:
        print("| " + " | ".join(row) + " |")
    print()


if __name__ == "__main__":
    for title, table in [("Scheduler's hook", scheduler_table), ("Scheduler, simulated", simulation_table), ("Proofs", proof_table),
                         ("A unit's traces", body_table), ("Propagation", propagation_table), ("A large model", model_table)]:
        print(f"## {title}")
        table()
