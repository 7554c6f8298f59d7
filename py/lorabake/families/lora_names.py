"""Names of layers in LoRA files: kohya's (`lora_unet_..._to_q`) <-> dotted paths <-> diffusers' and PEFT's (`unet....to_q`).

Pure text, for any number of layers. Not here: tensors of checkpoints (layers.py), what a LoRA's tensors compute (networks/).
"""

import re

from lorabake.families import sd1_keys

PART_TITLES = {"unet": "U-Net", "text_encoder": "text encoder"}
UNET, TEXT, TEXT_1, TEXT_2 = "lora_unet", "lora_te", "lora_te1", "lora_te2"
TEXT_PREFIXES = (TEXT, TEXT_1, TEXT_2)
# Pieces of paths that hold an underscore of their own; every other underscore stands for a dot.
_PIECES = (
    *("down_blocks", "up_blocks", "mid_block", "input_blocks", "output_blocks", "middle_block", "transformer_blocks"),
    *("conv_shortcut", "time_emb_proj", "in_layers", "out_layers", "emb_layers", "skip_connection", "proj_in", "proj_out"),
    *("to_q", "to_k", "to_v", "to_out", "text_model", "self_attn", "q_proj", "k_proj", "v_proj", "out_proj"),
    *("conv_in", "conv_out", "time_embedding", "linear_1", "linear_2", "add_embedding", "time_embed", "label_emb"),
    *("text_projection", "token_embedding", "position_embedding", "final_layer_norm", "layer_norm1", "layer_norm2"),
)
_PIECE = re.compile(f"(?:{'|'.join(sorted(_PIECES, key=len, reverse=True))})(?=_|$)|[^_]+")
SDXL_LAYERS, SDXL_UP_WITH_ATTENTION = 2, frozenset({0, 1})
_PEFT_ROOTS = {"unet": UNET, "text_encoder": TEXT, "text_encoder_2": TEXT_2}


def prefix_of(name: str) -> str:
    """`lora_unet`, `lora_te`, `lora_te1`, `lora_te2`, or "" for a name that begins with none of them."""
    return next((prefix for prefix in (UNET, *TEXT_PREFIXES) if name.startswith(f"{prefix}_")), "")


def part_of(name: str) -> str:
    """ "unet", or "text_encoder" for each of the text encoders."""
    return "text_encoder" if prefix_of(name) in TEXT_PREFIXES else "unet"


def dotted(name: str) -> str:
    """The path of a layer inside its model: `lora_unet_mid_block_attentions_0_proj_in` -> `mid_block.attentions.0.proj_in`."""
    return ".".join(_PIECE.findall(name.removeprefix(prefix_of(name)).strip("_")))


def underscored(prefix: str, path: str) -> str:
    return f"{prefix}_{path.replace('.', '_')}"


def to_sgm(path: str) -> str:
    """SDXL's U-Net path in the original layout; one that is in it already comes back as it is. Raises KeyError for an unknown one."""
    if not path.startswith(("down_blocks.", "mid_block.", "up_blocks.")):
        return sd1_keys.UNET_ENDS_ORIGINAL.get(path, path)
    try:
        found = sd1_keys.unet_original(f"{path}.weight", SDXL_LAYERS, SDXL_UP_WITH_ATTENTION)
    except (ValueError, IndexError, StopIteration) as error:
        raise KeyError(path) from error
    return found.removesuffix(".weight")


def from_sgm(path: str) -> str:
    """Inverse of to_sgm; for SD 1 and 2 as well, whose blocks are counted alike. Raises KeyError for an unknown path."""
    if not path.startswith(("input_blocks.", "middle_block.", "output_blocks.")):
        return path
    return sd1_keys.unet_name(f"{path}.weight", SDXL_LAYERS).removesuffix(".weight")


def to_peft(name: str) -> str:
    """diffusers' name of a layer: `unet.` and `text_encoder.` roots, dotted, blocks as diffusers counts them. Raises KeyError."""
    prefix, path = prefix_of(name), dotted(name)
    if not prefix:
        raise KeyError(name)
    root = {UNET: "unet", TEXT_2: "text_encoder_2"}.get(prefix, "text_encoder")
    return f"{root}.{from_sgm(path) if prefix == UNET else path}"


def from_peft(name: str, *, sdxl: bool) -> str:
    """Inverse of to_peft. SDXL's first text encoder is `lora_te1`, and its U-Net is named by the original layout. Raises KeyError."""
    name = name.removeprefix("base_model.model.")
    root, _, path = name.partition(".")
    if root not in _PEFT_ROOTS or not path:
        raise KeyError(name)
    path = re.sub(r"\.processor$|\.processor(?=\.)", "", path)
    if root == "unet":
        return underscored(UNET, to_sgm(path) if sdxl else path)
    if not path.startswith("text_model.") and path.startswith(("encoder.", "final_layer_norm")):
        path = f"text_model.{path}"
    return underscored(TEXT_1 if sdxl and root == "text_encoder" else _PEFT_ROOTS[root], path)


def kohya_name(name: str, family: str) -> str:
    """A layer's name in kohya's words, from any dialect: SDXL's U-Net as in its original layout, others as in diffusers'. Raises KeyError.

    What begins like kohya's and is no layer of a U-Net comes back as it is, LyCORIS's own `lycoris_...` too.
    """
    if not (prefix := prefix_of(name)):
        return name if name.startswith("lycoris_") else from_peft(name, sdxl=family == "sdxl")
    if prefix != UNET:
        return name
    path = dotted(name)
    return underscored(UNET, to_sgm(path) if family == "sdxl" else from_sgm(path))
