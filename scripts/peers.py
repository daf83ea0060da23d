#!/usr/bin/env python3
"""The engine's peers, one thread each: takes an order a line, answers with milliseconds of processor time.

    matmul SIZE           ONNX Runtime's MatMulInteger (u8 x i8, constant right operand)
    gemm SIZE             oneDNN's dnnl_gemm_u8s8s32, by its C interface
    unit BATCH HIDDEN     8 steps of SGD in float32 on a perceptron 784-HIDDEN-HIDDEN-10: PyTorch if it is there, else numpy

The first line tells what it computes with. Needs the PyPI packages of scripts/requirements.txt. "none" if something cannot be run.
"""
import ctypes
import os
import pathlib
import sys
import time

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

try:
    import torch

    torch.set_num_threads(1)
except ImportError:
    torch = None

try:
    onednn = ctypes.CDLL(str(pathlib.Path(sys.prefix, "lib", "libdnnl.so.3")))
except OSError:
    onednn = None

STEPS = 8
RATE = 0.1


def operands(size):
    right = np.random.default_rng(1).integers(-63, 64, (size, size), dtype=np.int8)
    return np.random.default_rng(2).integers(0, 256, (size, size), dtype=np.uint8), right


def matmul(size):
    a = helper.make_tensor_value_info("a", TensorProto.UINT8, [size, size])
    left, b = operands(size)
    weights = helper.make_tensor("b", TensorProto.INT8, b.shape, b.tobytes(), raw=True)
    c = helper.make_tensor_value_info("c", TensorProto.INT32, [size, size])
    node = helper.make_node("MatMulInteger", ["a", "b"], ["c"])
    graph = helper.make_graph([node], "product", [a], [c], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"a": left})


def gemm(size):
    left, right = operands(size)
    out = np.empty((size, size), dtype=np.int32)
    a, b, c = (matrix.ctypes.data_as(ctypes.c_void_p) for matrix in (left, right, out))
    plain, fixed, n = ctypes.c_char(b"N"), ctypes.c_char(b"F"), ctypes.c_int64(size)
    one, zero, offset = ctypes.c_float(1), ctypes.c_float(0), ctypes.byref(ctypes.c_int32(0))
    no_u8, no_i8 = ctypes.c_uint8(0), ctypes.c_int8(0)

    def run():
        # C = A * B, rows one after the other, no offsets.
        status = onednn.dnnl_gemm_u8s8s32(
            plain, plain, fixed, n, n, n, one, a, n, no_u8, b, n, no_i8, zero, c, n, offset)
        assert status == 0, status

    run()
    row = size // 2
    assert (out[row] == left[row].astype(np.int32) @ right.astype(np.int32)).all()
    return run


def data(batch, hidden):
    random = np.random.default_rng(3)
    sizes = [784, hidden, hidden, 10]
    weights = [random.normal(0, i**-0.5, (i, o)).astype(np.float32) for i, o in zip(sizes, sizes[1:])]
    x = random.random((STEPS, batch, 784), dtype=np.float32)
    labels = random.integers(0, 10, (STEPS, batch))
    return weights, x, labels


def numpy_unit(batch, hidden):
    weights, x, labels = data(batch, hidden)

    def run():
        for step in range(STEPS):
            first = np.maximum(x[step] @ weights[0], 0)
            second = np.maximum(first @ weights[1], 0)
            logits = second @ weights[2]
            gradient = np.exp(logits - logits.max(1, keepdims=True))
            gradient /= gradient.sum(1, keepdims=True)
            gradient[np.arange(batch), labels[step]] -= 1
            gradient /= batch
            back = (gradient @ weights[2].T) * (second > 0)
            further = (back @ weights[1].T) * (first > 0)
            weights[2] -= RATE * (second.T @ gradient)
            weights[1] -= RATE * (first.T @ back)
            weights[0] -= RATE * (x[step].T @ further)

    return run


def torch_unit(batch, hidden):
    weights, x, labels = data(batch, hidden)
    layers = [torch.nn.Parameter(torch.from_numpy(w)) for w in weights]
    optimizer = torch.optim.SGD(layers, RATE)
    x, labels = torch.from_numpy(x), torch.from_numpy(labels)

    def run():
        for step in range(STEPS):
            optimizer.zero_grad()
            logits = ((x[step] @ layers[0]).relu() @ layers[1]).relu() @ layers[2]
            torch.nn.functional.cross_entropy(logits, labels[step]).backward()
            optimizer.step()

    return run


def version():
    class Version(ctypes.Structure):
        _fields_ = [("major", ctypes.c_int), ("minor", ctypes.c_int), ("patch", ctypes.c_int)]

    onednn.dnnl_version.restype = ctypes.POINTER(Version)
    found = onednn.dnnl_version().contents
    return found.major, found.minor, found.patch


def main():
    blas = f"PyTorch {torch.__version__}" if torch else f"numpy {np.__version__} (no PyTorch)"
    dnnl = "oneDNN {}.{}.{}".format(*version()) if onednn else "no oneDNN"
    print(f"ONNX Runtime {onnxruntime.__version__}, {dnnl}, {blas}", flush=True)
    runs = {}
    for line in sys.stdin:
        order, *sizes = line.split()
        if line not in runs:
            make = {"matmul": matmul, "gemm": onednn and gemm, "unit": torch_unit if torch else numpy_unit}.get(order)
            runs[line] = make(*map(int, sizes)) if make else None
        if runs[line] is None:
            print("none", flush=True)
            continue
        start = time.thread_time()
        runs[line]()
        print((time.thread_time() - start) * 1e3, flush=True)


if __name__ == "__main__":
    main()
