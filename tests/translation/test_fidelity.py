# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np
import pytest
import torch
from garment_samples import box_mask, picture
from skimage.metrics import structural_similarity

from backend.translation.colour_difference import ciede2000, srgb_to_lab
from backend.translation.fidelity import COLOUR_LIMIT, HIGHPASS_LIMIT, SSIM_LIMIT, drift_warnings
from backend.translation.fidelity import measure as measure_planes

# Published with the formula (Sharma, Wu, Dalal 2005): L1 a1 b1, L2 a2 b2, difference. The pairs probe the hue's
# discontinuities, the rotation term and near-neutral colours.
SHARMA = np.array(
    [
        (50.0000, 2.6772, -79.7751, 50.0000, 0.0000, -82.7485, 2.0425),
        (50.0000, 3.1571, -77.2803, 50.0000, 0.0000, -82.7485, 2.8615),
        (50.0000, 2.8361, -74.0200, 50.0000, 0.0000, -82.7485, 3.4412),
        (50.0000, -1.3802, -84.2814, 50.0000, 0.0000, -82.7485, 1.0000),
        (50.0000, -1.1848, -84.8006, 50.0000, 0.0000, -82.7485, 1.0000),
        (50.0000, -0.9009, -85.5211, 50.0000, 0.0000, -82.7485, 1.0000),
        (50.0000, 0.0000, 0.0000, 50.0000, -1.0000, 2.0000, 2.3669),
        (50.0000, -1.0000, 2.0000, 50.0000, 0.0000, 0.0000, 2.3669),
        (50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0009, 7.1792),
        (50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0010, 7.1792),
        (50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0011, 7.2195),
        (50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0012, 7.2195),
        (50.0000, -0.0010, 2.4900, 50.0000, 0.0009, -2.4900, 4.8045),
        (50.0000, -0.0010, 2.4900, 50.0000, 0.0010, -2.4900, 4.8045),
        (50.0000, -0.0010, 2.4900, 50.0000, 0.0011, -2.4900, 4.7461),
        (50.0000, 2.5000, 0.0000, 50.0000, 0.0000, -2.5000, 4.3065),
        (50.0000, 2.5000, 0.0000, 73.0000, 25.0000, -18.0000, 27.1492),
        (50.0000, 2.5000, 0.0000, 61.0000, -5.0000, 29.0000, 22.8977),
        (50.0000, 2.5000, 0.0000, 56.0000, -27.0000, -3.0000, 31.9030),
        (50.0000, 2.5000, 0.0000, 58.0000, 24.0000, 15.0000, 19.4535),
        (50.0000, 2.5000, 0.0000, 50.0000, 3.1736, 0.5854, 1.0000),
        (50.0000, 2.5000, 0.0000, 50.0000, 3.2972, 0.0000, 1.0000),
        (50.0000, 2.5000, 0.0000, 50.0000, 1.8634, 0.5757, 1.0000),
        (50.0000, 2.5000, 0.0000, 50.0000, 3.2592, 0.3350, 1.0000),
        (60.2574, -34.0099, 36.2677, 60.4626, -34.1751, 39.4387, 1.2644),
        (63.0109, -31.0961, -5.8663, 62.8187, -29.7946, -4.0864, 1.2630),
        (61.2901, 3.7196, -5.3901, 61.4292, 2.2480, -4.9620, 1.8731),
        (35.0831, -44.1164, 3.7933, 35.0232, -40.0716, 1.5901, 1.8645),
        (22.7233, 20.0904, -46.6940, 23.0331, 14.9730, -42.5619, 2.0373),
        (36.4612, 47.8580, 18.3852, 36.2715, 50.5065, 21.2231, 1.4146),
        (90.8027, -2.0831, 1.4410, 91.1528, -1.6435, 0.0447, 1.4441),
        (90.9257, -0.5406, -0.9208, 88.6381, -0.8985, -0.7239, 1.5381),
        (6.7747, -0.2908, -2.4247, 5.8714, -0.0985, -2.2286, 0.6377),
        (2.0776, 0.0795, -1.1350, 0.9033, -0.0636, -0.5514, 0.9082),
    ]
)


def test_ciede2000_of_the_published_pairs() -> None:
    first, second, difference = torch.from_numpy(SHARMA).split((3, 3, 1), dim=1)
    torch.testing.assert_close(ciede2000(first, second), difference[:, 0], atol=5e-5, rtol=0)
    torch.testing.assert_close(ciede2000(second, first), difference[:, 0], atol=5e-5, rtol=0)


def test_lab_of_known_colours() -> None:
    colours = torch.tensor([(1.0, 1.0, 1.0), (1.0, 0.0, 0.0), (0.0, 0.0, 0.0)])
    expected = torch.tensor([(100, 0, 0), (53.24, 80.09, 67.20), (0, 0, 0)])
    torch.testing.assert_close(srgb_to_lab(colours), expected, atol=0.02, rtol=0)


def measure(render: np.ndarray, result: np.ndarray, garment: np.ndarray) -> dict[str, float]:
    """Of pictures (height width 3)."""
    first, second = (torch.from_numpy(image.astype(np.float32)).movedim(-1, 0) for image in (render, result))
    return measure_planes(first, second, torch.from_numpy(garment))


def as_float(image: np.ndarray) -> np.ndarray:
    return image.astype(np.float32) / 255


def moved(image: np.ndarray, rows: float, columns: float) -> np.ndarray:
    """The picture displaced by a fraction of a pixel, exactly: by the shift theorem."""
    frequencies = [np.fft.fftfreq(n) for n in image.shape[:2]]
    phase = np.exp(-2j * np.pi * (frequencies[0][:, None] * rows + frequencies[1][None, :] * columns))
    return np.fft.ifft2(np.fft.fft2(image, axes=(0, 1)) * phase[..., None], axes=(0, 1)).real.astype(
        np.float32
    )


