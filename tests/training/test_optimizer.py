"""Schedules of the learning rate, and groups of parameters."""

import pytest

from lib.networks.models import create_model
from lib.training.optimizer import learning_rate_factor, parameter_groups
from lib.training.recipe import TrainConfig


def test_poly_schedule():
    values = [2e-4 * learning_rate_factor("poly", epoch / 90) for epoch in (0, 1, 45, 89)]
    assert values == pytest.approx([2e-4, 2e-4 * (89 / 90) ** 0.9, 2e-4 * 0.5**0.9, 2e-4 * (1 / 90) ** 0.9])


def test_the_releases_schedule_multiplies_what_the_epoch_before_left():
    rate, released = 2e-4, []
    for epoch in range(1, 91):
        released.append(rate)
        rate *= (1 - epoch / 90) ** 0.9
    found = [2e-4 * learning_rate_factor("poly_compound", epoch / 90, epochs=90) for epoch in range(90)]
    assert found == pytest.approx(released, rel=1e-9)
    assert found[30] < 0.01 * 2e-4 < 2e-4 * learning_rate_factor("poly", 30 / 90)


def test_other_schedules():
    assert [learning_rate_factor("constant", p) for p in (0, 0.5, 1)] == [1, 1, 1]
    assert [learning_rate_factor("cosine", p) for p in (0, 0.5, 1)] == pytest.approx([1, 0.5, 0])
    one = [learning_rate_factor("onecycle", p) for p in (0, 0.15, 0.3, 0.65, 1)]
    assert one == pytest.approx([0.04, 0.52, 1, 0.50005, 1e-4])


def test_parameter_groups_by_part_and_kind():
    network = create_model("pp_linknet", "tu-mobilenetv3_small_050")
    network.encoder.model.conv_stem.requires_grad_(False)
    groups = parameter_groups(network, TrainConfig(learning_rate=1e-3, encoder_lr_factor=0.1, weight_decay=0.01))
    assert {(g["lr"], g["weight_decay"]) for g in groups} == {(1e-4, 0.01), (1e-4, 0), (1e-3, 0.01), (1e-3, 0)}
    assert sum(len(g["params"]) for g in groups) == len(list(network.parameters())) - 1
    assert all((p.ndim > 1) == (g["weight_decay"] > 0) for g in groups for p in g["params"])
