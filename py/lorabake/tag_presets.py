"""The guide's advice on which tags a style, a character and a concept should keep, as rules on the tags of a whole folder.

What is left out of the captions is what the LoRA learns as its own. For a style names of characters and artists go; for a character what
makes it out goes (hair, eyes, body, and the clothes that it wears on most pictures) and pose and minor variations stay; a concept is
treated like a character. Tags such as signature and watermark stay, so that they can be negative-prompted. Tags in memory only.
"""

from collections import Counter
from collections.abc import Sequence

from lorabake.tag_query import matches, plain

NAME_KINDS = ("character", "artist")  # of a tagger's labels: left out for a style, whose trigger they would become, and for a character
WORN_SHARE = 0.5  # of a folder's pictures: what is worn on fewer is a variation, and stays
STYLE = ("artist name", "* (style)", "* (artist)")


def _patterns(text: str) -> tuple[str, ...]:
    return tuple(" ".join(word.split()) for word in text.split(","))


BODY = _patterns("""
    * hair, hair over *, hair between eyes, * eyes, * eye, heterochromia, * pupils, * sclera, * eyebrows, * eyelashes, bangs, * bangs,
    ahoge, antenna hair, sidelocks, * sidelocks, ponytail, * ponytail, twintails, * twintails, braid, * braid, * braids, hair bun, *
    bun, * buns, bob cut, hime cut, pixie cut, * cut, drill, * drills, one side up, two side up, half updo, hair intakes, hair flaps,
    widow's peak, streaked hair, * skin, tan, tanlines, freckles, mole, mole *, * mole, scar, scar *, facial mark, * tattoo, tattoo,
    fang, fangs, skin fang, beard, mustache, facial hair, horns, * horns, * horn, halo, wings, * wings, tail, * tail, animal ears, *
    ears, pointy ears, * breasts, breasts, flat chest, muscular, muscular *, abs, thick thighs, curvy, petite, tall, cat girl, fox
    girl, dog girl, wolf girl, rabbit girl, dragon girl, demon girl, elf, colored skin, dark-skinned *
""")
CLOTHES = _patterns("""
    dress, * dress, shirt, * shirt, skirt, * skirt, pants, * pants, shorts, * shorts, jeans, jacket, * jacket, coat, * coat, hoodie, *
    hoodie, sweater, * sweater, cardigan, vest, * vest, uniform, * uniform, serafuku, * collar, collar, choker, * choker, necktie, *
    necktie, bowtie, * bowtie, bow, * bow, ribbon, * ribbon, neckerchief, * neckerchief, scarf, * scarf, cape, * cape, cloak, * cloak,
    gloves, * gloves, * sleeves, sleeves *, sleeveless, thighhighs, * thighhighs, pantyhose, * pantyhose, socks, * socks, kneehighs,
    boots, * boots, shoes, * shoes, footwear, * footwear, sandals, high heels, loafers, mary janes, hat, * hat, cap, * cap, beret,
    hood, headband, hairband, * hairband, hairclip, hair ornament, * hair ornament, hairpin, headdress, * headdress, crown, tiara,
    glasses, * glasses, * eyewear, eyepatch, mask, * mask, earrings, * earrings, jewelry, necklace, pendant, bracelet, ring, belt, *
    belt, armor, * armor, pauldrons, gauntlets, kimono, * kimono, yukata, obi, * obi, apron, * apron, leotard, * leotard, bodysuit, *
    bodysuit, swimsuit, * swimsuit, bikini, * bikini, frills, frilled *, pleated *, striped *, plaid *, detached *, garter *, corset,
    headphones, headgear, wrist cuffs, buttons, hakama, * hakama, haori, robe, * robe, overalls, suspenders, * suspenders, blazer, *
    blazer, epaulettes
""")
KEPT = _patterns("""
    no *, closed eyes, one eye closed, half-closed eyes, wide-eyed, rolling eyes, covered eyes, empty eyes, wet hair, floating hair,
    messy hair, adjusting *, hair in own mouth, playing with own hair, hands in hair, glowing eyes
""")


def kinds_left_out(preset: str) -> tuple[str, ...]:
    """Kinds of labels of which a preset wants no tag."""
    return () if preset == "none" else NAME_KINDS


def reduced(tags: Sequence[Sequence[str]], preset: str) -> list[list[str]]:
    """The tags of every picture of one concept folder, without those that the preset leaves to the LoRA itself."""
    if preset == "none":
        return [list(own) for own in tags]
    if preset == "style":
        return [[tag for tag in own if not _any(tag, STYLE)] for own in tags]
    counts = Counter(tag for own in tags for tag in {plain(tag) for tag in own})
    gone = {tag for tag, count in counts.items() if _of_the_subject(tag, count, len(tags))}
    return [[tag for tag in own if plain(tag) not in gone] for own in tags]


def _of_the_subject(tag: str, count: int, num_pictures: int) -> bool:
    if _any(tag, KEPT):
        return False
    return _any(tag, BODY) or (_any(tag, CLOTHES) and count >= WORN_SHARE * num_pictures)


def _any(tag: str, patterns: Sequence[str]) -> bool:
    return any(matches(tag, pattern) for pattern in patterns)
