# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
import torch

from backend.translation.windows import Window, cover, evaluate


def test_up_to_the_tolerance_a_picture_is_taken_whole() -> None:
    assert cover(64, 48, 3072, 1.5, 8) == (Window(0, 0, 64, 48),)
    assert cover(64, 72, 3072, 1.5, 8) == (Window(0, 0, 64, 72),)
    assert len(cover(64, 80, 3072, 1.5, 8)) > 1


@pytest.mark.parametrize(("height", "width"), [(136, 240), (240, 136), (80, 80), (16, 512), (64, 80)])
def test_windows_cover_and_overlap_and_stay_native(height: int, width: int) -> None:
    windows = cover(height, width, 3072, 1.5, 8)
    assert len({(w.height, w.width) for w in windows}) == 1, "one shape, so that the network has one shape"
    assert all(w.height * w.width <= 3072 and w.height % 8 == 0 and w.width % 8 == 0 for w in windows)
    count = torch.zeros(height, width)
    for window in windows:
        window.cut(count).add_(1)
    assert count.min() >= 1
    for side, starts in (
        (windows[0].height, {w.top for w in windows}),
        (windows[0].width, {w.left for w in windows}),
    ):
        assert all(b - a <= 0.76 * side for a, b in zip(sorted(starts), sorted(starts)[1:], strict=False))


def test_blending_returns_what_all_windows_agree_on() -> None:
    plane = torch.randn(1, 4, 40, 56, generator=torch.Generator().manual_seed(0))
    windows = cover(40, 56, 512, 1.0, 8)
    assert len(windows) > 4
    torch.testing.assert_close(evaluate(lambda _i, window: window.cut(plane), windows), plane)


def test_blending_scales_like_a_decoder() -> None:
    plane = torch.randn(1, 1, 80, 112, generator=torch.Generator().manual_seed(0))
    windows = cover(40, 56, 512, 1.0, 8)
    torch.testing.assert_close(evaluate(lambda _i, window: window.cut(plane, 2), windows, 2), plane)


def test_blending_leaves_no_step_where_windows_disagree() -> None:
    windows = cover(32, 96, 1024, 1.0, 8)
    levels = evaluate(
        lambda index, window: torch.full((1, 1, window.height, window.width), float(index)), windows
    )
    assert levels.diff(dim=-1).abs().max() < 0.15
