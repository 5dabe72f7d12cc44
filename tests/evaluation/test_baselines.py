# SPDX-License-Identifier: GPL-3.0-or-later
"""The baselines are what their papers and codes say."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from backend.evaluation.baselines import invert, plug_and_play, released, sdedit
from backend.evaluation.injection import Injection
from backend.evaluation.methods import Bench
from backend.translation.schedule import ddim


@pytest.fixture(scope="module")
def bench(model):
    return Bench(model, "cpu", rival_steps=10)


@pytest.fixture
def latents():
    return torch.randn(1, 32, 16, 16, generator=torch.Generator().manual_seed(0))


class Recorder:
    """A model that notes what it is asked and answers with a constant noise."""

    def __init__(self, model):
        self._model, self.asked = model, []

    def __getattr__(self, name):
        return getattr(self._model, name)

    def predict_noise(self, latents, timestep, *texts):
        self.asked.append((timestep, len(texts)))
        return torch.full_like(latents, 0.1).expand(len(texts), -1, -1, -1)


def test_the_released_inversion_visits_the_timesteps_backwards(bench, latents):
    walk = bench.walk(0.5)
    recorder = Recorder(bench.translator.model)
    invert(recorder, latents, walk, descending=True)
    assert [timestep for timestep, _ in recorder.asked] == [401, 301, 201, 101, 1]
    recorder.asked.clear()
    invert(recorder, latents, walk)
    assert [timestep for timestep, _ in recorder.asked] == [1, 101, 201, 301, 401]


def test_both_inversions_end_at_their_noise_levels_under_a_constant_noise(bench, latents):
    """Method notes, section 1.6: the last latent of the reversed walk has about the right level, those before not."""
    walk = bench.walk(0.5)
    recorder = Recorder(bench.translator.model)
    right, wrong = (invert(recorder, latents, walk, descending=d) for d in (False, True))
    noise = torch.full_like(latents, 0.1)
    for i in range(1, walk.steps + 1):
        torch.testing.assert_close(right[i], ddim(latents, noise, walk.alphas[0], walk.alphas[i]))
    assert (wrong[3] - right[3]).abs().max() > 0.01


def test_the_released_procedure_takes_sixty_passes_as_thirty_of_batch_one_and_fifteen_of_two(bench, latents):
    bench = replace_steps(bench, 50)
    recorder = Recorder(bench.translator.model)
    released(recorder, latents, bench.walk(0.3), descending=True)
    singles = [timestep for timestep, texts in recorder.asked if texts == 1]
    pairs = [timestep for timestep, texts in recorder.asked if texts == 2]
    assert singles[:15] == list(range(281, 0, -20))
    assert singles[15:] == list(range(281, 40, -20))  # 13 of 15 steps under control
    assert pairs == list(range(281, 0, -20))


def replace_steps(bench, steps):
    other = Bench(bench._folder, "cpu", rival_steps=steps)
    other.__dict__["translator"] = bench.translator
    return other


def test_the_released_guidance_and_half_injection(bench, latents):
    """With the render's own map in the empty half, and the step written out by hand."""
    model, walk = bench.translator.model, bench.walk(0.1)
    with torch.inference_mode():
        got = released(model, latents, walk, descending=True)
        noise = model.predict_noise(latents, 1, model.empty)
        x = ddim(latents, noise, walk.alphas[0], walk.alphas[1])
        # One step: int(0.9) = 0 steps are under control.
        empty, negative = model.predict_noise(x, 1, model.empty, model.negative).chunk(2)
        expected = ddim(x, 7.5 * empty - 6.5 * negative, walk.alphas[1], walk.alphas[0])
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


def test_the_released_procedure_needs_a_negative_embedding(bench, latents):
    with pytest.raises(ValueError, match="no negative embedding"):
        released(replace(bench.translator.model, negative=None), latents, bench.walk(0.3), descending=True)


def test_an_injection_changes_the_rows_it_is_told_and_goes_without_a_trace():
    layer = torch.nn.Linear(3, 3)
    first, second = torch.randn(1, 3), torch.randn(2, 3)
    own = layer(second)
    with Injection([layer]) as injection:
        injection.keep()
        kept = layer(first)
        injection.put(slice(0, 1))
        changed = layer(second)
        injection.rest()
        assert torch.equal(layer(second), own)
    assert torch.equal(changed[:1], kept) and torch.equal(changed[1:], own[1:])
    assert torch.equal(layer(second), own)


def test_sdedit_follows_its_seed(bench, latents):
    model, walk = bench.translator.model, bench.walk(0.3)
    with torch.inference_mode():
        first, again, other = (sdedit(model, latents, walk, seed) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_plug_and_play_injects_into_both_halves(bench, latents):
    """Under one prompt on both sides guidance cancels, and with all features the source's the pass is its own."""
    model, walk = bench.translator.model, bench.walk(0.3)
    with torch.inference_mode():
        same = plug_and_play(model, latents, walk, model.empty, model.empty)
        styled = plug_and_play(model, latents, walk, *bench.style_prompts)
    assert torch.isfinite(same).all()
    assert not torch.allclose(same, styled)
