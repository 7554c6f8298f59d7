"""Model files to .safetensors: checkpoints, LoRAs, embeddings, VAEs. Nothing in them is run, every tensor is compared, the original stays.

  python py/convert.py old-lora.pt                            beside it, as old-lora.safetensors
  python py/convert.py D:\\Models --recursive --dry-run         what each file is, and what would be written
  python py/convert.py model.ckpt --precision fp16            half the size
  python py/convert.py peft-lora.safetensors                  LoRAs of diffusers and PEFT get the names that every program reads

A folder of pictures goes to py/flatten.py. Exit codes: 0 done, 1 some files could not be converted (the others are),
2 wrong arguments, 12 disk full.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from lorabake import convert_words, environment, errors


def main() -> int:
    options = convert_words.parse(__doc__)
    environment.ensure(__file__)
    from lorabake import converter

    return converter.main(options)


if __name__ == "__main__":
    errors.run(main)
