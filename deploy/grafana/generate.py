#!/usr/bin/env python3
"""Writes dashboards/labora.json beside this script: one list of panels is easier to change than a thousand lines of JSON."""
import json
import pathlib

# Title, unit, [(expression, legend)], by rows. `$instance` is the node.
NODE = 'instance=~"$instance"'
ROWS = {
    "Chain": [
        ("Height", "none", [(f"substrate_block_height{{{NODE},status=\"best\"}}", "{{instance}} best"),
                            (f"substrate_block_height{{{NODE},status=\"finalized\"}}", "{{instance}} final")]),
        ("Finality lag", "blocks", [(f"labora_finality_lag_blocks{{{NODE}}}", "{{instance}}")]),
        ("Block time", "s", [(f"1 / rate(substrate_block_height{{{NODE},status=\"best\"}}[10m])", "{{instance}}")]),
        ("Usefulness", "none", [(f"labora_usefulness_ratio{{{NODE}}}", "{{instance}} {{span}}")]),
        ("Difficulty", "MAC", [(f"labora_difficulty_macs{{{NODE}}}", "{{instance}}")]),
        ("Final blocks by work, a minute", "none",
         [(f"60 * rate(labora_final_blocks_total{{{NODE}}}[10m])", "{{instance}} {{whose}} {{work}}")]),
    ],
    "Node": [
        ("Peers", "none", [(f"substrate_sub_libp2p_peers_count{{{NODE}}}", "{{instance}}")]),
        ("Import of a block, 95th percentile", "s",
         [(f"histogram_quantile(0.95, sum by (instance, le) "
           f"(rate(substrate_block_verification_and_import_time_bucket{{{NODE}}}[10m])))", "{{instance}}")]),
        ("Verifying a work proof, median", "s",
         [(f"histogram_quantile(0.5, sum by (instance, work, le) "
           f"(rate(labora_proof_verification_seconds_bucket{{{NODE}}}[30m])))", "{{instance}} {{work}}")]),
        ("Work proof, mean size", "bytes",
         [(f"rate(labora_proof_bytes_sum{{{NODE}}}[30m]) / rate(labora_proof_bytes_count{{{NODE}}}[30m])",
           "{{instance}} {{work}}")]),
        ("Transactions that wait", "none", [(f"substrate_ready_transactions_number{{{NODE}}}", "{{instance}}")]),
        ("Network", "Bps", [(f"rate(substrate_sub_libp2p_network_bytes_total{{{NODE}}}[5m])",
                             "{{instance}} {{direction}}")]),
    ],
    "Work": [
        ("Open tasks", "none", [(f"labora_open_tasks{{{NODE}}}", "{{instance}}")]),
        ("Units of open tasks", "none", [(f"labora_units{{{NODE}}}", "{{instance}} {{state}}")]),
        ("Registered workers", "none", [(f"labora_workers{{{NODE}}}", "{{instance}}")]),
        ("Results whose windows run", "none", [(f"labora_standing_results{{{NODE}}}", "{{instance}}")]),
        ("Results, an hour", "none",
         [(f"3600 * rate(labora_results_total{{{NODE}}}[30m])", "{{instance}} {{whose}} {{outcome}}")]),
        ("Audits and challenges, an hour", "none",
         [(f"3600 * rate(labora_disputes_total{{{NODE}}}[30m])", "{{instance}} {{whose}} {{event}}")]),
    ],
    "This miner": [
        ("Units", "none", [(f"labora_miner_units{{{NODE}}}", "{{instance}} {{state}}")]),
        ("Slots", "none", [(f"labora_miner_slots{{{NODE}}}", "{{instance}} {{state}}")]),
        ("Multiply-accumulates a second", "none", [(f"rate(labora_miner_macs{{{NODE}}}[5m])", "{{instance}} {{work}}")]),
        ("Tickets a second", "none", [(f"rate(labora_miner_tickets{{{NODE}}}[5m])", "{{instance}} {{work}}")]),
        ("Winning tickets, an hour", "none",
         [(f"3600 * rate(labora_miner_tickets_won{{{NODE}}}[30m])", "{{instance}} {{work}}")]),
        ("Account, LAB", "none", [(f"labora_miner_balance_lab{{{NODE}}}", "{{instance}} {{part}}")]),
        ("Earned and lost, LAB", "none",
         [(f"labora_rewards_lab_total{{{NODE},whose=\"own\"}}", "{{instance}} {{kind}}")]),
    ],
    "Tensors": [
        ("Store", "bytes", [(f"labora_tensor_store_bytes{{{NODE}}}", "{{instance}} kept"),
                            (f"labora_tensor_store_pinned_bytes{{{NODE}}}", "{{instance}} pinned"),
                            (f"labora_tensor_store_quota_bytes{{{NODE}}}", "{{instance}} quota")]),
        ("Tensors", "none", [(f"labora_tensor_store_tensors{{{NODE}}}", "{{instance}} kept"),
                             (f"labora_tensor_store_pinned{{{NODE}}}", "{{instance}} pinned"),
                             (f"labora_tensors_wanted{{{NODE}}}", "{{instance}} wanted")]),
        ("Exchange", "Bps", [(f"rate(labora_tensor_sent_bytes{{{NODE}}}[5m])", "{{instance}} sent"),
                             (f"rate(labora_tensor_received_bytes{{{NODE}}}[5m])", "{{instance}} received")]),
        ("Results computed again (--watch)", "none", [(f"labora_watched_right{{{NODE}}}", "{{instance}} right"),
                                                      (f"labora_watched_wrong{{{NODE}}}", "{{instance}} wrong"),
                                                      (f"labora_watched_unknown{{{NODE}}}", "{{instance}} unknown")]),
    ],
}
COLUMNS, HEIGHT = 3, 7
WIDTH = 24 // COLUMNS


def dashboard():
    source = {"type": "prometheus", "uid": "prometheus"}
    panels, y = [], 0
    for row, contents in ROWS.items():
        panels.append({"type": "row", "title": row, "collapsed": False, "panels": [], "id": len(panels) + 1,
                       "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}})
        y += 1
        for number, (title, unit, series) in enumerate(contents):
            position = {"x": number % COLUMNS * WIDTH, "y": y + number // COLUMNS * HEIGHT, "w": WIDTH, "h": HEIGHT}
            targets = [{"datasource": source, "expr": expression, "legendFormat": legend, "refId": chr(ord("A") + i)}
                       for i, (expression, legend) in enumerate(series)]
            panels.append({"type": "timeseries", "title": title, "id": len(panels) + 1, "gridPos": position,
                           "datasource": source, "targets": targets,
                           "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []}})
        y += -(-len(contents) // COLUMNS) * HEIGHT
    instance = {"name": "instance", "type": "query", "datasource": source, "includeAll": True, "multi": True,
                "query": "label_values(substrate_block_height, instance)", "refresh": 2,
                "current": {"text": "All", "value": "$__all"}}
    return {"title": "Labora", "uid": "labora", "schemaVersion": 39, "version": 1, "editable": True, "refresh": "15s",
            "time": {"from": "now-3h", "to": "now"}, "tags": ["labora"], "templating": {"list": [instance]},
            "panels": panels}


if __name__ == "__main__":
    path = pathlib.Path(__file__).parent / "dashboards" / "labora.json"
    path.write_text(json.dumps(dashboard(), indent=1) + "\n")
