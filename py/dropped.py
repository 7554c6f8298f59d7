"""What the shortcuts on the desktop start (python py/setup.py --shortcuts makes them): a job and the paths that were dropped.

  python py/dropped.py train a.yaml b.yaml
  python py/dropped.py tag D:\\Datasets\\junwool
  python py/dropped.py convert D:\\Models\\old.ckpt
  python py/dropped.py extract base.safetensors tuned.safetensors

The window waits for Enter at the end. Exit codes: the job's; 20 when some of several runs failed.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from lorabake import dropped, errors


def main() -> int:
    return dropped.main(sys.argv[1:])


if __name__ == "__main__":
    try:
        errors.run(main)
    finally:
        dropped.wait()
