"""Everything about finished LoRA files: look inside, merge, resize, clean, and the profile that bakes one again.

  python py/lora.py info my.safetensors                                      what it is, trained on what, which programs load it
  python py/lora.py merge style.safetensors=0.8 hair.safetensors=0.5 --out both.safetensors
  python py/lora.py merge style.safetensors=0.8 --into base.safetensors --out baked-in.safetensors
  python py/lora.py resize my.safetensors --rank 16                          or --by sv_fro=0.95, with --rank as the limit
  python py/lora.py scrub my.safetensors --out clean.safetensors             without folder names and private paths
  python py/lora.py profile my.safetensors --out again.yaml
  python py/lora.py import theirs.safetensors --out mine.yaml                a profile from another trainer's LoRA

`python py/lora.py COMMAND --help` lists the words of each. Exit codes: 0 done, 1 you can fix it, 2 wrong arguments, 12 disk full.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from lorabake import environment, errors, lora_words


def main() -> int:
    options = lora_words.parse(__doc__)
    environment.ensure(__file__)
    import importlib

    return int(importlib.import_module(f"lorabake.lora_{options.command}").main(options))


if __name__ == "__main__":
    errors.run(main)
