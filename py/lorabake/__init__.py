"""lorabake: bake Stable Diffusion LoRAs at home. The floors of this package are in CONTRIBUTING.md."""

__version__ = "0.1.0"
