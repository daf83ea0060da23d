#!/usr/bin/env python3
"""Sketch of the chain's training arithmetic in numpy, to choose shifts, ranges and batch orders.

The model is a multilayer perceptron of two hidden layers on the 10,000 digits that scripts/mnist.sh extracts,
trained by local SGD: each round, K units take H steps from the same parameters, each on its own sequence of
batches, and the elementwise mean of their results starts the next round.

It follows `eval_block` in crates/graph bit for bit, save that the keys of stochastic rounding come from numpy and
that --octave chooses the softmax table: logits in [-63, 63] diverge with 8 steps an octave and train with 4.
Operands are integers in [-63, 63] held in float32: every product has k <= 1024, so its sums stay below
1024 * 63 * 63 < 2^24 and sgemm is exact. Master parameters are int32.

One JSON line per round: {"round", "rate", "seconds", "accuracy", "parameter_max"}.
"""
import argparse
import json
import pathlib
import time

import numpy as np

OPERAND_MAX = 63
CLASSES = 10
TRAIN = 8192  # of 10,000; the rest are for the test
OCTAVE = [1073741824, 984625597, 902905651, 827968165, 759250125, 696235434, 638450708, 585461880]

# Which of the dataset's N batches unit `u` of `K` uses at local step `s` of `H` in round `r`.
ORDERS = {
    "A": lambda r, u, s, k, h, n: s * k + (u + r) % k,  # its own share, handed on each round
    "B": lambda r, u, s, k, h, n: s + u * n // k + r,  # all batches in turn, each unit from another offset
    "C": lambda r, u, s, k, h, n: s * k + u,  # its own share, the same in every round
    "D": lambda r, u, s, k, h, n: s * (2 * u + 1) + u * n // k + r,  # all batches, each unit at another stride
    "E": lambda r, u, s, k, h, n: r * h + s + u * n // k,  # B that goes on where the round before ended
}


def mix32(x):
    """The finalizer "lowbias32", a bijection of 32 bits."""
    x = x ^ (x >> np.uint32(16))
    x = x * np.uint32(0x7FEB352D)
    x = x ^ (x >> np.uint32(15))
    x = x * np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))


