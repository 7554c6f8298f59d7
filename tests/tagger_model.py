"""A small tagger for the tests: a real ONNX file in either layout of WD taggers, whose tags say which colours a picture has.

Its scores follow from the mean colour alone, so that a test can say which tags a picture must get. Needs the package onnx.
"""

import csv
import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE_PX = 32
# name, kind, weights on mean blue, green and red (0 to 1), bias; the score is the sigmoid of their sum
ROWS = (
    ("general", "rating", (0, 0, 0), 1.0),
    ("sensitive", "rating", (0, 0, 0), -1.0),
    ("questionable", "rating", (0, 0, 8), -6.0),
    ("explicit", "rating", (0, 0, 0), -5.0),
    ("blue_theme", "general", (20, -10, -10), -5.0),
    ("green_theme", "general", (-10, 20, -10), -5.0),
    ("red_theme", "general", (-10, -10, 20), -5.0),
    ("1girl", "general", (0, 0, 0), 3.0),
    ("red_hair", "general", (0, 0, 12), -6.0),
    ("signature", "general", (0, 0, 0), -0.5),
    ("^_^", "general", (0, 0, 0), 2.0),
    ("white_background", "general", (10, 10, 10), -25.0),
    ("anna_(fairy_tale)", "character", (0, 0, 10), -5.5),
    ("bob_(fairy_tale)", "character", (10, 0, 0), -5.5),
)
CATEGORY = {"rating": "9", "general": "0", "character": "4"}


def write(folder: Path, *, other: bool = False, batch: int | None = None, rows=ROWS) -> Path:
    """The model with its list of tags. `other`: tag_mapping.json, NCHW and logits; `batch`: a fixed one."""
    folder.mkdir(parents=True, exist_ok=True)
    if other:
        mapping = {str(number): {"tag": name, "category": kind.capitalize()} for number, (name, kind, _, _) in enumerate(rows)}
        (folder / "tag_mapping.json").write_text(json.dumps(mapping), encoding="utf-8")
    else:
        with (folder / "selected_tags.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("tag_id", "name", "category", "count"))
            writer.writerows((number, name, CATEGORY[kind], 1000) for number, (name, kind, _, _) in enumerate(rows))
    onnx.save(model(rows, other, batch), folder / ("model_optimized.onnx" if other else "model.onnx"))
    return folder


def model(rows, other: bool, batch: int | None) -> onnx.ModelProto:
    weights = np.array([row[2] for row in rows], np.float32).T
    bias = np.array([row[3] for row in rows], np.float32)
    if other:  # it gets pixels of -1 to 1
        weights, bias = weights / 2, bias + weights.sum(0) / 2
    else:
        weights = weights / 255
    shape = (batch or "batch", 3, SIDE_PX, SIDE_PX) if other else (batch or "batch", SIDE_PX, SIDE_PX, 3)
    constants = {"weights": weights, "bias": bias, "axes": np.array([2, 3] if other else [1, 2], np.int64)}
    nodes = [
        helper.make_node("ReduceMean", ["input", "axes"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "weights"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["output" if other else "logits"]),
        *([] if other else [helper.make_node("Sigmoid", ["logits"], ["output"])]),
    ]
    graph = helper.make_graph(
        nodes,
        "tagger",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, (shape[0], len(rows)))],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
