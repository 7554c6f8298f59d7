"""What each preset leaves out of captions, tag by tag: the judgement of the guide on what taggers know of a character."""

import time

import pytest

from lorabake import tag_presets
from lorabake.tag_presets import reduced

# What makes a character out: it goes from every caption, on however few pictures it is.
GOES = """
    long hair, very long hair, blonde hair, multicolored hair, colored inner hair, hair between eyes, hair over one eye, bangs, blunt
    bangs, twintails, low twintails, side ponytail, ahoge, heart ahoge, sidelocks, braid, twin braids, french braid, hair bun, double
    bun, cone hair bun, single side bun, twin drills, drill hair, hime cut, bob cut, ringlets, hair intakes, bald, short hair with
    long locks, blue eyes, red eyes, third eye, heterochromia, slit pupils, star-shaped pupils, black sclera, thick eyebrows, tsurime,
    dark skin, dark-skinned female, blue skin, tanlines, freckles, mole, mole under eye, mole on breast, scar, scar across eye, facial
    mark, whisker markings, arm tattoo, fang, beard, stubble, cat ears, animal ears, animal ear fluff, pointy ears, fake animal ears,
    demon horns, single horn, halo, mechanical halo, black wings, tail, fox tail, multiple tails, large breasts, flat chest, muscular
    male, toned, wide hips, cat girl, horse girl, oni, elf, robot joints, white fur
"""
# What it usually wears: goes where most pictures have it, stays as a variation.
WORN = """
    school uniform, serafuku, black serafuku, sailor collar, white shirt, t-shirt, tank top, pleated skirt, miniskirt, black pants,
    jeans, open jacket, labcoat, cardigan, brown cardigan, hoodie, black dress, kimono, obi, hakama skirt, miko, maid, maid headdress,
    apron, armor, breastplate, gauntlets, cape, capelet, red scarf, ascot, red necktie, bowtie, hair bow, hair ribbon, hair flower,
    hairclip, x hair ornament, horn ornament, hairband, beret, witch hat, black headwear, animal hood, crown, glasses, black-framed
    eyewear, sunglasses, eyepatch, mask, headphones, earrings, single earring, ear piercing, choker, necklace, cross necklace, brooch,
    wedding ring, wristwatch, detached sleeves, wide sleeves, black gloves, fingerless gloves, single glove, thigh strap, garter
    straps, black thighhighs, single thighhigh, pantyhose, striped legwear, loose socks, thigh boots, black footwear, sneakers, geta,
    bikini, school swimsuit, bodysuit, leotard, white panties, cleavage cutout, frills, fur trim, plaid skirt, striped bow, black
    nails, lipstick
"""
# Pose, expression, framing, place, things held and met, what is done to hair and clothes, writing on the picture: stays always.
STAYS = """
    1girl, 1boy, solo, multiple girls, looking at viewer, looking back, looking over eyewear, eye contact, smile, open mouth, blush,
    tears, crying with eyes open, closed eyes, one eye closed, half-closed eyes, narrowed eyes, rolling eyes, sparkling eyes, empty
    eyes, blank eyes, glowing eyes, covered eyes, covering own eyes, rubbing eyes, wide-eyed, heart-shaped pupils, constricted pupils,
    v-shaped eyebrows, raised eyebrows, furrowed brow, parted lips, ^_^, @_@, standing, sitting, lying, on back, kneeling, arms up,
    crossed arms, head tilt, leaning forward, hand on own face, hand on headwear, hand in own hair, hands in hair, hand in pocket,
    hands in opposite sleeves, hand over eye, hand under shirt, arm under breasts, adjusting eyewear, adjusting hair, adjusting hat,
    playing with own hair, tying hair, brushing hair, hair tie in mouth, hair blowing, hair flip, hair down, hair up, hair spread out,
    wet hair, floating hair, messy hair, tail wagging, tail raised, ears down, spread wings, bouncing breasts, holding umbrella,
    holding hat, holding mask, holding ribbon, holding hair, holding own tail, holding bow (weapon), bow (weapon), drawing bow, hat
    removed, unworn hat, no shoes, no panties, wet shirt, floating scarf, shared scarf, removing shoes, open clothes, torn clothes,
    undressing, clothes lift, skirt hold, jacket on shoulders, hood up, headphones around neck, mask on head, alternate costume,
    alternate hairstyle, alternate hair color, earphones, sword, umbrella, bag, cup, steamed bun, japari bun, hot dog bun, melon bun,
    bun, paper cut, power drill, mole (animal), mole cricket, french horn, pillow, frilled pillow, plaid blanket, stuffed toy, striped
    background, plaid background, white background, simple background, outdoors, night, beach, cherry blossoms, sky, from side, from
    behind, from above, upper body, full body, cowboy shot, portrait, close-up, dutch angle, depth of field, monochrome, chibi,
    sketch, signature, watermark, artist name, twitter username, web address, dated, english text, speech bubble, letterboxed, border
"""


