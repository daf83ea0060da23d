#!/usr/bin/env python3
"""Measures a network of real nodes: finality lag, import, full and warp sync, memory. Prints tables for docs/benchmarks.

    scripts/network.py BIN DIGITS [BLOCKS]

BIN is the folder of `labora-node` and `labora`, DIGITS the folder of the digits. Standard library only; everything is in a temporary folder, all
nodes are on loopback, and gone in the end.
"""

import json, os, re, statistics, subprocess, sys, tempfile, time, urllib.request

BIN, DIGITS = sys.argv[1], sys.argv[2]
BLOCKS = int(sys.argv[3]) if len(sys.argv) > 3 else 1000
NODE = os.path.join(BIN, "labora-node")
BLOCK_TIME = 250


class Node:
    """A running node."""

    def __init__(self, spec, base, *arguments):
        self.log = base + ".log"
        self.began = time.time()
        options = ["--chain", spec, "--base-path", base, "--rpc-port", "0", "--no-prometheus", "--no-telemetry"]
        options += ["--listen-addr", "/ip4/127.0.0.1/tcp/0", "--no-mdns", "--unsafe-force-node-key-generation"]
        begin = os.path.getsize(self.log) if os.path.exists(self.log) else 0
        with open(self.log, "a") as log:
            self.process = subprocess.Popen([NODE, *options, *arguments], stdout=log, stderr=log)
        while True:
            with open(self.log) as log:
                log.seek(begin)
                found = re.search(r"Running JSON-RPC server: addr=([0-9.:]+)", log.read())
            if found:
                break
            assert self.process.poll() is None, self.log
            time.sleep(0.01)
        self.rpc = found.group(1)
        self.started = time.time() - self.began

    def ask(self, method, *params):
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        request = urllib.request.Request(f"http://{self.rpc}", body, {"Content-Type": "application/json"})
        answer = json.load(urllib.request.urlopen(request, timeout=30))
        assert "error" not in answer, answer
        return answer["result"]

    def height(self, block=()):
        return int(self.ask("chain_getHeader", *block)["number"], 16)

    def final(self):
        return self.height((self.ask("chain_getFinalizedHead"),))

    def address(self):
        addresses = self.ask("system_localListenAddresses")
        return next(address for address in addresses if "/127.0.0.1/" in address)

    def memory(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            kib = int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1))
        return kib >> 10

    def reach(self, height):
        """Seconds since its start until it is there."""
        while self.height() < height:
            time.sleep(0.02)
        return time.time() - self.began

    def stop(self):
        self.process.terminate()
        self.process.wait()


def labora(*arguments):
    subprocess.run([os.path.join(BIN, "labora"), *arguments], check=True, stdout=subprocess.DEVNULL)


def specification(folder):
    export = [NODE, "export-chain-spec", "--chain"]
    spec = json.loads(subprocess.run([*export, "dev"], check=True, capture_output=True).stdout)
    genesis = spec["genesis"]["runtimeGenesis"]["patch"]
    genesis["work"]["blockTime"] = BLOCK_TIME
    genesis["work"]["initialDifficulty"] = 1 << 33
    plain, raw = os.path.join(folder, "plain.json"), os.path.join(folder, "raw.json")
    with open(plain, "w") as file:
        json.dump(spec, file)
    with open(raw, "wb") as file:
        file.write(subprocess.run([*export, plain, "--raw"], check=True, capture_output=True).stdout)
    return raw


def import_seconds(folder, spec, base, name):
    """Seconds of importing the blocks of a stopped node, without what a start takes, and their bytes."""
    seconds = []
    for count in (1, BLOCKS):
        file, to = os.path.join(folder, f"{name}-{count}"), os.path.join(folder, f"{name}-to-{count}")
        chain = ["--chain", spec, "--base-path"]
        export = [NODE, "export-blocks", *chain, base, "--binary", "--from", "1", "--to", str(count), file]
        subprocess.run(export, check=True, capture_output=True)
        began = time.time()
        subprocess.run([NODE, "import-blocks", *chain, to, "--binary", file], check=True, capture_output=True)
        seconds.append(time.time() - began)
    return seconds[1] - seconds[0], os.path.getsize(file)


def chain(folder, spec, name, slots):
    """A chain of so many blocks: a miner, a follower, an archive."""
    mining = ["--alice", "--mine", "--miner-key", "//Miner", "--mining-threads", "1", "--force-authoring"]
    miner = Node(spec, os.path.join(folder, name), *mining, "--slots", str(slots), "--bond", str(300 * max(slots, 1)))
    others = {
        "following": Node(spec, os.path.join(folder, name + "-f"), "--bootnodes", miner.address()),
        "following, archive": Node(
            spec, os.path.join(folder, name + "-a"), "--state-pruning", "archive", "--bootnodes", miner.address()
        ),
    }
    if slots:
        dataset, url = os.path.join(folder, "digits"), f"ws://{miner.rpc}"
        labora("dataset", "import", DIGITS, "--format", "mnist-json", "--out", dataset, "--batch", "256", "--train", "4096")
        for seed in ("1", "2"):
            register = ["task", "register", "--dataset", dataset, "--layers", "512,512", "--rounds", "400"]
            labora(*register, "--steps", "64", "--seed", seed, "--signer", "//Alice", "--url", url)
    lags = []
    while (height := miner.height()) < BLOCKS:
        lags.append(height - miner.final())
        time.sleep(0.2)
    usefulness = subprocess.run(
        [os.path.join(BIN, "labora"), "status", "--json", "--url", f"ws://{miner.rpc}"], capture_output=True, text=True
    ).stdout
    memory = {"mining": miner.memory()} | {what: node.memory() for what, node in others.items()}
    for node in [*others.values(), miner]:
        node.stop()
    print(f"\n## {name}: {' '.join(usefulness.split())[:600]}")
    print(f"finality lag, blocks: mean {statistics.mean(lags):.2f}, most {max(lags)}")
    print("resident memory, MiB:", memory)


def main():
    with tempfile.TemporaryDirectory() as folder:
        spec = specification(folder)
        for name, slots in (("idle", 0), ("useful", 4)):
            chain(folder, spec, name, slots)
            seconds, size = import_seconds(folder, spec, os.path.join(folder, name), name)
            print(f"import of {BLOCKS} blocks: {seconds:.2f} s, {1000 * seconds / BLOCKS:.2f} ms and {size // BLOCKS} bytes a block")
            # The miner's chain, served without mining. A warp sync begins with three peers.
            source = Node(spec, os.path.join(folder, name), "--force-authoring")
            top = source.height()
            copies = [Node(spec, os.path.join(folder, name + end), "--bootnodes", source.address()) for end in ("-f", "-a")]
            serving = [source, *copies]
            for server in copies:
                server.reach(top)
            for mode in ("full", "warp"):
                arguments = ["--sync", mode, "--bootnodes", *(server.address() for server in serving)]
                node = Node(spec, os.path.join(folder, f"{name}-{mode}"), *arguments)
                print(f"{mode} sync of {top} blocks: {node.reach(top):.2f} s from the start, RPC after {node.started:.2f} s")
                node.stop()
            for server in reversed(serving):
                server.stop()
            again = Node(spec, os.path.join(folder, name))
            print(f"start on {top} blocks: RPC after {again.started:.2f} s")
            again.stop()


main()
