# SPDX-License-Identifier: GPL-3.0-or-later
# Skin, hair and backdrop too; look closely at faces. The model and the seed stay as they are.
import bpy

settings = bpy.context.scene.make_real
settings.steps = 12
settings.garment_strength = 0.5
settings.rest_strength = 0.5
settings.guidance_scale = 7.5
settings.texture_lock = 1.0
settings.texture_steps = 0.9
settings.detail = 0.5
settings.variation = 0.0
