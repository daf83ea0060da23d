#!/usr/bin/env python3
"""What a chain's blocks and state consist of: `scripts/growth.py http://127.0.0.1:9944`. Reads RPC only; Python's standard library alone.

Bodies: bytes of extrinsics by call, over all blocks that the node has. State: entries and bytes by pallet, at the best block.
"""
import collections
import json
import sys
import urllib.request

# Pallet and call indices of runtime/src/lib.rs and the pallets; others are named by number.
CALLS = {(1, 0): "timestamp.set", (10, 0): "work.prove", (11, 0): "tasks.register", (12, 0): "workers.register"}
# The first byte of an extrinsic without a signature, version 4 and 5.
BARE = (0x04, 0x05)


class Node:
    def __init__(self, url):
        self.url = url

    def ask(self, method, *params):
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        request = urllib.request.Request(self.url, body, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            answer = json.load(answer)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["result"]


def compact(data):
    """A SCALE compact integer, and how many bytes it takes."""
    mode = data[0] & 3
    if mode == 3:
        length = (data[0] >> 2) + 4
        return int.from_bytes(data[1:1 + length], "little"), 1 + length
    length = 1 << mode
    return int.from_bytes(data[:length], "little") >> 2, length


def kind(extrinsic):
    """The call of an extrinsic without a signature; a signed one by its size, as its extensions are not decoded here."""
    _, skip = compact(extrinsic)
    if extrinsic[skip] in BARE:
        call = extrinsic[skip + 1], extrinsic[skip + 2]
        return CALLS.get(call, f"unsigned, pallet {call[0]} call {call[1]}")
    size = len(extrinsic)
    return "signed, below 500 bytes" if size < 500 else "signed, below 20 kB" if size < 20_000 else "signed, 20 kB and more"


def bodies(node):
    height = int(node.ask("chain_getHeader")["number"], 16)
    count, total, largest = collections.Counter(), collections.Counter(), collections.Counter()
    blocks = 0
    for number in range(1, height + 1):
        block = node.ask("chain_getBlock", node.ask("chain_getBlockHash", number))
        if block is None:
            continue
        blocks += 1
        for text in block["block"]["extrinsics"]:
            extrinsic = bytes.fromhex(text[2:])
            name = kind(extrinsic)
            count[name] += 1
            total[name] += len(extrinsic)
            largest[name] = max(largest[name], len(extrinsic))
    print(f"{blocks} blocks with bodies, up to {height}\n")
    print("| extrinsics | how many | bytes | mean | largest |\n| --- | --- | --- | --- | --- |")
    for name, size in total.most_common():
        print(f"| {name} | {count[name]} | {size:,} | {size // count[name]:,} | {largest[name]:,} |")


def state(node):
    entries, size = collections.Counter(), collections.Counter()
    last = None
    while True:
        keys = node.ask("state_getKeysPaged", "0x", 1_000, last)
        if not keys:
            break
        for key in keys:
            prefix = key[:34]
            entries[prefix] += 1
            size[prefix] += (len(key) - 2) // 2 + node.ask("state_getStorageSize", key)
        last = keys[-1]
    print("\n| pallet (twox-128 of its name) | entries | bytes, keys included |\n| --- | --- | --- |")
    for prefix, total in size.most_common():
        print(f"| {prefix} | {entries[prefix]:,} | {total:,} |")
    print(f"| all | {sum(entries.values()):,} | {sum(size.values()):,} |")


if __name__ == "__main__":
    node = Node(sys.argv[1])
    bodies(node)
    state(node)
