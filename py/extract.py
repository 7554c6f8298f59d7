"""A LoRA from the difference of two checkpoints: what a tuned model has and its base has not. SD 1, SD 2 and SDXL.

  python py/extract.py --base v1-5.safetensors --tuned junwool.safetensors --out junwool-lora.safetensors
  python py/extract.py --base v1-5.safetensors --tuned a.ckpt b.ckpt --out D:\\Loras --rank 64
  python py/extract.py --base BASE --tuned TUNED --out LORA.safetensors --share 0.9      a rank for each layer
  python py/extract.py --base BASE --tuned TUNED --compare                               is it the right base?

Shares count squares: 0.9 means that what is missing is sqrt(0.1) = 32 % of the change's size. Exit codes: 0 done, 1 you can fix it,
2 wrong arguments, 12 disk full, 20 some of several models could not be done (the others are).
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from lorabake import environment, errors, extract_words


def main() -> int:
    options = extract_words.parse(__doc__)
    environment.ensure(__file__)
    from lorabake import extractor

    return extractor.main(options)


if __name__ == "__main__":
    errors.run(main)
