# SPDX-License-Identifier: GPL-3.0-or-later
"""What the artist sets for a scene: the request's fields, and the picture's parts."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import bpy
from bpy.props import (
    BoolProperty,
    FloatProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)

from .masks.properties import MaskSettings
from .protocol import RANGES, ErrorCode, MakeRealError, TranslationRequest
from .session import pump

DEFAULTS = TranslationRequest()


def _number(name: str, label: str, description: str, kind: type = float):
    """A property with the range and the default of the request's field."""
    low, high = RANGES[name]
    values = {"min": kind(low), "max": kind(high), "default": kind(getattr(DEFAULTS, name))}
    if kind is int:
        return IntProperty(name=label, description=description, **values)
    subtype = {"subtype": "FACTOR"} if high == 1.0 else {}
    return FloatProperty(name=label, description=description, precision=2, **subtype, **values)


def _model_names(_settings, _context, text: str) -> list[str]:
    return [name for name in pump.models() if text.lower() in name.lower()]


class MakeRealSettings(bpy.types.PropertyGroup):
    """Settings of one scene (`scene.make_real`)."""

    model: StringProperty(
        name="Model",
        description="Name of an installed model; starter is the built-in one",
        default=DEFAULTS.model,
        search=_model_names,
    )
    steps: _number("steps", "Steps", "Steps over the whole schedule: more is slower and finer", int)
    garment_strength: _number(
        "garment_strength", "Garment", "How far the garment may move from the render; 0 keeps it as it is"
    )
    rest_strength: _number(
        "rest_strength", "Rest", "How far the rest may move from the render; 0 keeps it as it is"
    )
    guidance_scale: _number(
        "guidance_scale",
        "Guidance",
        "How strongly the picture is led away from a render's look; 1 is not at all",
    )
    texture_lock: _number(
        "texture_lock",
        "Texture Lock",
        "How firmly the garment's prints, weave and stitches are held in place, and smooth cloth is kept smooth",
    )
    texture_steps: _number(
        "texture_steps", "Lock Duration", "Part of the steps during which the texture is held in place"
    )
    detail: _number(
        "detail",
        "Detail",
        "How much of the render's finest detail is given back at the end: 1 is as crisp as rendered, "
        "0.5 as a lens would draw it",
    )
    seed: _number("seed", "Seed", "Which of the variations; it matters where Variation is above 0", int)
    variation: _number(
        "variation", "Variation", "How far this seed's picture may differ from those of other seeds"
    )
    use_compositor: BoolProperty(
        name="Add to Compositor",
        description="Put the result into the compositor, right after the render: your nodes go on from it",
        default=True,
    )
    masks: PointerProperty(type=MaskSettings, name="Masks", description="The parts of this scene's picture")
    compositor_group: PointerProperty(
        type=bpy.types.NodeTree,
        name="Compositor Group",
        description="The node group that shows this scene's results in the compositor",
    )
    result: PointerProperty(type=bpy.types.Image, name="Result", description="The last result of this scene")


def request(settings: MakeRealSettings) -> TranslationRequest:
    """The request that the settings stand for."""
    return request_of({name: getattr(settings, name) for name in asdict(DEFAULTS)})


def request_of(values: Mapping[str, Any]) -> TranslationRequest:
    """The request of some settings, by the fields' names; a field that is not given has its default.

    Raises:
        MakeRealError: INVALID_REQUEST for a field or value that this release does not know.
    """
    unknown = sorted(values.keys() - asdict(DEFAULTS).keys())
    if unknown:
        raise MakeRealError(ErrorCode.INVALID_REQUEST, f"a later release has made it: {', '.join(unknown)}")
    # A Blender float has 32 bits: 0.3 is 0.30000001192..., which would make another request of it.
    exact = {name: round(value, 6) if isinstance(value, float) else value for name, value in values.items()}
    return TranslationRequest(**exact)


def apply(request: TranslationRequest, settings: MakeRealSettings) -> None:
    """Let the settings stand for a request."""
    for name, value in asdict(request).items():
        setattr(settings, name, value)


def in_words(values: Mapping[str, Any]) -> str:
    """Settings for a person, by the names that the panel gives them: those that are not the defaults."""
    labels = MakeRealSettings.bl_rna.properties
    changed = {
        name: value for name, value in values.items() if name in labels and value != getattr(DEFAULTS, name)
    }
    return ", ".join(f"{labels[name].name} {value}" for name, value in changed.items()) or "Default settings"


CLASSES = (MakeRealSettings,)


def register() -> None:
    """Make the settings known to Blender."""
    for cls in CLASSES:
        bpy.utils.register_class(cls)
    bpy.types.Scene.make_real = PointerProperty(type=MakeRealSettings)


def unregister() -> None:
    """Take the settings back; what a blend file holds of them stays in it."""
    del bpy.types.Scene.make_real
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