def tags_in(text):
    return [" ".join(tag.split()) for tag in text.split(",")]


def left_of(tags, *, on, preset="character"):
    """The tags that stay when `on` of ten pictures carry them all."""
    after = reduced([tags] * on + [["solo"]] * (10 - on), preset)
    return after[0]


@pytest.mark.parametrize("preset", ["character", "concept"])
def test_what_makes_a_character_out_goes_and_what_varies_stays(preset):
    goes, worn, stays = tags_in(GOES), tags_in(WORN), tags_in(STAYS)
    assert left_of(goes, on=1, preset=preset) == []
    assert left_of(worn, on=10, preset=preset) == []
    assert left_of(worn, on=4, preset=preset) == worn
    assert left_of(stays, on=10, preset=preset) == stays


@pytest.mark.parametrize(("on", "stays"), [(4, True), (5, False), (6, False)])
def test_clothes_go_from_half_of_the_pictures_on(on, stays):
    assert (left_of(["white shirt", "smile"], on=on) == ["white shirt", "smile"]) is stays


def test_spellings_count_as_one_tag():
    tags = [["White_Shirt", "Blue_Eyes"], ["white shirt"], ["white_shirt", "white shirt"], ["smile"], ["smile"]]
    assert reduced(tags, "character") == [[], [], [], ["smile"], ["smile"]]


@pytest.mark.parametrize(
    ("preset", "left"),
    [
        ("none", ["1girl", "red hair", "white shirt", "1990s (style)", "signature", "artist name"]),
        ("style", ["1girl", "red hair", "white shirt", "signature", "artist name"]),
        ("character", ["1girl", "1990s (style)", "signature", "artist name"]),
    ],
)
def test_presets_differ(preset, left):
    """`artist name` says that a name is written on the picture, so it stays beside signature and can be negative-prompted."""
    before = ["1girl", "red hair", "white shirt", "1990s (style)", "signature", "artist name"]
    assert reduced([before], preset) == [left]
    assert len(before) == 6, "the lists that are given stay as they are"


def test_names_are_left_out_by_each_preset():
    assert tag_presets.kinds_left_out("none") == ()
    assert all(set(tag_presets.kinds_left_out(preset)) == {"character", "artist"} for preset in ("style", "character", "concept"))


def test_nothing_of_nothing():
    assert reduced([], "character") == [] and reduced([[], ["solo"]], "character") == [[], ["solo"]]


def test_only_a_star_is_a_wildcard_and_no_tag_is_judged_twice_here():
    assert tag_presets._any("miqo'te", tag_presets.BODY) and not tag_presets._any("miqoxte", tag_presets.BODY)
    assert not tag_presets._any("hair", tag_presets.BODY) and not tag_presets._any("", tag_presets.BODY)
    assert not set(tags_in(GOES)) & set(tags_in(WORN)) and not set(tags_in(GOES) + tags_in(WORN)) & set(tags_in(STAYS))


def test_a_large_set_takes_no_time():
    tags = [[f"tag {number % 3000}", "red hair", "white shirt", f"thing {number}"] for number in range(20_000)]
    began = time.process_time()
    assert len(reduced(tags, "character")) == 20_000
    assert time.process_time() - began < 3