def cloth() -> np.ndarray:
    """Smooth at the pixel scale, so that a sub-pixel shift is defined."""
    rng = np.random.default_rng(0)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(192), np.fft.fftfreq(192)))
    spectrum = np.fft.fft2(rng.normal(size=(192, 192))) * np.exp(-((frequency / 0.12) ** 2))
    texture = np.fft.ifft2(spectrum).real
    return (0.5 + 0.08 * texture / texture.std())[..., None].repeat(3, 2).astype(np.float32)


MASK = as_float(box_mask(192, 192))


def test_the_same_picture_is_perfect() -> None:
    image = as_float(picture(192, 192))
    report = measure(image, image, MASK)
    assert report["ssim_garment"] == pytest.approx(1)
    assert report["highpass_garment"] == pytest.approx(1)
    assert report["delta_e_garment"] == report["colour_garment"] == report["alignment_px"] == 0


def test_ssim_is_that_of_scikit_image() -> None:
    first, second = as_float(picture(192, 192, seed=1)), as_float(picture(192, 192, seed=2)) * 0.8 + 0.1
    report = measure(first, second, np.ones((192, 192), np.float32))
    lumas = [image.astype(np.float64) @ (0.2126, 0.7152, 0.0722) for image in (first, second)]
    expected = structural_similarity(
        *lumas, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    # Their Gaussian is cut off at 3.5 sigma and their mean leaves out the border.
    assert report["ssim_garment"] == pytest.approx(expected, abs=2e-3)


def test_only_the_garment_counts() -> None:
    image = as_float(picture(192, 192))
    changed = image.copy()
    changed[:30] = 1 - changed[:30]
    report = measure(image, changed, MASK)
    assert report["ssim_garment"] == pytest.approx(1) and report["delta_e_garment"] == 0


def test_neither_light_in_folds_nor_noise_is_colour_but_tint_and_exposure_are() -> None:
    image = as_float(picture(192, 192)) * 0.5 + 0.25
    folds = 1 + 0.25 * np.sin(np.arange(192, dtype=np.float32) / 8)[:, None, None]
    noise = np.random.default_rng(1).normal(0, 0.03, image.shape).astype(np.float32)
    for unchanged in (image * folds, image + noise):
        report = measure(image, unchanged, MASK)
        assert report["delta_e_garment"] > 3 and report["colour_garment"] < COLOUR_LIMIT
    for changed in (image * np.float32([1, 1, 0.8]), image * np.float32(0.85)):
        assert measure(image, changed, MASK)["colour_garment"] > COLOUR_LIMIT


@pytest.mark.parametrize("shift", [(0.3, 0.0), (0.0, -0.3), (0.2, 0.2), (1.6, -0.7), (5.0, 3.0)])
def test_a_known_shift_is_found(shift: tuple[float, float]) -> None:
    image = cloth()
    report = measure(image, moved(image, *shift), MASK)
    assert report["alignment_px"] == pytest.approx(np.hypot(*shift), abs=0.05)


def test_a_shift_is_found_under_new_light_and_grain() -> None:
    image = cloth()
    light = np.linspace(0.6, 1.1, 192, dtype=np.float32)[:, None, None]
    grain = np.random.default_rng(1).normal(0, 0.02, image.shape).astype(np.float32)
    still = measure(image, image * light + grain, MASK)
    displaced = measure(image, moved(image, 0.3, 0.0) * light + grain, MASK)
    assert still["alignment_px"] < 0.05
    assert displaced["alignment_px"] == pytest.approx(0.3, abs=0.06)


def test_a_zoom_is_found() -> None:
    """Magnified by 2 % about its centre the garment does not move as a whole, but its halves do."""
    image = torch.from_numpy(cloth()).permute(2, 0, 1)[None]
    zoom = torch.tensor([[[1 / 1.02, 0, 0], [0, 1 / 1.02, 0]]])
    grid = torch.nn.functional.affine_grid(zoom, list(image.shape), align_corners=False)
    zoomed = torch.nn.functional.grid_sample(image, grid, mode="bicubic", align_corners=False)
    report = measure(cloth(), zoomed[0].permute(1, 2, 0).numpy(), MASK)
    assert 0.25 < report["alignment_px"] < 1.0


FAITHFUL = {"ssim_garment": 0.95, "highpass_garment": 0.95, "colour_garment": 1.0, "alignment_px": 0.1}


@pytest.mark.parametrize(
    ("drift", "words"),
    [
        ({}, None),
        ({"ssim_garment": SSIM_LIMIT - 0.01}, "texture drifted"),
        ({"highpass_garment": HIGHPASS_LIMIT - 0.01}, "texture drifted"),
        ({"colour_garment": COLOUR_LIMIT + 0.1}, "colour drifted"),
        ({"alignment_px": 0.3}, "displaced by 0.30 pixels"),
    ],
)
def test_what_drifted_is_told(drift: dict[str, float], words: str | None) -> None:
    warnings = drift_warnings({**FAITHFUL, **drift})
    assert [words in warning for warning in warnings] == ([True] if words else [])


def test_a_blurred_and_a_tinted_garment_are_warned_of() -> None:
    image = as_float(picture(192, 192))
    blurred = torch.nn.functional.avg_pool2d(torch.from_numpy(image).permute(2, 0, 1)[None], 5, 1, 2)
    [texture] = drift_warnings(measure(image, blurred[0].permute(1, 2, 0).numpy(), MASK))[:1]
    [colour] = drift_warnings(measure(image, (image * (1.0, 1.0, 0.8)).astype(np.float32), MASK))
    assert "texture" in texture and "colour" in colour
