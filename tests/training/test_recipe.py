"""Recipes: which is the paper's and which its release's, every field within reach of a notebook, mistakes named."""

import pytest

from lib.errors import ParameterError
from lib.parameters import declared
from lib.training.recipe import TrainConfig, beside_the_release, train_config


def test_default_is_the_papers_with_a_validation():
    config = TrainConfig()
    assert (config.loss, config.focal_alpha, config.focal_gamma) == ("focal", 0.25, 0.5)
    assert (config.optimizer, config.learning_rate, config.schedule, config.poly_power) == ("adam", 2e-4, "poly", 0.9)
    assert (config.epochs, config.batch_size, config.augmentation) == (90, 8, "paper")
    assert (config.keep_by, config.normalisation, config.threshold) == ("val_iou", "data", 0)
    assert train_config({"recipe": "validated", "epochs": 3}) == TrainConfig(epochs=3)


@pytest.mark.parametrize(("task", "crop_px", "batch_size"), [("roads", 1024, 8), ("buildings", 512, 9)])
def test_the_releases_recipes_go_over_a_notebooks_values(task, crop_px, batch_size):
    notebook = {"epochs": 12, "crop_px": 192, "batch_size": 4, "patience": 0, "learning_rate": 5e-4, "seed": 3}
    config = train_config(notebook | {"recipe": f"release-{task}"})
    assert (config.crop_px, config.batch_size, config.epochs, config.patience) == (crop_px, batch_size, 90, 7)
    assert (config.keep_by, config.normalisation, config.threshold) == ("train_loss", "release", 0.25)
    assert (config.focal_gradient, config.schedule, config.seed) == ("detached", "poly_compound", 3)
    assert beside_the_release(config, task).empty
    changed = train_config({"recipe": f"release-{task}", "train_options": {"patience": 2}})
    assert beside_the_release(changed, task).to_dict("index") == {"patience": {"here": 2, "the release": 7}}
    ours = beside_the_release(TrainConfig(), task)
    assert {"crop_px", "focal_gradient", "keep_by", "normalisation", "patience"} - set(ours.index) <= {"crop_px"}


@pytest.mark.parametrize("notebook", ["02_train_stage1", "03_train_stage2"])
def test_notebooks_reach_every_field(notebook):
    parameters = {name: default for name, (_, default) in declared(notebook).items()}
    config = train_config(parameters | {"seed": 3, "train_options": {"clip_norm": 1, "compile": True}})
    assert (config.seed, config.clip_norm, config.compile) == (3, 1.0, True)
    assert (config.epochs, config.crop_px) == (parameters["epochs"], parameters["crop_px"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clipnorm": 1.0}, "train_options has no parameter 'clipnorm'; the nearest known one is 'clip_norm'"),
        ({"accumulate": 1.5}, "'accumulate' is a int, but 1.5 of type float came"),
    ],
)
def test_unknown_options_are_named(options, message):
    with pytest.raises(ParameterError, match=message):
        train_config({"train_options": options})


def test_unknown_recipes_are_named():
    with pytest.raises(ParameterError, match="recipe is 'release-road': .* the nearest is 'release-roads'"):
        train_config({"recipe": "release-road"})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"loss": "focall"}, "loss is 'focall': expected one of"),
        ({"focal_gradient": "half"}, "focal_gradient is 'half': expected one of"),
        ({"crop_px": 100}, "multiple of 32"),
        ({"epochs": 0}, "epochs is 0"),
        ({"schedule": "linear"}, "schedule is 'linear'"),
        ({"batch_size": 3, "devices": 2}, "not a multiple of the 2 processes"),
    ],
)
def test_parameters_are_checked(values, message):
    with pytest.raises(ParameterError, match=message):
        TrainConfig(**values)
