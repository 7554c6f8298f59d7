"""The guide's advice on which tags a style, a character and a concept should keep, as rules on the tags of a whole folder.

What is left out of the captions is what the LoRA learns as its own. For a style names of characters and artists go; for a character what
makes it out goes (hair, eyes, body, and the clothes that it wears on most pictures) and pose and minor variations stay; a concept is
treated like a character. Tags such as signature and watermark stay, so that they can be negative-prompted. Tags in memory only.
"""

import re
from collections import Counter
from collections.abc import Sequence

from lorabake.tag_query import plain

NAME_KINDS = ("character", "artist")  # of a tagger's labels: left out for a style, whose trigger they would become, and for a character
WORN_SHARE = 0.5  # of a folder's pictures: what is worn on fewer is a variation, and stays


def _patterns(text: str) -> re.Pattern[str]:
    """One expression for all of a list, in which * stands for anything."""
    words = [re.escape(" ".join(word.split())).replace(r"\*", ".*") for word in text.split(",")]
    return re.compile("|".join(words))


STYLE = _patterns("* (style), * (artist)")  # not "artist name": that tag means writing on the picture, as signature does
BODY = _patterns("""
    * hair, hair over *, hair between eyes, hair intakes, hair flaps, hair rings, short hair with long locks, bangs, * bangs, ahoge, *
    ahoge, sidelocks, * sidelocks, single sidelock, sideburns, * sideburns, ponytail, * ponytail, twintails, * twintails, braid, * braid,
    * braids, hair bun, * hair bun, double bun, braided bun, * side bun, hair buns, double buns, topknot, ringlets, twin drills, quad
    drills, one side up, two side up, half updo, bob cut, hime cut, pixie cut, bowl cut, buzz cut, wolf cut, undercut, eyebrow cut, afro,
    dreadlocks, cornrows, mohawk, pompadour, bald, widow's peak, colored tips, * eyes, * eye, heterochromia, tareme, tsurime, * pupils,
    symbol in eye, star in eye, * sclera, * eyebrows, eyelashes, * eyelashes, * skin, tan, tanlines, freckles, mole, mole under *, mole
    above *, mole on *, scar, scar *, facial mark, forehead mark, beauty mark, whisker markings, body markings, tattoo, * tattoo, fang,
    fangs, skin fang, sharp teeth, beard, mustache, goatee, stubble, whiskers, horns, * horns, * horn, antlers, antennae, halo, * halo,
    wings, * wings, single wing, tail, * tail, * tails, animal ears, * ears, animal ear fluff, head fins, fins, body fur, * fur, joints, *
    joints, mechanical arms, single mechanical arm, prosthesis, prosthetic *, breasts, * breasts, flat chest, muscular, muscular *, toned,
    toned *, abs, thick thighs, wide hips, narrow waist, curvy, plump, fat, fat man, skinny, petite, tall, dark-skinned *, albino, cat
    girl, fox girl, dog girl, wolf girl, rabbit girl, horse girl, cow girl, mouse girl, sheep girl, bear girl, lion girl, tiger girl,
    raccoon girl, squirrel girl, bird girl, shark girl, dragon girl, demon girl, slime girl, monster girl, arthropod girl, cat boy, dog
    boy, fox boy, wolf boy, demon boy, monster boy, elf, dark elf, kitsune, nekomata, vampire, mermaid, lamia, harpy, oni, android,
    cyborg, miqo'te, draph, erune
""")
CLOTHES = _patterns("""
    dress, * dress, sundress, shirt, * shirt, t-shirt, blouse, * blouse, tank top, * tank top, crop top, tube top, camisole, * camisole,
    bandeau, skirt, * skirt, miniskirt, microskirt, skirt set, pants, * pants, shorts, * shorts, jeans, denim, leggings, jacket, * jacket,
    coat, * coat, labcoat, hoodie, * hoodie, sweater, * sweater, turtleneck, * turtleneck, cardigan, * cardigan, vest, * vest, waistcoat,
    blazer, * blazer, gakuran, uniform, * uniform, serafuku, * serafuku, suit, business suit, track suit, black suit, skirt suit, pilot
    suit, plugsuit, jumpsuit, tunic, tabard, dougi, robe, * robe, kimono, * kimono, furisode, yukata, obi, * obi, sash, hakama, * hakama,
    haori, apron, * apron, maid, miko, nun, habit, nurse, playboy bunny, leotard, * leotard, bodysuit, * bodysuit, bodystocking, swimsuit,
    * swimsuit, bikini, * bikini, pajamas, nightgown, babydoll, underwear, lingerie, bra, * bra, panties, * panties, bloomers, * bloomers,
    buruma, * buruma, fundoshi, sarashi, loincloth, pelvic curtain, corset, bustier, overalls, suspenders, * suspenders, japanese clothes,
    chinese clothes, winter clothes, two-tone clothes, multicolored clothes, asymmetrical clothes, checkered clothes, cross-laced clothes,
    lolita fashion, gothic lolita, collar, * collar, choker, * choker, necktie, * necktie, bowtie, * bowtie, ascot, * ascot, bow, * bow, *
    bows, ribbon, * ribbon, neckerchief, * neckerchief, scarf, * scarf, cape, * cape, capelet, * capelet, cloak, * cloak, shawl, poncho,
    sleeves *, * sleeves, sleeveless, strapless, halterneck, criss-cross halter, * cutout, side slit, frills, lace, * trim, sleeve cuffs,
    cuffs, * cuffs, buttons, zipper, buckle, belt buckle, epaulettes, aiguillette, plaid, striped, vertical stripes, argyle, polka dot,
    gloves, * gloves, single glove, mittens, bridal gauntlets, arm warmers, thighhighs, * thighhighs, single thighhigh, pantyhose, *
    pantyhose, socks, * socks, single sock, kneehighs, * kneehighs, single kneehigh, over-kneehighs, legwear, * legwear, leg warmers,
    fishnets, garter *, * garter, boots, * boots, shoes, * shoes, sneakers, uwabaki, slippers, flip-flops, pumps, footwear, * footwear,
    sandals, geta, zouri, tabi, high heels, loafers, mary janes, hat, * hat, cap, * cap, beret, beanie, bonnet, fedora, headwear, *
    headwear, hood, * hood, helmet, * helmet, headband, * headband, hachimaki, bandana, forehead protector, hairband, * hairband,
    hairclip, hair ornament, * hair ornament, hairpin, hair flower, hair tubes, hair bobbles, hair scrunchie, scrunchie, * scrunchie, hair
    tie, hair bell, hair stick, hair beads, hairpods, kanzashi, bun cover, headdress, * headdress, headpiece, headgear, circlet, tiara,
    crown, mini crown, veil, * veil, * ornament, hat flower, hat feather, glasses, * glasses, sunglasses, * eyewear, monocle, goggles,
    eyepatch, mask, * mask, blindfold, headphones, * headphones, headset, earmuffs, earrings, * earrings, single earring, piercing, *
    piercing, jewelry, necklace, * necklace, pendant, brooch, * brooch, neck bell, neck ring, bracelet, * bracelet, bangle, armlet,
    anklet, armband, wristband, watch, wristwatch, wrist cuffs, ring, wedding ring, multiple rings, belt, * belt, thigh strap, arm strap,
    thighlet, thigh holster, nail polish, * nails, makeup, lipstick, eyeshadow, * eyeshadow, eyeliner, facepaint, armor, * armor,
    breastplate, faulds, pauldrons, gauntlets, vambraces, bracer, greaves, arm guards, shoulder pads, knee pads, elbow pads
""")
KEPT = _patterns("""
    no *, alternate *, unworn *, holding *, hugging *, grabbing *, covering *, covered *, adjusting *, tying *, untying *, putting on *,
    removing *, pinching *, brushing *, braiding *, combing *, cutting *, washing *, drying *, smelling *, ruffling *, bunching *, rubbing
    *, shading *, playing *, looking *, biting *, drawing bow, hand* in *, hand* on *, hand* over *, hand* under *, arm* under *, arm*
    between *, head between *, face between *, face to *, between *, * between breasts, * on breasts, * on hair, vibrator *, * under
    clothes, closed eyes, one eye closed, half-closed eye, half-closed eyes, narrowed eyes, wide-eyed, rolling eyes, crossed eyes,
    upturned eyes, unusually open eyes, crazy eyes, evil eyes, sparkling eyes, empty eyes, blank eyes, solid * eyes, button eyes, glowing
    eye, glowing eyes, blood from eyes, * over eye, hat over one eye, bandage over one eye, heart-shaped pupils, heart in eye, constricted
    pupils, dilated pupils, raised eyebrows, v-shaped eyebrows, wet *, floating *, messy hair, shiny hair, shiny skin, blood in hair,
    spread wings, bouncing breasts, hanging breasts, shared *, french horn, mobile suit
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


def _any(tag: str, patterns: re.Pattern[str]) -> bool:
    return patterns.fullmatch(plain(tag)) is not None
