# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of earlier versions: a flat list of picks, each with its role, becomes one part for each role."""

import bpy
from bpy.app.handlers import persistent
from bpy.props import EnumProperty

from .properties import ROLES, Pick


class FormerPick(Pick, bpy.types.PropertyGroup):
    """A line of `scene.make_real.picks`, which new files leave empty."""

    role: EnumProperty(name="Use", description="What happens to these pixels", items=ROLES)


@persistent
def migrate(*_args: object) -> None:
    """Turn the former picks of every scene into parts. Called when a file was loaded."""
    labels = {identifier: label for identifier, label, *_ in ROLES}
    for scene in bpy.data.scenes:
        former, masks = scene.make_real.picks, scene.make_real.masks
        for role in dict.fromkeys(pick.role for pick in former):
            part = masks.parts.add()
            part.name, part.role = labels[role], role
            for pick in former:
                if pick.role == role:
                    new = part.picks.add()
                    new.kind = pick.kind
                    setattr(new, pick.kind.lower(), getattr(pick, pick.kind.lower()))
        former.clear()


def register() -> None:
    """Begin to watch for files."""
    bpy.utils.register_class(FormerPick)
    bpy.app.handlers.load_post.append(migrate)


def unregister() -> None:
    """Stop watching."""
    bpy.app.handlers.load_post.remove(migrate)
    bpy.utils.unregister_class(FormerPick)
