#!/usr/bin/env python3
"""Multiply-accumulates per second of ONNX Runtime's MatMulInteger (u8 x i8), one thread: the peer of the engine's products.

Needs the PyPI packages of scripts/requirements.txt. Prints one line per size: size, 10^9 multiply-accumulates per second
(median of the runs), least, most.
"""
import statistics
import sys
import time

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper


def session(size):
    a = helper.make_tensor_value_info("a", TensorProto.UINT8, [size, size])
    b = np.random.default_rng(1).integers(-63, 64, (size, size), dtype=np.int8)
    weights = helper.make_tensor("b", TensorProto.INT8, b.shape, b.tobytes(), raw=True)
    c = helper.make_tensor_value_info("c", TensorProto.INT32, [size, size])
    node = helper.make_node("MatMulInteger", ["a", "b"], ["c"])
    graph = helper.make_graph([node], "product", [a], [c], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def main():
    for size in map(int, sys.argv[1:] or ["512", "1024", "2048"]):
        product = session(size)
        a = np.random.default_rng(2).integers(0, 256, (size, size), dtype=np.uint8)
        rates = []
        for run in range(12):
            start = time.perf_counter()
            product.run(None, {"a": a})
            if run > 1:  # the first runs warm up
                rates.append(size**3 / (time.perf_counter() - start) / 1e9)
        print(f"{size} {statistics.median(rates):.0f} {min(rates):.0f} {max(rates):.0f}")


if __name__ == "__main__":
    main()
