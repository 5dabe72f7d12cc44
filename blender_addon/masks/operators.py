# SPDX-License-Identifier: GPL-3.0-or-later
"""The clicks that make and change parts, and the one that lets a render tell them apart."""

from typing import ClassVar

import bpy
from bpy.props import EnumProperty, IntProperty

from . import edits
from .properties import KINDS
from .selection import active_part, add_part, add_picks, selected

SELECTIONS = (
    ("OBJECT", "Selected Objects", "Every selected object", "OBJECT_DATA", 0),
    ("MATERIAL", "Active Material", "The active object's active material", "MATERIAL", 1),
    (
        "COLLECTION",
        "Active Collection",
        "The collection that is active in the Outliner",
        "OUTLINER_COLLECTION",
        2,
    ),
)
ENGINES = {"CYCLES", "BLENDER_EEVEE", "BLENDER_EEVEE_NEXT"}
"""Render engines that write Cryptomatte."""
LEVELS = 6
"""Things that may share a pixel: enough for hair and translucent cloth, and Blender's own default."""


class AddPart(bpy.types.Operator):
    """Add a part to the list, with the selected objects in it"""

    bl_idname = "make_real.add_part"
    bl_label = "Add Part"
    bl_options: ClassVar = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Add it."""
        things = selected(context, "OBJECT")
        part = add_part(context.scene.make_real.masks, things[0].name if things else "Part")
        add_picks(part, things)
        edits.changed()
        return {"FINISHED"}


class RemovePart(bpy.types.Operator):
    """Take the marked part out of the list"""

    bl_idname = "make_real.remove_part"
    bl_label = "Remove Part"
    bl_options: ClassVar = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Whether a part is marked."""
        return active_part(context.scene.make_real.masks) is not None

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Remove it."""
        masks = context.scene.make_real.masks
        masks.parts.remove(masks.active_part)
        masks.active_part = max(0, min(masks.active_part, len(masks.parts) - 1))
        edits.changed()
        return {"FINISHED"}


class MovePart(bpy.types.Operator):
    """Move the marked part: where two parts of one role overlap, the lower one in the list has the pixels"""

    bl_idname = "make_real.move_part"
    bl_label = "Move Part"
    bl_options: ClassVar = {"REGISTER", "UNDO"}

    direction: EnumProperty(
        name="Direction",
        description="Where the part goes in the list",
        items=(("UP", "Up", "Towards the top of the list"), ("DOWN", "Down", "Towards its end")),
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Whether there is anything to change places with."""
        return len(context.scene.make_real.masks.parts) > 1

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Move it, unless it is at the end already."""
        masks = context.scene.make_real.masks
        place = masks.active_part + (1 if self.direction == "DOWN" else -1)
        if not 0 <= place < len(masks.parts):
            return {"CANCELLED"}
        masks.parts.move(masks.active_part, place)
        masks.active_part = place
        edits.changed()
        return {"FINISHED"}


class AddPicks(bpy.types.Operator):
    """Add what is selected to the marked part; without a part, begin with one"""

    bl_idname = "make_real.add_picks"
    bl_label = "From Selection"
    bl_options: ClassVar = {"REGISTER", "UNDO"}

    kind: EnumProperty(name="Add", description="What to take", items=SELECTIONS)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Add each thing once."""
        masks = context.scene.make_real.masks
        things = selected(context, self.kind)
        if not things:
            self.report({"WARNING"}, "Nothing of this kind is selected")
            return {"CANCELLED"}
        if not add_picks(active_part(masks) or add_part(masks, things[0].name), things):
            self.report({"WARNING"}, "The part has all that is selected already")
            return {"CANCELLED"}
        edits.changed()
        return {"FINISHED"}


class AddPick(bpy.types.Operator):
    """Add a line to the marked part, to be filled in by hand or with the eyedropper"""

    bl_idname = "make_real.add_pick"
    bl_label = "Add Line"
    bl_options: ClassVar = {"REGISTER", "UNDO"}

    kind: EnumProperty(name="Kind", description="What the line shall point to", items=KINDS)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Add it empty."""
        masks = context.scene.make_real.masks
        part = active_part(masks) or add_part(masks, "Part")
        part.picks.add().kind = self.kind
        return {"FINISHED"}


class RemovePick(bpy.types.Operator):
    """Take this line out of the part"""

    bl_idname = "make_real.remove_pick"
    bl_label = "Remove Line"
    bl_options: ClassVar = {"REGISTER", "UNDO"}

    index: IntProperty(name="Line", description="Number of the line, from 0", min=0)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Remove it."""
        part = active_part(context.scene.make_real.masks)
        if part is None or self.index >= len(part.picks):
            return {"CANCELLED"}
        part.picks.remove(self.index)
        edits.changed()
        return {"FINISHED"}


class EnablePasses(bpy.types.Operator):
    """Let the next render write the Cryptomatte passes that tell objects and materials apart; takes one undo step"""

    bl_idname = "make_real.enable_passes"
    bl_label = "Enable Passes"
    bl_options: ClassVar = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Switch them on in every view layer that is rendered, and say what that changed."""
        engine = context.scene.render.engine
        if engine not in ENGINES:
            self.report({"ERROR"}, f"{engine} writes no Cryptomatte passes: render with Cycles or EEVEE")
            return {"CANCELLED"}
        changed = [layer.name for layer in context.scene.view_layers if layer.use and enable_passes(layer)]
        if changed:
            what = f"Cryptomatte is on in {', '.join(changed)}: render again, then click Make Real"
        else:
            what = "Cryptomatte is on already: render again if the last render was made without it"
        self.report({"INFO"}, what)
        return {"FINISHED"}


def enable_passes(layer: bpy.types.ViewLayer) -> bool:
    """Switch on what the masks need; returns whether anything was changed."""
    wanted = {"use_pass_cryptomatte_object": True, "use_pass_cryptomatte_material": True}
    if layer.pass_cryptomatte_depth < LEVELS:
        wanted["pass_cryptomatte_depth"] = LEVELS
    missing = {name: value for name, value in wanted.items() if getattr(layer, name) != value}
    for name, value in missing.items():
        setattr(layer, name, value)
    return bool(missing)


CLASSES = (AddPart, RemovePart, MovePart, AddPicks, AddPick, RemovePick, EnablePasses)

register, unregister = bpy.utils.register_classes_factory(CLASSES)
