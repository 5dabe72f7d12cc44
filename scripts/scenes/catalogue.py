# SPDX-License-Identifier: GPL-3.0-or-later
"""Caption words of the shared garments and avatars, and which of them training never sees."""

from __future__ import annotations

GARMENT_WORDS = {
    "f_beach_dress_01.glb": "dress",
    "f_dress_01.glb": "dress",
    "f_dress_02.glb": "dress",
    "f_dress_04.glb": "dress",
    "fedora.glb": "hat",
    "female_casualsuit01.glb": "t-shirt and pants",
    "female_casualsuit02.glb": "t-shirt and shorts",
    "female_elegantsuit01.glb": "shirt and skirt",
    "female_sportsuit01.glb": "top and pants",
    "female_top_01.glb": "top",
    "fishing_hat_01.glb": "hat",
    "jeansskirt.glb": "skirt",
    "male_casualsuit01.glb": "shirt and pants",
    "male_casualsuit02.glb": "longsleeve and pants",
    "male_casualsuit03.glb": "shirt and pants",
    "male_casualsuit04.glb": "t-shirt and pants",
    "male_casualsuit05.glb": "outwear and pants",
    "male_casualsuit06.glb": "t-shirt and pants",
    "male_elegantsuit01.glb": "blazer and pants",
    "miniskirt.glb": "skirt",
    "pith_helmet.glb": "hat",
    "shoes01.glb": "shoes",
    "shoes02.glb": "shoes",
    "shoes03.glb": "shoes",
    "shoes04.glb": "shoes",
    "shoes05.glb": "shoes",
    "shoes06.glb": "shoes",
    "shortjeans.glb": "shorts",
    "spaghetti_top.glb": "undershirt",
    "tank_top_01.glb": "undershirt",
    "tubedress.glb": "dress",
    "vnecktop.glb": "undershirt",
}
HELD_OUT_GARMENTS = (
    "f_dress_02.glb",
    "female_elegantsuit01.glb",
    "male_casualsuit03.glb",
    "fishing_hat_01.glb",
    "shoes03.glb",
    "tank_top_01.glb",
)
HELD_OUT_AVATARS = (
    "AIAN_F_1_Casual.glb",
    "Black_M_2_Casual.glb",
    "MENA_M_2_Casual.glb",
    "White_F_1_Casual.glb",
)
_AVATAR_WORDS = (
    ("dress", "dress"),
    ("coat", "outwear"),
    ("suit", "blazer"),
    ("jacket", "blazer"),
    ("overall", "outwear"),
    ("polo", "polo"),
    ("ringer t-shirt", "t-shirt"),
    ("t-shirt", "t-shirt"),
    ("long-sleeve", "longsleeve"),
    ("blouse", "blouse"),
    ("shirt", "shirt"),
)


def avatar_words(description: str) -> str:
    """Caption words from an avatar's description, such as 'polo and pants'."""
    upper = next((word for key, word in _AVATAR_WORDS if key in description), "outfit")
    lower = "shorts" if "shorts" in description else "pants"
    return f"{upper} and {lower}"


def in_split(file: str, split: str) -> bool:
    """Whether a garment or avatar file belongs to 'train' or to 'heldout'."""
    held_out = file in HELD_OUT_GARMENTS or file in HELD_OUT_AVATARS
    return held_out == (split == "heldout")
