"""How many of the things that can be wrong with a picture are found, and what a look costs beside decoding.

  python bench/check.py FOLDER [--most 150]

Every picture of the folder that is large enough is enlarged, blurred and packed in several ways, and each result is measured. The folder
should hold pictures to which nothing of that was done: what is found on them as they are is a false alarm.
"""

import argparse
import io
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "py"))

from lorabake import environment

LEAST_PX, MOST_PX = 200, 1024
CUT = 0.01


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--most", type=int, default=150)
    return parser.parse_args()


def main() -> int:
    options = parse()
    environment.ensure(__file__)
    from PIL import Image, ImageFilter

    from lorabake import images, picture_checks, picture_facts

    def enlarged(times: float, how: Image.Resampling) -> Callable[[Image.Image], Image.Image]:
        return lambda image: image.resize((round(image.width * times), round(image.height * times)), how)

    def packed(quality: int) -> Callable[[Image.Image], Image.Image]:
        def pack(image: Image.Image) -> Image.Image:
            buffer = io.BytesIO()
            image.save(buffer, "JPEG", quality=quality)
            return Image.open(buffer).convert("RGB")

        return pack

    def cropped(image: Image.Image) -> Image.Image:
        return image.crop((round(image.width * CUT), round(image.height * CUT), image.width, image.height))

    how = Image.Resampling
    ways: dict[str, Callable[[Image.Image], Image.Image]] = {"as it is": lambda image: image}
    ways |= {
        f"enlarged {times}x, {name}": enlarged(times, kind)
        for times in (2, 3)
        for name, kind in (("bilinear", how.BILINEAR), ("bicubic", how.BICUBIC), ("lanczos", how.LANCZOS))
    }
    ways |= {f"blurred {radius} px": lambda image, radius=radius: image.filter(ImageFilter.GaussianBlur(radius)) for radius in (1, 2, 3)}
    ways |= {f"JPEG {quality}, saved as PNG": packed(quality) for quality in (90, 75, 50, 30, 10)}
    ways |= {"half the size": enlarged(0.5, how.LANCZOS), "one edge cut off": cropped}
    found: dict[str, list[tuple[bool, bool, bool]]] = {name: [] for name in ways}
    costs: list[tuple[float, float]] = []
    files = sorted(path for path in options.folder.rglob("*") if path.suffix.lower() in images.EXTENSIONS)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "x.png"
        for path in files:
            if len(found["as it is"]) >= options.most:
                break
            try:
                image = images.composite(path, "white")
            except images.ImageError:
                continue
            image.thumbnail((MOST_PX, MOST_PX))
            if min(image.size) < LEAST_PX or picture_facts.look(path).one_colour:
                continue
            image.save(place, compress_level=1)
            own = picture_facts.look(place).hash
            for name, way in ways.items():
                way(image).save(place, compress_level=1)
                began = time.perf_counter()
                images.composite(place, "white")
                decoded = time.perf_counter()
                seen = picture_facts.look(place)
                costs.append((decoded - began, time.perf_counter() - decoded))
                alike = bool(seen.hash) and picture_checks.bits(seen.hash, own) <= picture_checks.ALIKE_BITS
                found[name].append((seen.detail > 1, seen.blocks > picture_checks.BLOCKS_FROM, alike))
    num = len(found["as it is"])
    print(f"{num} pictures of {options.folder}\n{'':<26}  too little detail  JPEG's blocks  the same picture")
    for name, rows in found.items():
        shares = [f"{sum(row[index] for row in rows) / max(1, num):.0%}" for index in range(3)]
        print(f"{name:<26}  {shares[0]:>17}  {shares[1]:>13}  {shares[2]:>16}")
    decode, look = (statistics.median(cost[index] for cost in costs) for index in (0, 1))
    print(f"median: decoding {1000 * decode:.0f} ms, a look with decoding {1000 * look:.0f} ms: {look / decode:.1f} times")
    return 0


if __name__ == "__main__":
    sys.exit(main())
