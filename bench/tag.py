"""Tagging beside a plain loop (decode, resize, infer, one picture at a time) and, where it is given, beside the reference script.

  python bench/tag.py [--pictures 500] [--heavy 24] [--rounds 3] [--peer sd-scripts=PATH] [--peer-python PYTHON]

Two models with random weights and as many tags as the real ones: a light one, so that decoding and resizing are what takes the time, and
one of a ViT-B's size, so that the model is. Whole programs are timed, their start included, in turns, each on a fresh copy of the
pictures; the captions are compared. Pictures are 768 to 1600 px, JPEG and PNG in turns, one in eight transparent.
"""

import argparse
import csv
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "py"))

from lorabake import environment

NUM_TAGS, NUM_CHARACTERS, SIDE_PX = 9000, 1800, 448
WIDTH, LAYERS, HEADS, PATCH_PX = 768, 12, 12, 16


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=500, help="for the light model")
    parser.add_argument("--heavy", type=int, default=24, help="for the model of a ViT's size")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer", default="", metavar="sd-scripts=PATH")
    parser.add_argument("--peer-python", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--plain", nargs=2, help=argparse.SUPPRESS)  # the loop itself: model, pictures
    return parser.parse_args()


def main() -> None:
    options = parse()
    environment.ensure(__file__)
    environment.add_test_packages()  # onnx writes the models
    if options.plain:
        plain_loop(*map(Path, options.plain))
        return
    if not options.peer:
        print("the reference script is not compared: --peer sd-scripts=PATH")
    with tempfile.TemporaryDirectory() as name:
        for kind, count in (("light", options.pictures), ("ViT-size", options.heavy)):
            compare(Path(name) / kind, kind, count, options)


def compare(work: Path, kind: str, count: int, options: argparse.Namespace) -> None:
    draw(work / "pictures", count)
    model = write_model(work / "models" / "own_tagger", heavy=kind != "light")
    sides = {
        "plain loop": lambda place: [sys.executable, __file__, "--plain", str(model), str(place)],
        "lorabake": lambda place: [sys.executable, str(ROOT / "py" / "tag.py"), str(place), "--model", str(model), "--underscores"],
    }
    if options.peer:
        script = Path(options.peer.partition("=")[2]) / "finetune" / "tag_images_by_wd14_tagger.py"
        words = ["--onnx", "--model_dir", str(model.parent), "--repo_id", "own/tagger", "--thresh", "0.35"]
        sides["reference"] = lambda place: [options.peer_python, str(script), *words, str(place)]
    times: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(options.rounds):
        for name, command in sides.items():
            times[name].append(timed(work / "pictures", work / name, command))
        print(f"{kind}, round {number + 1}: " + ", ".join(f"{name} {found[-1]:.1f} s" for name, found in times.items()), flush=True)
    ours = statistics.median(times["lorabake"])
    for name, found in times.items():
        middle = statistics.median(found)
        ratio = f"{middle / ours:.2f} times ours" if name != "lorabake" else f"{count / ours:.1f} pictures/s"
        print(f"{kind}, {count} pictures, median: {name} {middle:.1f} s ({ratio}); {same_tags(work / name, work / 'lorabake')}")


def timed(source: Path, place: Path, command) -> float:
    """Seconds from start to end on a fresh copy, the program's own start included."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(source, place)
    variables = {**os.environ, "HF_HUB_OFFLINE": "1"}
    began = time.monotonic()
    done = subprocess.run(command(place), capture_output=True, text=True, env=variables, check=False)
    if done.returncode:
        sys.exit(f"{place.name}: {done.stderr[-3000:]}")
    return time.monotonic() - began


def same_tags(one: Path, two: Path) -> str:
    """How many captions hold the same tags."""

    def tags(folder: Path) -> dict[str, set[str]]:
        return {file.name: {tag.strip() for tag in file.read_text(encoding="utf-8").split(",")} for file in folder.glob("*.txt")}

    first, second = tags(one), tags(two)
    same = sum(first.get(name) == own for name, own in second.items())
    num_tags = sum(map(len, second.values()))
    odd = sum(len(own ^ first.get(name, set())) for name, own in second.items())
    return f"{same} of {len(second)} captions the same as ours, {odd} of {num_tags} tags differ"


def plain_loop(model: Path, folder: Path) -> None:
    """What a script of one evening does, with the same decoding, resizing and labels as ours."""
    import numpy as np
    import onnxruntime as ort

    from lorabake import images, tag_choice, tag_labels, tagger_input

    labels = tag_labels.read(model)
    session = ort.InferenceSession(str(model / "model.onnx"), providers=["CPUExecutionProvider"])
    choice = tag_choice.Choice(underscores=True)
    for path in sorted(folder.iterdir()):
        square = tagger_input.square(images.composite(path, "white"), SIDE_PX)
        scores = session.run(None, {"input": square[None].astype(np.float32)})[0][0]
        tags = tag_choice.tags_of(dict(enumerate(map(float, scores))), labels, choice)
        path.with_suffix(".txt").write_text(", ".join(tags) + "\n", encoding="utf-8")


def draw(folder: Path, count: int) -> None:
    import numpy as np
    from PIL import Image

    folder.mkdir(parents=True)
    for number in range(count):
        random = np.random.default_rng(number)
        size = tuple(int(side) for side in random.integers(768, 1601, 2))
        cells = random.integers(0, 256, (24, 24, 4), np.uint8)
        pixels = np.asarray(Image.fromarray(cells).resize(size, Image.Resampling.BICUBIC)).copy()
        grain = random.integers(-3, 4, pixels[..., :3].shape)
        pixels[..., :3] = np.clip(pixels[..., :3].astype(int) + grain, 0, 255)
        picture = Image.fromarray(pixels)
        if number % 2:
            picture.convert("RGB").save(folder / f"{number:04}.jpg", quality=92)
        else:
            (picture if number % 8 == 0 else picture.convert("RGB")).save(folder / f"{number:04}.png", compress_level=4)


def write_model(folder: Path, *, heavy: bool) -> Path:
    """An ONNX file in the layout of WD taggers: patches, attention layers or none, the mean of the tokens, a score a tag."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    nodes, constants = [], {}

    def weight(name: str, *shape: int, scale: float) -> str:
        constants[name] = (random.standard_normal(shape, dtype=np.float32) * scale).astype(np.float32)
        return name

    def add(operator: str, *inputs: str, **facts) -> str:
        output = f"node{len(nodes)}"
        nodes.append(helper.make_node(operator, list(inputs), [output], **facts))
        return output

    def constant(name: str, values, kind=np.int64) -> str:
        constants[name] = np.array(values, kind)
        return name

    width = WIDTH if heavy else 64
    x = add("Transpose", "input", perm=[0, 3, 1, 2])
    x = add("Mul", x, constant("unit", 1 / 127.5, np.float32))
    x = add("Conv", x, weight("patch", width, 3, PATCH_PX, PATCH_PX, scale=0.05), strides=[PATCH_PX, PATCH_PX])
    x = add("Reshape", x, constant("tokens", [0, width, -1]))
    x = add("Transpose", x, perm=[0, 2, 1])
    for layer in range(LAYERS if heavy else 0):
        x = attention(add, weight, constant, x, layer)
    x = add("ReduceMean", x, constant("over", [1]), keepdims=0)
    x = add("MatMul", x, weight("head", width, NUM_TAGS + 4, scale=0.6))
    nodes.append(helper.make_node("Sigmoid", [add("Sub", x, constant("rare", 19.0, np.float32))], ["output"]))
    graph = helper.make_graph(
        nodes,
        "tagger",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ("batch", SIDE_PX, SIDE_PX, 3))],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ("batch", NUM_TAGS + 4))],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), folder / "model.onnx")
    with (folder / "selected_tags.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("tag_id", "name", "category", "count"))
        for number in range(NUM_TAGS + 4):
            category = "9" if number < 4 else "4" if number >= NUM_TAGS + 4 - NUM_CHARACTERS else "0"
            rows.writerow((number, f"tag_{number}", category, 1000))
    return folder


def attention(add, weight, constant, x: str, layer: int) -> str:
    """One block of a vision transformer: attention and a feed-forward network of four times the width, each added to its input."""
    scale = WIDTH**-0.5
    heads = constant("heads", [0, 0, HEADS, WIDTH // HEADS])

    def part(name: str, perm: list[int]) -> str:
        product = add("MatMul", x, weight(f"{name}{layer}", WIDTH, WIDTH, scale=scale))
        return add("Transpose", add("Reshape", product, heads), perm=perm)

    query, key, value = part("q", [0, 2, 1, 3]), part("k", [0, 2, 3, 1]), part("v", [0, 2, 1, 3])
    weights = add("Softmax", add("Mul", add("MatMul", query, key), constant("root", (WIDTH // HEADS) ** -0.5, "float32")), axis=-1)
    mixed = add("Reshape", add("Transpose", add("MatMul", weights, value), perm=[0, 2, 1, 3]), constant("joined", [0, 0, WIDTH]))
    x = add("Add", x, add("MatMul", mixed, weight(f"o{layer}", WIDTH, WIDTH, scale=scale * 0.5)))
    wide = add("Relu", add("MatMul", x, weight(f"up{layer}", WIDTH, 4 * WIDTH, scale=scale)))
    return add("Add", x, add("MatMul", wide, weight(f"down{layer}", 4 * WIDTH, WIDTH, scale=scale * 0.25)))


if __name__ == "__main__":
    main()
