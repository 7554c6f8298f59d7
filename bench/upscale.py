"""Seconds per megapixel of the enlarged picture, for networks of the published sizes with random weights.

python bench/upscale.py [--side 256] [--rounds 3] [--device cpu]
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "py"))

from lorabake import environment


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=128, help="of the picture that is enlarged, in px")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", choices=("cpu", "cuda"))
    return parser.parse_args()


def main() -> int:
    options = parse()
    environment.ensure(__file__)
    import torch
    from PIL import Image

    from lorabake import upscale_nets, upscaler
    from lorabake.upscale_layouts import Layout

    sizes = {
        "compact, 16 convolutions (animevideo)": Layout("compact", 4, 64, 16),
        "compact, 32 convolutions (general)": Layout("compact", 4, 64, 32),
        "RRDBNet, 6 blocks (anime_6B)": Layout("rrdb", 4, 64, 6, growth=32, num_ups=2),
        "RRDBNet, 23 blocks (x4plus)": Layout("rrdb", 4, 64, 23, growth=32, num_ups=2),
    }
    image = Image.effect_noise((options.side, options.side), 64).convert("RGB")
    with tempfile.TemporaryDirectory() as folder:
        for name, layout in sizes.items():
            network = upscale_nets.RRDBNet(layout) if layout.kind == "rrdb" else upscale_nets.Compact(layout)
            path = Path(folder) / "x.pth"
            torch.save({key: tensor * 0.1 for key, tensor in network.state_dict().items()}, path)
            opened = upscaler.opened(path, device=options.device)
            took = []
            for _ in range(options.rounds):
                began = time.perf_counter()
                made = opened.enlarged(image)
                took.append((time.perf_counter() - began) * 1e6 / (made.width * made.height))
            print(f"{name:<40}  {statistics.median(took):6.1f} s a megapixel ({opened.device.type})", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
