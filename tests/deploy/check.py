#!/usr/bin/env python3
"""Checks deploy/ and docs/operating.md against a real node: `tests/deploy/check.py PATH_TO_LABORA_NODE`.

Every metric that the dashboard and the alerts ask for is served by a mining, watching node; every metric of ours is in the handbook's
list and the other way round; every command line of the units and of the compose file is one that the node understands; the units
pass systemd-analyze, where there is one. Python's standard library alone.
"""
import json
import os
import pathlib
import re
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
NAME = re.compile(r"\b(?:labora|substrate)_[a-z0-9_]+")
# What PromQL appends to a histogram's name.
SUFFIX = re.compile(r"_(bucket|sum|count)$")
# Seconds that a slow machine may take until a node serves everything.
PATIENCE = 180


def names_of_dashboard():
    dashboard = json.loads((DEPLOY / "grafana/dashboards/labora.json").read_text())
    targets = [target for panel in dashboard["panels"] for target in panel.get("targets", [])]
    queries = [variable["query"] for variable in dashboard["templating"]["list"]]
    assert targets, "the dashboard has no panels"
    return {name for text in [target["expr"] for target in targets] + queries for name in NAME.findall(text)}


def names_of_alerts():
    expressions = re.findall(r"expr: (.*)", (DEPLOY / "alerts.yml").read_text())
    assert expressions, "there are no alerts"
    return {name for expression in expressions for name in NAME.findall(expression)}


def names_of_source():
    """The node's own metrics: strings that are nothing but a name."""
    # Chains have names of the same form.
    sources = [path for path in (ROOT / "node/src").rglob("*.rs") if path.name != "chain_spec.rs"]
    texts = [path.read_text() for path in sources]
    return {name for text in texts for name in re.findall(r'"(labora_[a-z_]+)"', text)}


def names_of_handbook():
    """The first column of its tables."""
    text = (ROOT / "docs/operating.md").read_text()
    return set(re.findall(r"^\| `(labora_[a-z_]+)", text, re.MULTILINE))


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def lacking(wanted, names):
    """What is wanted and not there, neither by its name nor as a part of a histogram."""
    return {name for name in wanted if name not in names and SUFFIX.sub("", name) not in names}


def not_served(binary, wanted):
    """Which of these metrics a development node does not serve, however long one waits."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        log = open(os.path.join(folder, "log"), "w+")
        node = subprocess.Popen(
            [binary, "--dev", "--mine", "--watch", "--mining-threads", "1", "--base-path", os.path.join(folder, "chain"),
             "--rpc-port", "0", "--prometheus-port", str(port), "--no-telemetry", "--no-mdns",
             "--listen-addr", "/ip4/127.0.0.1/tcp/0"], stdout=log, stderr=log)
        try:
            names, deadline = set(), time.monotonic() + PATIENCE
            while time.monotonic() < deadline and lacking(wanted, names):
                assert node.poll() is None, pathlib.Path(log.name).read_text()[-2000:]
                time.sleep(0.5)
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                        names = set(re.findall(r"^# TYPE (\S+)", answer.read().decode(), re.MULTILINE))
                except OSError:
                    continue
            return lacking(wanted, names)
        finally:
            node.send_signal(signal.SIGTERM)
            try:
                node.wait(30)
            except subprocess.TimeoutExpired:
                node.kill()
                node.wait()
            log.close()


def command_lines():
    """The node's arguments in the units and in the compose file."""
    lines = {}
    for unit in sorted((DEPLOY / "systemd").glob("*.service")):
        start = re.search(r"^ExecStart=\S+ (.*)", unit.read_text(), re.MULTILINE)
        lines[unit.name] = start.group(1).replace("$LABORA_ARGS", "").split()
    compose = (DEPLOY / "compose.yaml").read_text()
    for number, found in enumerate(re.findall(r"command: \[(--chain.*?)\]", compose, re.DOTALL)):
        bootnode = "/ip4/127.0.0.1/tcp/30333/ws/p2p/12D3KooWGjDosb8P3Db6atZXHjXJGvw2HZ614ozrVQWJw11hXWPb"
        words = re.sub(r'"\$\{LABORA_BOOTNODE[^"]*"', bootnode, found).replace('"', "")
        lines[f"compose.yaml, service {number + 1}"] = [word.strip() for word in words.split(",")]
    return lines


def understood(binary, arguments):
    """Whether the node parses the arguments: it answers --help only when all before it are known."""
    return subprocess.run([binary, *arguments, "--help"], capture_output=True).returncode == 0


def main():
    binary = sys.argv[1]
    faults = []
    source, handbook = names_of_source(), names_of_handbook()
    faults += [f"docs/operating.md does not list {name}" for name in sorted(source - handbook)]
    faults += [f"docs/operating.md lists {name}, which the node does not have" for name in sorted(handbook - source)]

    wanted = names_of_dashboard() | names_of_alerts()
    missing = sorted(not_served(binary, wanted))
    faults += [f"the dashboard or an alert asks for {name}, which a node does not serve" for name in missing]

    generated = runpy.run_path(str(DEPLOY / "grafana/generate.py"))["dashboard"]()
    if generated != json.loads((DEPLOY / "grafana/dashboards/labora.json").read_text()):
        faults.append("the dashboard is not what deploy/grafana/generate.py writes")

    lines = command_lines()
    assert len(lines) == 6, f"three units and three services, not {list(lines)}"
    assert not understood(binary, ["--no-such-flag"]), "this check cannot fail"
    faults += [f"{place}: not understood: {' '.join(line)}" for place, line in lines.items() if not understood(binary, line)]

    if shutil.which("systemd-analyze"):
        for unit in sorted((DEPLOY / "systemd").glob("*.service")):
            with tempfile.TemporaryDirectory() as folder:
                # With the executable where it is here.
                copy = pathlib.Path(folder) / unit.name
                copy.write_text(unit.read_text().replace("/usr/local/bin/labora-node", os.path.abspath(binary)))
                verified = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True)
                said = [line for line in verified.stderr.splitlines() if unit.name in line]
                faults += [f"systemd-analyze: {line}" for line in said]
    else:
        print("there is no systemd-analyze here: the units are not verified")

    for fault in faults:
        print(fault)
    print(f"{len(wanted)} metrics of dashboard and alerts, {len(source)} of the node: {len(faults)} faults")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