def load(folder, seed):
    """Features 0..63 and labels, all digits in the order of `mix32(index ^ mix32(seed))`, split in train and test."""
    features, labels = [], []
    for digit in range(CLASSES):
        data = json.loads((pathlib.Path(folder) / f"{digit}.json").read_text())["data"]
        # Pixels have three decimals: in integers, so that every language rounds alike.
        milli = np.rint(np.array(data) * 1000).astype(np.int64)
        features.append(((milli * OPERAND_MAX + 500) // 1000).reshape(-1, 784))
        labels.append(np.full(len(features[-1]), digit))
    features, labels = np.concatenate(features), np.concatenate(labels)
    key = mix32(np.array([seed], np.uint32))
    order = np.argsort(mix32(np.arange(len(labels), dtype=np.uint32) ^ key), kind="stable")
    features, labels = features[order].astype(np.float32), labels[order]
    return (features[:TRAIN], labels[:TRAIN]), (features[TRAIN:], labels[TRAIN:])


def nearest(acc, shift, low):
    acc = acc.astype(np.int32)
    acc += np.int32(1 << (shift - 1))
    acc >>= np.int32(shift)
    return np.clip(acc, low, OPERAND_MAX, out=acc).astype(np.float32)


def stochastic(acc, shift, key):
    rows, cols = (np.arange(n, dtype=np.uint32) for n in acc.shape)
    bits = mix32(key ^ (rows[:, None] << np.uint32(16) ^ cols))
    acc = acc.astype(np.int32)
    acc += (bits & np.uint32((1 << shift) - 1)).view(np.int32)
    acc >>= np.int32(shift)
    return np.clip(acc, -OPERAND_MAX, OPERAND_MAX, out=acc).astype(np.float32)


def quantize(w):
    return np.clip((w + np.int32(1 << 15)) >> np.int32(16), -OPERAND_MAX, OPERAND_MAX).astype(np.float32)


def forward(q, x, shifts):
    h1 = nearest(x @ q[0], shifts[0], 0)
    h2 = nearest(h1 @ q[1], shifts[1], 0)
    return h1, h2, nearest(h2 @ q[2], shifts[2], -OPERAND_MAX)


def exp2_table(steps):
    """`2^16 * 2^(-d/steps)`, rounded, for 2, 4 or 8 steps an octave."""
    octave = OCTAVE[:: 8 // steps]
    return np.array([(octave[d % steps] + (1 << (13 + d // steps))) >> (14 + d // steps) for d in range(127)], np.int64)


def softmax_gradient(z, labels, table):
    z = z.astype(np.int64)
    weight = table[z.max(axis=1, keepdims=True) - z]
    total = weight.sum(axis=1, keepdims=True)
    gradient = (weight * OPERAND_MAX + total // 2) // total
    rows = np.arange(len(labels))
    gradient[rows, labels] = 0
    gradient[rows, labels] = -np.minimum(gradient.sum(axis=1), OPERAND_MAX)
    return gradient.astype(np.float32)


def step(w, x, labels, args, rate, keys):
    """One step of SGD, in place."""
    q = [quantize(p) for p in w]
    h1, h2, z = forward(q, x, args.shifts)
    g = softmax_gradient(z, labels, args.table)
    d2 = stochastic(g @ q[2].T, args.back[0], keys[0]) * (h2 > 0)
    d1 = stochastic(d2 @ q[1].T, args.back[1], keys[1]) * (h1 > 0)
    for p, a, b in zip(w, (x, h1, h2), (d1, d2, g)):
        change = (a.T @ b).astype(np.int32)
        if rate >= 0:
            change <<= np.int32(rate)
        else:
            change = (change + np.int32(1 << (-rate - 1))) >> np.int32(-rate)
        p -= change


def main():
    numbers = lambda text: [int(x) for x in text.split(",") if x]
    parser = argparse.ArgumentParser(description="Train in the chain's arithmetic.")
    parser.add_argument("digits", help="folder made by scripts/mnist.sh")
    parser.add_argument("--order", choices=ORDERS, default="E", help="batch order")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hidden", type=numbers, default=[512, 512], help="widths of the hidden layers")
    parser.add_argument("--ranges", type=numbers, default=[16, 10, 20], help="largest initial weights")
    parser.add_argument("--shifts", type=numbers, default=[9, 8, 8], help="forward")
    parser.add_argument("--back", type=numbers, default=[5, 6], help="backward shifts, of layer 3 and layer 2")
    parser.add_argument("--rate", type=int, default=2, help="learning rate, a shift to the left")
    parser.add_argument("--drops", type=numbers, default=[4, 5], help="rounds before which the rate falls by one")
    parser.add_argument("--octave", type=int, choices=(2, 4, 8), default=4, help="steps of the softmax table an octave")
    parser.add_argument("--units", type=int, default=4)
    parser.add_argument("--steps", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--batch", type=int, default=256)
    args = parser.parse_args()
    args.table = exp2_table(args.octave)

    (x, y), (test_x, test_y) = load(args.digits, args.seed)
    rng = np.random.default_rng(args.seed)
    sizes = [x.shape[1], *args.hidden, CLASSES]
    shapes = zip(sizes, sizes[1:], args.ranges)
    w = [rng.integers(-m, m + 1, (i, o), dtype=np.int32) << np.int32(16) for i, o, m in shapes]
    batches = len(x) // args.batch
    started = time.time()
    for r in range(args.rounds):
        rate = args.rate - sum(r >= drop for drop in args.drops)
        sums = [np.zeros(p.shape, np.int64) for p in w]
        for u in range(args.units):
            local = [p.copy() for p in w]
            for s in range(args.steps):
                at = ORDERS[args.order](r, u, s, args.units, args.steps, batches) % batches * args.batch
                keys = rng.integers(0, 1 << 32, 2, dtype=np.uint32)
                step(local, x[at : at + args.batch], y[at : at + args.batch], args, rate, keys)
            for total, p in zip(sums, local):
                total += p
        w = [((total + args.units // 2) // args.units).astype(np.int32) for total in sums]  # half up
        largest = int(max(np.abs(p).max() for p in w))
        assert largest < 1 << 30, "parameters near saturation, which this sketch leaves out"
        z = forward([quantize(p) for p in w], test_x, args.shifts)[2]
        accuracy = float((z.argmax(axis=1) == test_y).mean())
        line = {"round": r, "rate": rate, "seconds": round(time.time() - started, 1)}
        print(json.dumps(line | {"accuracy": round(accuracy, 5), "parameter_max": largest}), flush=True)


if __name__ == "__main__":
    main()
