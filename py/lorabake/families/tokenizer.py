"""The CLIP tokenizer, built from the merges file that ships in models/: no hub, no configuration download.

Not a reimplementation: transformers' CLIPTokenizer does the work, this module only gives it its vocabulary. The OpenCLIP
text encoders of SD2 and SDXL use the same vocabulary with another padding id.
"""

import gzip
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

MERGES_FILE = Path(__file__).resolve().parents[3] / "models" / "bpe_simple_vocab_16e6.txt.gz"
NUM_MERGES = 49152 - 256 - 2
BOS, EOS = "<|startoftext|>", "<|endoftext|>"


def byte_symbols() -> list[str]:
    """The 256 printable stand-ins of GPT-2's byte-level BPE, in vocabulary order (Radford et al. 2019)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    return [chr(b) for b in printable] + [chr(256 + n) for n in range(len(others))]


def vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """(token -> id of all 49408 tokens, the merges in order)."""
    with gzip.open(MERGES_FILE, "rt", encoding="utf-8") as file:
        lines = file.read().split("\n")[1 : NUM_MERGES + 1]
    merges: list[tuple[str, str]] = []
    for line in lines:
        left, right = line.split()
        merges.append((left, right))
    symbols = byte_symbols()
    tokens = [*symbols, *(s + "</w>" for s in symbols), *(left + right for left, right in merges), BOS, EOS]
    return {token: index for index, token in enumerate(tokens)}, merges


@cache
def clip_tokenizer() -> "CLIPTokenizer":
    """CLIP ViT-L/14's tokenizer; pads with the end token."""
    from transformers import CLIPTokenizer

    vocab, merges = vocabulary()
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=77)
