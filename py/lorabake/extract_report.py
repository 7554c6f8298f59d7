"""What an extraction has to say: how far the two models are from one another, whether that looks right, how much the LoRA captured.

Tables for a person, and the same for the file's metadata. Not here: computing any of it (extraction.py).
"""

from collections.abc import Iterable, Sequence
from typing import Any

from lorabake.differences import percent
from lorabake.extraction import CURVE, LAYERS, RESNETS, Extraction, Fact, Wish
from lorabake.families.anchors import AUTOENCODER, EMBEDDINGS, ENDS, TIME, VAE
from lorabake.model_pair import PARTS, Pair

# |tuned - base| / |base|. Two models trained apart share nothing: with like norms they are sqrt(2) = 140 % from one another. At 50 % the
# cosine between them is still 0.88, where fine-tuning, whose steps are small beside the weights, seldom gets; a merge of related
# models stays below the larger of its distances. Chosen from that geometry, not from a count of published models: so it warns, no more.
UNRELATED = 0.5
NOTICED_NOISE = 0.02  # of a part's difference: less rounding does not show in a LoRA
TELLING = {"unet": (TIME, ENDS, LAYERS), "text_encoder": (EMBEDDINGS, LAYERS)}  # norms are near 1 in every model and tell little


def warnings(found: Extraction, pair: Pair) -> list[str]:
    """What looks wrong by what was compared so far. Text encoder and U-Net are judged by themselves."""
    said = []
    for part, groups in TELLING.items():
        far = [found.distances[part, group].relative() for group in groups if (part, group) in found.distances]
        if far and max(far) > UNRELATED:
            said.append(
                f"the {PARTS[part]}s look unrelated ({percent(max(far))} apart; 140 % is what two trainings from nothing give): "
                f"was {pair.tuned.path.name} made from {pair.base.path.name}?"
            )
    left_alone = [found.distances.get(key) for key in ((VAE, AUTOENCODER), ("text_encoder", EMBEDDINGS))]
    if all(distance and distance.num_changed for distance in left_alone):
        said.append(
            "autoencoder and embeddings both differ, which fine-tuning leaves alone as a rule: the tuned model may come from another base, "
            "and the LoRA then carries what lies between the two"
        )
    for part, title in PARTS.items():
        distance = found.distances.get((part, LAYERS))
        if distance and distance.squared and distance.noise > NOTICED_NOISE * distance.squared:
            said.append(
                f"{percent(distance.noise / distance.squared)} of what the {title}s differ in is rounding, because the base is of coarser "
                "precision than the tuned model: a base in its precision gives a better LoRA"
            )
    return said


def untouched(found: Extraction) -> list[str]:
    """The parts whose layers do not differ, or by rounding only."""
    changed: dict[str, int] = {}
    for (part, group), distance in found.distances.items():
        if group in (LAYERS, RESNETS):
            changed[part] = changed.get(part, 0) + distance.num_changed
    return [part for part, number in changed.items() if not number]


def distance_lines(found: Extraction) -> list[str]:
    """A table: part, group, how far."""
    rows = [(PARTS.get(part, ""), group, distance.text()) for (part, group), distance in _sorted(found).items()]
    rows = [(part or group, group if part else "", text) for part, group, text in rows]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    lines = [f"{'difference':<{widths[0]}}  {'':<{widths[1]}}  tuned - base, in percent of the base"]
    return lines + [f"{part:<{widths[0]}}  {group:<{widths[1]}}  {text}" for part, group, text in rows]


def _sorted(found: Extraction) -> dict[tuple[str, str], Any]:
    order = [VAE, *PARTS]
    return dict(sorted(found.distances.items(), key=lambda item: order.index(item[0][0])))


def curve(facts: Sequence[Fact]) -> dict[int, float]:
    """Rank -> share of the squared difference, if every layer were cut to that rank; up to the largest that there is."""
    total = sum(fact.squared for fact in facts)
    largest = max((fact.rank for fact in facts), default=0)
    ranks = sorted({*(rank for rank in CURVE if rank < largest), largest})
    return {rank: sum(fact.at(rank) for fact in facts) / total for rank in ranks} if total and largest else {}


def blocks(facts: Iterable[Fact]) -> dict[str, float]:
    """Block -> share of its squared difference that was captured, in the model's order."""
    sums: dict[str, list[float]] = {}
    for fact in facts:
        one = sums.setdefault(fact.layer.block, [0.0, 0.0])
        one[0] += fact.at(fact.rank)
        one[1] += fact.squared
    order = ("BASE", "IN", "MID", "OUT")
    names = sorted(sums, key=lambda name: (order.index(name.rstrip("0123456789")), name))
    return {name: sums[name][0] / sums[name][1] for name in names if sums[name][1]}


def captured_lines(found: Extraction) -> list[str]:
    """Two tables: rank -> share by part, and the share of each block."""
    curves = {title: curve([fact for fact in found.facts if fact.layer.part == part]) for part, title in PARTS.items()}
    curves = {title: shares for title, shares in curves.items() if shares}
    ranks = sorted({rank for shares in curves.values() for rank in shares})
    lines = [f"{'captured by rank':<16}" + "".join(f"{rank:>8}" for rank in ranks)]
    lines += [
        f"{title:<16}" + "".join(f"{percent(shares[r]) if r in shares else '':>8}" for r in ranks) for title, shares in curves.items()
    ]
    lines += ["", "captured by block"]
    rows: dict[str, list[str]] = {}
    for name, share in blocks(found.facts).items():
        side = name.rstrip("0123456789")
        rows.setdefault(side, []).append(f"{name.removeprefix(side):>2} {percent(share):>7}")
    for side, cells in rows.items():
        for start in range(0, len(cells), 6):
            lines.append(f"{side if start == 0 else '':<6}" + "   ".join(cells[start : start + 6]))
    return lines


def rank_line(found: Extraction, num_bytes: str) -> str:
    """328 layers, rank 32, 36.1 MB"""
    ranks = sorted(fact.rank for fact in found.kept())
    middle = ranks[len(ranks) // 2]
    words = f"rank {ranks[0]}" if ranks[0] == ranks[-1] else f"ranks {ranks[0]} to {ranks[-1]}, half of them up to {middle}"
    left_out = len(found.facts) - len(ranks)
    return f"{len(ranks)} layers, {words}, {num_bytes}" + (f"; {left_out} layers did not change and are left out" if left_out else "")


def for_metadata(found: Extraction, pair: Pair, wish: Wish, digests: dict[str, str]) -> dict[str, Any]:
    """All of it as JSON for the key `lorabake_extract`: names and hashes of the models, no paths."""
    parts = {part: [fact for fact in found.facts if fact.layer.part == part] for part in PARTS}
    return {
        "base": {"name": pair.base.path.name, "sha256": digests["base"]},
        "tuned": {"name": pair.tuned.path.name, "sha256": digests["tuned"]},
        "rank": wish.rank,
        "conv_rank": wish.conv_rank,
        "share": wish.share,
        "min_diff": wish.min_diff,
        "difference": {f"{part} {group}".removeprefix("vae "): _rounded(one.relative()) for (part, group), one in _sorted(found).items()},
        "captured": {part: {str(rank): _rounded(share) for rank, share in curve(facts).items()} for part, facts in parts.items() if facts},
        "captured_by_block": {name: _rounded(share) for name, share in blocks(found.facts).items()},
        "left_out": [fact.layer.name for fact in found.facts if not fact.rank and fact.squared],
    }


def _rounded(number: float) -> float:
    """Four digits: what more there is changes with the processor."""
    return float(f"{number:.4g}")
