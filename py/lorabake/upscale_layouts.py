"""Which upscaling network a model file holds, by the names and shapes of its tensors alone. Standard library only.

Two networks: RRDBNet (Wang et al. 2018, ESRGAN; Real-ESRGAN's x4plus and anime_6B), under the three ways in which its tensors have been
named, and the compact SRVGG (Real-ESRGAN's animevideo and general models). Not here: the networks themselves (upscale_nets.py).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lorabake import modelfile
from lorabake.errors import UserError

Shapes = Mapping[str, tuple[int, ...]]
WRAPPERS = (
    "params_ema.",
    "params-ema.",
    "params.",
    "model_state_dict.",
    "state_dict.",
    "net.",
    "",
)  # the first that there is holds the weights to use
KNOWN = "RRDBNet (ESRGAN, Real-ESRGAN x4plus, anime_6B) and compact SRVGG (animevideo, general) models"
# Names that give other networks away.
OTHERS = {
    "relative_position_bias_table": "a SwinIR, HAT or DAT network",
    "relative_position_index": "a SwinIR, HAT or DAT network",
    "layers.0.blocks.0.attn": "a DAT network",
    "residual_layer": "an OmniSR network",
    "block_1.c1_r": "a SPAN network",
    "feats.1.lk": "a PLKSR network",
    "model.diffusion_model.": "a Stable Diffusion checkpoint",
    "lora_": "a LoRA",
    "RDB1.conv1x1": "an ESRGAN+ network",
}
CHANNELS = {1: "grey pictures", 2: "grey pictures with transparency", 4: "four channels (colours and transparency)"}
OLD = re.compile(r"model\.1\.sub\.(\d+)\.RDB([123])\.conv([1-5])\.0\.(weight|bias)")
OLD_TRUNK = re.compile(r"model\.1\.sub\.(\d+)\.(weight|bias)")
OLD_TOP = re.compile(r"model\.(\d+)\.(weight|bias)")
BETWEEN = re.compile(r"RRDB_trunk\.(\d+)\.RDB([123])\.conv([1-5])\.(weight|bias)")
BETWEEN_NAMES = {"trunk_conv": "conv_body", "HRconv": "conv_hr", "upconv1": "conv_up1", "upconv2": "conv_up2", "upconv3": "conv_up3"}


@dataclass(frozen=True)
class Layout:
    """`kind` rrdb or compact. `scale` is how many times a side grows; `unshuffle` by how much the input is folded into channels first.

    `num_blocks` are residual blocks, or the convolutions between the first and the last of a compact one; `num_ups` the doublings.
    """

    kind: str
    scale: int
    num_features: int
    num_blocks: int
    growth: int = 0
    unshuffle: int = 1
    num_ups: int = 0


def read(path: Path) -> tuple[Layout, dict[str, str]]:
    """What `recognise` says of a file, from its header alone. Raises UserError also where there is none."""
    if not path.is_file():
        raise UserError("there is no such model", where=str(path), todo="give the .pth or .safetensors file of an upscaling model")
    return recognise(modelfile.read_contents(path).shapes, str(path))


def enlarging(path: Path) -> Layout:
    """The layout of a file whose network enlarges. Raises UserError for any other."""
    layout, _ = read(path)
    if layout.scale == 1:
        raise UserError("this model does not enlarge (1x)", where=str(path), allowed="models of 2x, 4x and 8x")
    return layout


def recognise(shapes: Shapes, where: str) -> tuple[Layout, dict[str, str]]:
    """The layout, and the file's names -> the network's own. Raises UserError for any other network."""
    wrapper = next((one for one in WRAPPERS if one and any(name.startswith(one) for name in shapes)), "")
    inside = {name.removeprefix(wrapper).removeprefix("module.").removeprefix("netG."): name for name in shapes if name.startswith(wrapper)}
    renamed = list(_renamed({name: shapes[full] for name, full in inside.items()}))
    own = {ours: inside[theirs] for theirs, ours in renamed}
    found = {ours: shapes[full] for ours, full in own.items()}
    layout = _rrdb(found) if "conv_first.weight" in found else _compact(found)
    if layout is None or len(own) < len(renamed):  # a part that is there twice
        raise _unknown(found, list(inside), where)
    return layout, {full: ours for ours, full in own.items()}


def _renamed(shapes: Shapes) -> Iterator[tuple[str, str]]:
    """(a name without its wrapper, the published name of today)."""
    top = sorted({int(match[1]) for name in shapes if (match := OLD_TOP.fullmatch(name))})
    is_old = any(OLD.fullmatch(name) for name in shapes)
    last = dict(zip(top[-2:], ("conv_hr", "conv_last"), strict=False)) | {0: "conv_first"}
    ups = {index: f"conv_up{number}" for number, index in enumerate(top[1:-2], 1)}
    for name in shapes:
        if is_old and (match := OLD.fullmatch(name)):
            yield name, f"body.{match[1]}.rdb{match[2]}.conv{match[3]}.{match[4]}"
        elif is_old and (match := OLD_TRUNK.fullmatch(name)):
            yield name, f"conv_body.{match[2]}"
        elif is_old and (match := OLD_TOP.fullmatch(name)):
            yield name, f"{(ups | last)[int(match[1])]}.{match[2]}"
        elif match := BETWEEN.fullmatch(name):
            yield name, f"body.{match[1]}.rdb{match[2]}.conv{match[3]}.{match[4]}"
        else:
            head, _, tail = name.rpartition(".")
            yield name, f"{BETWEEN_NAMES.get(head, head)}.{tail}" if head else name


def _rrdb(shapes: Shapes) -> Layout | None:
    blocks = {int(name.split(".")[1]) for name in shapes if re.match(r"body\.\d+\.rdb1\.conv1\.weight$", name)}
    growth = shapes.get("body.0.rdb1.conv1.weight", (0,))[0]
    first = shapes["conv_first.weight"]
    unshuffle = {3: 1, 12: 2, 48: 4}.get(first[1] if len(first) == 4 else 0)
    num_ups = sum(f"conv_up{number}.weight" in shapes for number in (1, 2, 3))
    if not blocks or not growth or not unshuffle or 2**num_ups < unshuffle or not _is_rrdb(shapes, len(blocks), first[0], num_ups):
        return None
    scale = 2**num_ups // unshuffle
    return Layout("rrdb", scale, first[0], len(blocks), growth=growth, unshuffle=unshuffle, num_ups=num_ups)


def _is_rrdb(shapes: Shapes, num_blocks: int, num_features: int, num_ups: int) -> bool:
    """Whether nothing is missing, nothing is over and it draws in colour."""
    layers = ["conv_first", "conv_body", "conv_hr", "conv_last", *(f"conv_up{number + 1}" for number in range(num_ups))]
    layers += [f"body.{block}.rdb{dense}.conv{conv}" for block in range(num_blocks) for dense in (1, 2, 3) for conv in (1, 2, 3, 4, 5)]
    wanted = {f"{layer}.{part}" for layer in layers for part in ("weight", "bias")}
    return shapes.keys() == wanted and tuple(shapes["conv_last.weight"]) == (3, num_features, 3, 3)


def _compact(shapes: Shapes) -> Layout | None:
    """body.0 is a convolution, then a PReLU and a convolution in turns; the last one draws scale x scale px of each."""
    numbers = sorted({int(match[1]) for name in shapes if (match := re.fullmatch(r"body\.(\d+)\.(weight|bias)", name))})
    first, last = shapes.get("body.0.weight", ()), shapes.get(f"body.{numbers[-1]}.weight", ()) if numbers else ()
    if len(first) != 4 or len(last) != 4 or first[1] != 3 or numbers != list(range(len(numbers))) or len(numbers) < 5:
        return None
    scale = next((side for side in (1, 2, 3, 4, 8) if last[0] == 3 * side * side), 0)
    is_prelu = all(len(shapes.get(f"body.{number}.weight", ())) == (1 if number % 2 else 4) for number in numbers)
    if not scale or not is_prelu or any(not name.startswith("body.") for name in shapes):
        return None
    return Layout("compact", scale, first[0], len(numbers) // 2 - 1)


def _unknown(found: Shapes, names: list[str], where: str) -> UserError:
    """By what the file seems to be: another network, or one of ours for other channels than red, green and blue."""
    seems = next((words for part, words in OTHERS.items() if any(part in name for name in names)), "")
    what = f"this is {seems}, which does not run here" if seems else "this holds no upscaling network that is known here"
    first = found.get("conv_first.weight") or found.get("body.0.weight") or ()
    if not seems and len(first) == 4 and first[1] in CHANNELS:
        what = f"this is a network for {CHANNELS[first[1]]}, not for colours"
    return UserError(what, where=where, allowed=KNOWN, todo="choose one of those, in colour; many are at openmodeldb.info")
