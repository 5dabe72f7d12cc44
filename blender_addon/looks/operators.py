# SPDX-License-Identifier: GPL-3.0-or-later
"""The click on Make Variants."""

from typing import ClassVar

import bpy

from .. import tickets
from ..protocol import MakeRealError
from ..session import events as ev
from ..session import pump
from ..session.state import can_translate
from . import batch, variants


class MakeVariants(bpy.types.Operator):
    """Make every picture of the grid from the finished render, one after the other, and a sheet of them all"""

    bl_idname = "make_real.make_variants"
    bl_label = "Make Variants"
    # As with Make Real itself.
    bl_options: ClassVar = {"UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Whether a click would be taken."""
        if not can_translate(pump.session()):
            cls.poll_message_set("Make Real is working on a picture; wait for it or cancel it")
            return False
        axes = context.scene.make_real_variants
        if axes.rows.field == axes.columns.field == variants.NOTHING:
            cls.poll_message_set("Choose what changes along the rows or the columns")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Collect once, and begin."""
        scene = context.scene
        try:
            rows = variants.grid(scene.make_real_variants, scene.make_real, pump.models())
            reading = tickets.collect(scene)
        except MakeRealError as problem:
            pump.conductor().dispatch(ev.Failed(problem))
            self.report({"ERROR"}, problem.message)
            return {"CANCELLED"}
        cells = [cell for row in rows for cell in row]
        batch.start(batch.Batch(reading, scene.name, cells, columns=len(rows[0])))
        return {"FINISHED"}


def register() -> None:
    """Make the operator known to Blender."""
    bpy.utils.register_class(MakeVariants)


def unregister() -> None:
    """Take it back."""
    bpy.utils.unregister_class(MakeVariants)
