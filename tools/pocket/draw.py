"""Draw the emoji sets that the pocket model learns from: SVG bodies -> one compressed array.

Reads the `icons.json` and `metadata.json` of npm's @iconify-json packages and writes `pictures.npz`:
`pixels` (n, 128, 128, 3) uint8 on white, `names` (n,) and `sets` (n,) text. Not part of lorabake itself; see README.md here.
"""

import argparse
import io
import json
import re
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import resvg_py
from PIL import Image

SETS = ("noto", "twemoji", "emojione", "noto-v1", "fxemoji")
SIZE_PX = 128
# What the text encoder and U-Net learn: few enough that some millions of weights and an hour on two cores draw each of them.
# People, flags and symbols are left out. The autoencoder learns from all drawings of the categories below.
CATEGORIES = ("Animals & Nature", "Food & Drink", "Smileys & Emotion", "Activities", "Objects", "Travel & Places")
DROP = re.compile(r"skin-tone|-oclock$|-thirty$|flag|anger-symbol|^zzz$|speech|-medal$|button|yen|euro|pound|keycap|input-|map-of-japan")
LEARNED = """
bear bird blossom bug butterfly cactus cat-face chicken cow-face crab deciduous-tree dog-face dolphin elephant evergreen-tree fish
four-leaf-clover fox frog hatching-chick honeybee horse-face koala lady-beetle lion maple-leaf monkey-face mouse-face mushroom
octopus owl palm-tree panda paw-prints penguin pig-face rabbit-face rose shark snail spider spouting-whale sunflower tiger-face
tropical-fish tulip turtle unicorn wolf avocado bacon banana beer-mug birthday-cake bread carrot cheese-wedge cherries
cocktail-glass cookie croissant doughnut egg eggplant french-fries grapes green-apple hamburger hot-beverage hot-pepper ice-cream
kiwi-fruit lemon lollipop peach pear pineapple pizza popcorn red-apple rice-ball soft-ice-cream strawberry sushi tangerine tomato
watermelon wine-glass balloon baseball basketball christmas-tree crystal-ball jack-o-lantern soccer-ball tennis trophy
wrapped-gift alarm-clock anchor backpack bell bomb camera candle crown dress envelope gem-stone guitar hammer key light-bulb
locked necktie pencil ring scissors shield sunglasses t-shirt telephone television top-hat umbrella airplane automobile bicycle
bus castle cloud crescent-moon droplet fire full-moon helicopter hot-air-balloon house locomotive rainbow rocket sailboat snowman
star sun sun-with-face tent tractor volcano alien ghost skull grinning-face smiling-face-with-sunglasses crying-face clown-face
robot pile-of-poo red-heart
""".split()


def drawing(body: str, width: int, height: int, size_px: int = SIZE_PX) -> Image.Image:
    """Render one SVG body as an RGBA picture of size_px x size_px with its own transparency."""
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 {width} {height}">{body}</svg>'
    png = resvg_py.svg_to_bytes(svg_string=svg, width=size_px, height=size_px)
    picture = Image.open(io.BytesIO(bytes(png))).convert("RGBA")
    square = Image.new("RGBA", (size_px, size_px))
    square.paste(picture, ((size_px - picture.width) // 2, (size_px - picture.height) // 2))
    return square


def on_white(picture: Image.Image) -> np.ndarray:
    """Composite on white; (h, w, 3) uint8."""
    white = Image.new("RGBA", picture.size, "white")
    return np.asarray(Image.alpha_composite(white, picture).convert("RGB"))


def concepts(packages: Path) -> list[str]:
    """Names in the categories above that at least three of the sets draw."""
    metadata = json.loads((packages / "noto" / "metadata.json").read_text(encoding="utf-8"))
    wanted = {name for category in CATEGORIES for name in metadata["categories"][category] if not DROP.search(name)}
    count = dict.fromkeys(wanted, 0)
    for set_name in SETS:
        for name in icons(packages, set_name)["icons"].keys() & wanted:
            count[name] += 1
    return sorted(name for name, n in count.items() if n >= 3)


def icons(packages: Path, set_name: str) -> dict:
    return json.loads((packages / set_name / "icons.json").read_text(encoding="utf-8"))


def _draw(task: tuple[str, int, int]) -> np.ndarray:
    return on_white(drawing(*task))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packages", type=Path, help="node_modules/@iconify-json")
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    names, sets, tasks = [], [], []
    wanted = concepts(options.packages)
    for set_name in SETS:
        data = icons(options.packages, set_name)
        for name in wanted:
            if name in data["icons"]:
                icon = data["icons"][name]
                width, height = icon.get("width", data.get("width", 16)), icon.get("height", data.get("height", 16))
                tasks.append((icon["body"], width, height))
                names.append(name.replace("-", " "))
                sets.append(set_name)
    with ProcessPoolExecutor() as pool:
        pixels = np.stack(list(pool.map(_draw, tasks, chunksize=32)))
    np.savez_compressed(options.out, pixels=pixels, names=np.array(names), sets=np.array(sets))
    print(f"{len(wanted)} concepts, {len(names)} pictures -> {options.out}")


if __name__ == "__main__":
    main()
