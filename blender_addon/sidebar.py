# SPDX-License-Identifier: GPL-3.0-or-later
"""Where every panel of Make Real stands."""


class InImageEditor:
    """Mixin: Blender draws nothing for a panel that inherits from a registered panel."""

    bl_space_type = "IMAGE_EDITOR"
    bl_region_type = "UI"
    bl_category = "Make Real"
