"""py/flatten.py beside `mogrify -background white -flatten` on the same pictures, in turns; the pixels are compared.

  python bench/flatten.py [--pictures 200] [--rounds 3]

1024 px PNGs: one in four opaque without an alpha channel, one in eight with one that hides nothing, the rest with clear and soft places;
half of them smooth, half with grain, as drawings and paintings have. ImageMagick 7's `magick mogrify` where there is one, else 6's.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "py"))

from lorabake import environment

SIZE_PX = 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    environment.ensure(__file__)
    from lorabake import repaint

    mogrify = [shutil.which("magick"), "mogrify"] if shutil.which("magick") else [shutil.which("mogrify")]
    if not mogrify[0]:
        sys.exit("there is no ImageMagick here to compare with")
    print(f"mogrify: {subprocess.run([*mogrify, '-version'], capture_output=True, text=True, check=True).stdout.splitlines()[0]}")
    print(f"wand:    {repaint.imagemagick()}")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        draw(source, options.pictures)
        times: dict[str, list[float]] = {"mogrify": [], "lorabake": []}
        for number in range(options.rounds):
            theirs = timed(
                source,
                Path(folder) / "theirs",
                lambda place: [*mogrify, "-background", "white", "-flatten", *sorted(map(str, place.glob("*.png")))],
            )
            ours = timed(source, Path(folder) / "ours", lambda place: [sys.executable, str(ROOT / "py" / "flatten.py"), str(place)])
            times["mogrify"].append(theirs)
            times["lorabake"].append(ours)
            print(f"round {number + 1}: mogrify {theirs:.1f} s, lorabake {ours:.1f} s, {theirs / ours:.2f} times", flush=True)
        sizes = [sum(path.stat().st_size for path in (Path(folder) / name).glob("*.png")) / 2**20 for name in ("theirs", "ours")]
        middle = {name: statistics.median(found) for name, found in times.items()}
        theirs, ours = middle["mogrify"], middle["lorabake"]
        print(f"median: mogrify {theirs:.1f} s, lorabake {ours:.1f} s, {theirs / ours:.2f} times")
        print(f"files: mogrify {sizes[0]:.0f} MiB, lorabake {sizes[1]:.0f} MiB")
        print(f"pixels differ by {difference(Path(folder))} of 255 at most")


def draw(folder: Path, count: int) -> None:
    import numpy as np
    from PIL import Image

    folder.mkdir()
    for number in range(count):
        random = np.random.default_rng(number)
        cells = random.integers(0, 256, (24, 24, 4), np.uint8)
        pixels = np.asarray(Image.fromarray(cells).resize((SIZE_PX, SIZE_PX), Image.Resampling.BICUBIC)).copy()
        alpha = pixels[..., 3]
        pixels[..., 3] = 255 if number % 8 == 7 else np.where(alpha > 140, 255, np.where(alpha < 100, 0, alpha))
        if number % 2:
            grain = random.integers(-3, 4, (SIZE_PX, SIZE_PX, 3))
            pixels[..., :3] = np.clip(pixels[..., :3].astype(int) + grain, 0, 255)
        picture = Image.fromarray(pixels)
        (picture.convert("RGB") if number % 4 == 2 else picture).save(folder / f"{number:04}.png")


def timed(source: Path, place: Path, command) -> float:
    """Seconds from start to end on a fresh copy, the program's own start included."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(source, place)
    began = time.monotonic()
    subprocess.run(command(place), check=True, capture_output=True)
    return time.monotonic() - began


def difference(folder: Path) -> int:
    import numpy as np
    from PIL import Image

    def pixels(path: Path):
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB")).astype(int)

    names = [path.name for path in (folder / "theirs").glob("*.png")]
    return max(int(np.abs(pixels(folder / "theirs" / name) - pixels(folder / "ours" / name)).max()) for name in names)


if __name__ == "__main__":
    main()
