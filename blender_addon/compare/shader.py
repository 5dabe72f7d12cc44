# SPDX-License-Identifier: GPL-3.0-or-later
"""The one shader of the comparison, and the textures that it reads. Everything here needs a window.

The textures hold the files' own display values, not colour managed by Blender, so the render looks as the Image
Editor shows the file, and a difference is one of display values. A region may be drawn into a framebuffer that encodes
what it is given: Blender tells every shader by a constant named `srgbTarget`, as it does its own.
"""

from __future__ import annotations

import gpu
import numpy as np
from gpu_extras.batch import batch_for_shader

WIPE_ACROSS, WIPE_DOWN, DIFFERENCE = 0, 1, 2
"""Values of the shader's `mode`."""

VERTEX = """
void main()
{
  across = place;
  gl_Position = vec4(mix(corners.xy, corners.zw, place), 0.0, 1.0);
}
"""
FRAGMENT = """
/* Where the framebuffer encodes, Blender lays it over the picture with an exponent of 2.2 (OCIO_ProcessColor). */
vec4 to_framebuffer(vec3 shown)
{
  return vec4(srgbTarget ? pow(max(shown, vec3(0.0)), vec3(2.2)) : shown, 1.0);
}

void main()
{
  /* The nearest pixel, as the editor itself draws, so that nothing moves when the line passes. A picture that stands
   * half a pixel off has two: the editor takes the upper one. */
  ivec2 size = textureSize(before, 0);
  ivec2 pixel = clamp(ivec2(across * vec2(size) + 0.01), ivec2(0), size - 1);
  vec4 render = texelFetch(before, pixel, 0);
  if (mode == 2) {
    vec4 result = texelFetch(after, pixel, 0);
    color = to_framebuffer(abs(result.rgb - render.rgb) * gain);
    return;
  }
  float along = (mode == 0) ? across.x : 1.0 - across.y;
  if (along > split) {
    discard;
  }
  /* The editor shows transparency as squares; so do we. */
  ivec2 square = ivec2(gl_FragCoord.xy / square_size);
  vec4 ground = ((square.x + square.y) % 2 == 0) ? square_first : square_second;
  color = to_framebuffer(mix(ground.rgb, render.rgb, render.a));
}
"""


def build() -> gpu.types.GPUShader:
    """Compile it."""
    info = gpu.types.GPUShaderCreateInfo()
    info.push_constant("VEC4", "square_first")
    info.push_constant("VEC4", "square_second")
    info.push_constant("VEC4", "corners")
    info.push_constant("FLOAT", "square_size")
    info.push_constant("FLOAT", "split")
    info.push_constant("FLOAT", "gain")
    info.push_constant("INT", "mode")
    info.push_constant("BOOL", "srgbTarget")
    info.sampler(0, "FLOAT_2D", "before")
    info.sampler(1, "FLOAT_2D", "after")
    between = gpu.types.GPUStageInterfaceInfo("make_real_compare")
    between.smooth("VEC2", "across")
    info.vertex_in(0, "VEC2", "place")
    info.vertex_out(between)
    info.fragment_out(0, "VEC4", "color")
    info.vertex_source(VERTEX)
    info.fragment_source(FRAGMENT)
    return gpu.shader.create_from_info(info)


def square(shader: gpu.types.GPUShader) -> gpu.types.GPUBatch:
    """A unit square for it."""
    return batch_for_shader(shader, "TRI_FAN", {"place": ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))})


def texture(pixels: np.ndarray) -> gpu.types.GPUTexture:
    """Display values as a texture.

    Args:
        pixels: (height, width, 4) float32, top row first.
    """
    height, width = pixels.shape[:2]
    upwards = np.ascontiguousarray(pixels[::-1]).reshape(-1)
    data = gpu.types.Buffer("FLOAT", upwards.size, upwards)
    return gpu.types.GPUTexture((width, height), format="RGBA16F", data=data)
