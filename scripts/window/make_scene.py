# SPDX-License-Identifier: GPL-3.0-or-later
"""Save the demo's garment scene, not rendered, as a blend file that any Blender from 4.2 on opens.

.build/bpy-4.2/bin/python scripts/window/make_scene.py out/window/garment.blend
"""

import sys
from pathlib import Path

import bpy

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scenes import garment_demo

WIDTH, HEIGHT, SAMPLES = 480, 640, 64

garment_demo.build_scene(WIDTH, HEIGHT, SAMPLES)
path = Path(sys.argv[1]).resolve()
path.parent.mkdir(parents=True, exist_ok=True)
bpy.ops.wm.save_as_mainfile(filepath=str(path), compress=True)
