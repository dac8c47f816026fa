"""
How the weights move: groups of parameters, their optimiser, and its learning rate.

The rate is a factor that depends on progress alone, where torch's own schedules either multiply it on from step to step
(PolynomialLR, CosineAnnealingLR), which rounds otherwise, or move the momentum, too (OneCycleLR).
"""

import math
from typing import Any

import torch
from torch import nn

from lib.training.recipe import TrainConfig

ONECYCLE_RISE = 0.3  # share of the training in which the rate of "onecycle" rises


def learning_rate_factor(schedule: str, progress: float, power: float = 0.9, epochs: int = 90) -> float:
    """
    Share of the base learning rate after `progress` (0..1) of a training of so many `epochs`.

    "poly": (1 - progress) ** power, the paper's; "poly_compound": the product of these over all epochs so far, which is
    what the release's scripts do, as each multiplies the rate that the one before left; "cosine": half a cosine down to
    0; "onecycle": 30 % up from 1/25, then half a cosine down to 1e-4 (Smith 2018); "constant".
    """
    if schedule == "poly":
        return (1 - min(progress, 1.0)) ** power
    if schedule == "poly_compound":
        done = min(int(progress * epochs + 1e-9), epochs)
        return math.prod(1 - epoch / epochs for epoch in range(1, done + 1)) ** power
    if schedule == "cosine":
        return _half_cosine(1, 0, progress)
    if schedule == "onecycle":
        if progress < ONECYCLE_RISE:
            return _half_cosine(1 / 25, 1, progress / ONECYCLE_RISE)
        return _half_cosine(1, 1e-4, (progress - ONECYCLE_RISE) / (1 - ONECYCLE_RISE))
    return 1.0


def _half_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def parameter_groups(network: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
    """
    Parameters for an optimiser: those of the encoder apart; weights alone decay, not biases and norms.

    Frozen parameters are left out.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            rate = config.learning_rate * (config.encoder_lr_factor if name.startswith("encoder.") else 1)
            decay = config.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((rate, decay), []).append(parameter)
    return [{"params": group, "lr": rate, "weight_decay": decay} for (rate, decay), group in groups.items()]


def create_optimizer(
    network: nn.Module, config: TrainConfig, steps_per_epoch: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """Optimiser of a network's parameters, and the schedule of its rate, to be moved on after every step."""

    def factor(step: int) -> float:
        done = step if config.schedule_per_step else step // steps_per_epoch * steps_per_epoch
        progress = done / (config.epochs * steps_per_epoch)
        return learning_rate_factor(config.schedule, progress, config.poly_power, config.epochs)

    groups = parameter_groups(network, config)
    if config.optimizer == "sgd":
        optimizer = torch.optim.SGD(groups, momentum=0.9, nesterov=True)
    else:
        kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
        optimizer = kind(groups, fused=not config.clip_norm)  # Lightning doesn't clip for a fused one
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
