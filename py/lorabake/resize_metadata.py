"""The metadata of a resized LoRA: all of the old, with the new ranks, alphas and a comment that says what was done. Pure."""

import json
from collections.abc import Mapping, Sequence
from typing import Protocol

from lorabake import lora_metadata

# PEFT's own settings hold ranks by layer, which are no longer true; the hashes are written anew.
_NO_LONGER_TRUE = ("lora_adapter_metadata", "sshs_model_hash", "sshs_legacy_hash", "modelspec.hash_sha256")
NOTHING = ("", "None")


class Cut(Protocol):
    """A layer's ranks before and after; `kernel`: a 3x3 one."""

    @property
    def name(self) -> str: ...
    @property
    def old(self) -> int: ...
    @property
    def new(self) -> int: ...
    @property
    def kernel(self) -> bool: ...


def resized_metadata(
    metadata: Mapping[str, str], cuts: Sequence[Cut], alphas: Mapping[str, float], by: tuple[str, float] | None
) -> dict[str, str]:
    """`alphas` by layer. Readers show ss_training_comment, so that is where the words go, before the old ones."""
    plain = [cut for cut in cuts if not cut.kernel] or list(cuts)
    conv = [cut for cut in cuts if cut.kernel]
    old, new = (lora_metadata.one_or_dynamic(ranks) for ranks in ([c.old for c in plain], [c.new for c in plain]))
    words = f"Dynamic resize with {by[0]}: {by[1]:g} from {old}" if by else f"dimension is resized from {old} to {new}"
    before = metadata.get("ss_training_comment", "")
    found = {key: text for key, text in metadata.items() if key not in _NO_LONGER_TRUE}
    found |= {
        "ss_training_comment": words if before in NOTHING else f"{words}; {before}",
        "ss_network_dim": new,
        "ss_network_alpha": lora_metadata.one_or_dynamic([alphas[cut.name] for cut in plain]),
    }
    if conv and len(conv) < len(cuts):
        args = _args(metadata.get("ss_network_args", ""))
        dims = {"conv_dim": lora_metadata.one_or_dynamic([cut.new for cut in conv])}
        dims["conv_alpha"] = lora_metadata.one_or_dynamic([alphas[cut.name] for cut in conv])
        found["ss_network_args"] = json.dumps(args | dims)
    return found


def _args(text: str) -> dict[str, object]:
    try:
        table = json.loads(text)
    except ValueError:
        return {}
    return table if isinstance(table, dict) else {}
