"""lorabake: bake Stable Diffusion LoRAs at home. The floors of this package are in CONTRIBUTING.md."""

from pathlib import Path as _Path

__version__ = "0.1.0"

_ROOT = _Path(__file__).parents[2]
if (_ROOT / "releases" / "_switch.json").exists():  # a power cut in the middle of setup --update
    from lorabake import switching as _switching

    _switching.mend(_ROOT)
