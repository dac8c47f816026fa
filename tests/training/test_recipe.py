"""The recipe: the paper's by default, every field within reach of a notebook, mistakes named."""

import pytest

from lib.errors import ParameterError
from lib.parameters import declared
from lib.training.recipe import TrainConfig, beside_the_papers, train_config


def test_default_is_the_papers():
    config = TrainConfig()
    assert (config.loss, config.focal_alpha, config.focal_gamma) == ("focal", 0.25, 0.5)
    assert (config.optimizer, config.learning_rate, config.schedule, config.poly_power) == ("adam", 2e-4, "poly", 0.9)
    assert (config.epochs, config.batch_size, config.augmentation) == (90, 8, "paper")
    assert beside_the_papers(config).empty
    assert beside_the_papers(TrainConfig(seed=1)).to_dict("index") == {"seed": {"here": 1, "the paper": 0}}


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


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"loss": "focall"}, "loss is 'focall': expected one of"),
        ({"crop_px": 100}, "multiple of 32"),
        ({"epochs": 0}, "epochs is 0"),
        ({"schedule": "linear"}, "schedule is 'linear'"),
        ({"batch_size": 3, "devices": 2}, "not a multiple of the 2 processes"),
    ],
)
def test_parameters_are_checked(values, message):
    with pytest.raises(ParameterError, match=message):
        TrainConfig(**values)
