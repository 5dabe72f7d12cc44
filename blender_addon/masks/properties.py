# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of the picture, as the blend file keeps them (`scene.make_real.masks`)."""

import bpy
from bpy.props import (
    CollectionProperty,
    EnumProperty,
    FloatProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)

from . import edits

KINDS = (
    ("OBJECT", "Object", "An object, with all that it instances", "OBJECT_DATA", 0),
    ("MATERIAL", "Material", "Everything with this material", "MATERIAL", 1),
    ("COLLECTION", "Collection", "Every object in this collection", "OUTLINER_COLLECTION", 2),
    ("NAMES", "Names", "Objects and materials by their names", "SORTALPHA", 3),
    ("IMAGE", "Image", "A mask that was painted or made elsewhere", "IMAGE_DATA", 4),
)
ROLES = (
    (
        "GARMENT",
        "Garment",
        "Its texture is kept while light and cloth become real",
        "MATCLOTH",
        0,
    ),
    ("PROTECTED", "Protected", "These pixels come back exactly as they were rendered", "LOCKED", 1),
    (
        "FREE",
        "Free",
        "Changes as far as the garment, with no hold on its texture: skin, hair, props",
        "UNLOCKED",
        2,
    ),
)


class GarmentPick(bpy.types.PropertyGroup):
    """One object, material, collection, list of names or image that the artist picked for a part."""

    kind: EnumProperty(name="Kind", description="What this line points to", items=KINDS, update=edits.changed)
    object: PointerProperty(
        type=bpy.types.Object,
        name="Object",
        description="The object; the eyedropper takes it from the 3D Viewport or the Outliner",
        update=edits.changed,
    )
    material: PointerProperty(
        type=bpy.types.Material,
        name="Material",
        description="The material, wherever it is used",
        update=edits.changed,
    )
    collection: PointerProperty(
        type=bpy.types.Collection,
        name="Collection",
        description="The collection, with the collections inside it",
        update=edits.changed,
    )
    names: StringProperty(
        name="Names",
        description="Names of objects and materials, separated by commas. * stands for any letters. Put a name "
        'that has a comma in quotation marks: "Shirt, blue", Sleeve*',
        update=edits.changed,
    )
    image: PointerProperty(
        type=bpy.types.Image,
        name="Image",
        description="An image of the render's size: white belongs to the part, black does not. If any of it is "
        "transparent, its alpha is the mask",
        update=edits.changed,
    )


class GarmentPart(bpy.types.PropertyGroup):
    """A part of the picture that is treated in one way."""

    name: StringProperty(name="Name", description="What you call this part", default="Part")
    role: EnumProperty(
        name="Role", description="What happens to this part", items=ROLES, update=edits.changed
    )
    strength: FloatProperty(
        name="Strength",
        description="How far this part may move, as a share of the garment's strength; 0 keeps it as it is",
        min=0.0,
        max=1.0,
        default=1.0,
        precision=2,
        subtype="FACTOR",
    )
    picks: CollectionProperty(
        type=GarmentPick, name="Picks", description="What belongs to this part: all of it together"
    )


class MaskSettings(bpy.types.PropertyGroup):
    """The parts of one scene's picture; without any the whole picture is garment."""

    parts: CollectionProperty(
        type=GarmentPart,
        name="Parts",
        description="Where parts overlap, protected goes before free and free before garment; of two parts with "
        "the same role the lower one in the list has the pixels",
    )
    active_part: IntProperty(name="Part", description="The part that is shown below the list", min=0)


CLASSES = (GarmentPick, GarmentPart, MaskSettings)

register, unregister = bpy.utils.register_classes_factory(CLASSES)
