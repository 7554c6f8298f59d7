"""Draw the demo's picture set: 48 OpenMoji drawings, 256 px, WITH their transparency, each with its caption file.

OpenMoji is left out of the pocket model's base, so the demo teaches it a style that it has never seen. Not part of lorabake
itself; see README.md here.
"""

import argparse
from pathlib import Path

from draw import drawing, icons

NAMES = """
dog-face fox tiger-face rabbit-face owl penguin spouting-whale octopus crab butterfly lady-beetle snail turtle pig-face koala
sunflower tulip cactus mushroom four-leaf-clover banana strawberry grapes watermelon pear carrot lemon hamburger pizza doughnut
birthday-cake hot-beverage ice-cream airplane bicycle sailboat automobile house guitar crown balloon light-bulb soccer-ball
umbrella alarm-clock key ghost gem-stone
""".split()
SIZE_PX = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packages", type=Path, help="node_modules/@iconify-json")
    parser.add_argument("out", type=Path, help="examples/openmoji/10_openmoji")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    data = icons(options.packages, "openmoji")
    for name in NAMES:
        icon = data["icons"][data.get("aliases", {}).get(name, {}).get("parent", name)]
        picture = drawing(icon["body"], icon.get("width", data["width"]), icon.get("height", data["height"]), SIZE_PX)
        picture.save(options.out / f"{name}.png", optimize=True)
        (options.out / f"{name}.txt").write_text(name.replace("-", " ") + "\n", encoding="utf-8")
    print(f"{len(NAMES)} drawings -> {options.out}")


if __name__ == "__main__":
    main()
