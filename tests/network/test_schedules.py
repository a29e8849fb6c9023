"""Schedules against torch.optim.lr_scheduler, a line a case, and their ends."""

import numpy as np
import pytest

from lagvis.network.schedules import SCHEDULES, constant, cosine, linear, one_cycle, step

MAX_LR = 0.2


def lr_shares(schedule, steps, xp=np):
    return schedule.lr_share(np.arange(steps, dtype=np.float64), steps, xp=xp)


def warmed_up(torch, optimizer, rising, later):
    """Put a linear warm-up of `rising` steps in front of a scheduler of torch."""
    schedulers = torch.optim.lr_scheduler
    if not rising:
        return later
    up = schedulers.LinearLR(optimizer, 1 / rising, 1.0, total_iters=max(rising - 1, 1))
    return schedulers.SequentialLR(optimizer, [up, later], milestones=[rising])


# id: (ours, steps, share of them in the warm-up, class of lr_scheduler after it, its options)
AGAINST_TORCH = {
    "constant": (constant(warmup=0.0), 10, 0.0, "ConstantLR", {"factor": 1.0}),
    "constant, warm-up": (constant(warmup=0.25), 40, 0.25, "ConstantLR", {"factor": 1.0}),
    "linear": (linear(warmup=0.3, min_lr_ratio=0.0), 10, 0.3, "LinearLR", {"end_factor": 1 / 7, "total_iters": 6}),
    "linear, 0.5": (
        linear(warmup=0.5, min_lr_ratio=0.0), 100, 0.5, "LinearLR", {"end_factor": 0.02, "total_iters": 49},
    ),
    "linear, 0.9": (linear(warmup=0.9, min_lr_ratio=0.0), 7, 0.9, "LinearLR", {"end_factor": 1.0, "total_iters": 1}),
    "linear, floor": (
        linear(warmup=0.2, min_lr_ratio=0.1), 50, 0.2, "LinearLR", {"end_factor": 0.1, "total_iters": 40},
    ),
    "cosine": (cosine(warmup=0.0, min_lr_ratio=0.0), 50, 0.0, "CosineAnnealingLR", {"T_max": 50}),
    "cosine, warm-up": (cosine(warmup=0.1, min_lr_ratio=0.0), 50, 0.1, "CosineAnnealingLR", {"T_max": 45}),
    "cosine, floor": (
        cosine(warmup=0.1, min_lr_ratio=0.25), 50, 0.1, "CosineAnnealingLR", {"T_max": 45, "eta_min": 0.05},
    ),
    "step": (
        step(warmup=0.0, min_lr_ratio=0.0, lr_step_size=0.3, lr_gamma=0.1), 40, 0.0, "StepLR",
        {"step_size": 12, "gamma": 0.1},
    ),
    "step, warm-up": (
        step(warmup=0.1, min_lr_ratio=0.0, lr_step_size=0.25, lr_gamma=0.5), 40, 0.1, "StepLR",
        {"step_size": 10, "gamma": 0.5},
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:The epoch parameter in `scheduler.step")  # which PyTorch 2.6 itself passes
@pytest.mark.parametrize("case", AGAINST_TORCH)
def test_lr_share_equals_lr_scheduler(backend, torch, case):
    schedule, steps, warmup, name, options = AGAINST_TORCH[case]
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=MAX_LR)
    start = {"start_factor": 1.0} if name == "LinearLR" else {}
    later = getattr(torch.optim.lr_scheduler, name)(optimizer, **start, **options)
    scheduler = warmed_up(torch, optimizer, round(warmup * steps), later)
    expected = []
    for _ in range(steps):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    t = backend.asarray(np.arange(steps, dtype=np.float64))
    found = backend.to_numpy(schedule.lr_share(t, steps, xp=backend.xp))
    np.testing.assert_allclose(MAX_LR * found, expected, rtol=1e-9)


ONE_CYCLES = [
    # steps, warm-up, final_div_factor, momentum, base momentum
    (100, 0.3, 1e4, 0.95, 0.85),
    (77, 0.25, 1e4, 0.9, 0.85),
    (50, 0.5, 10.0, 0.9, 0.5),
    (33, 0.9, 1.0, 0.99, 0.0),
]


@pytest.mark.parametrize(("steps", "warmup", "final_div_factor", "momentum", "base_momentum"), ONE_CYCLES)
def test_one_cycle_equals_one_cycle_lr(backend, torch, steps, warmup, final_div_factor, momentum, base_momentum):
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=MAX_LR, momentum=momentum)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=MAX_LR, total_steps=steps, pct_start=warmup, div_factor=25.0,
        final_div_factor=final_div_factor, max_momentum=momentum, base_momentum=base_momentum,
    )  # fmt: skip
    rates, momenta = [], []
    for i in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        momenta.append(optimizer.param_groups[0]["momentum"])
        optimizer.step()
        if i < steps - 1:
            scheduler.step()
    ours = one_cycle(warmup=warmup, min_lr_ratio=1 / 25 / final_div_factor, base_momentum=base_momentum)
    t = backend.asarray(np.arange(steps, dtype=np.float64))
    found = backend.to_numpy(ours.lr_share(t, steps, xp=backend.xp))
    np.testing.assert_allclose(MAX_LR * found, rates, rtol=1e-9)
    found = backend.to_numpy(ours.momentum(t, steps, momentum, xp=backend.xp))
    np.testing.assert_allclose(found, momenta, rtol=1e-9)


# --- every schedule of the table


def made(name, **settings):
    return SCHEDULES[name].make(**SCHEDULES[name].settings | settings)


@pytest.mark.parametrize("name", SCHEDULES)
def test_lr_share_of_some_steps_equals_part_of_the_result(name):
    whole = lr_shares(made(name), 40)
    part = made(name).lr_share(np.arange(7.0, 19.0), 40, xp=np)
    assert part.tolist() == whole[7:19].tolist()


@pytest.mark.parametrize("warmup", [0.0, 0.3, 0.99])
@pytest.mark.parametrize("steps", [1, 2, 3, 10, 1000])
@pytest.mark.parametrize("name", SCHEDULES)
def test_lr_share_of_any_length_is_above_0_and_at_most_1(name, steps, warmup):
    with np.errstate(all="raise"):
        found = lr_shares(made(name, warmup=warmup), steps)
    assert found.shape == (steps,)
    assert (found > 0.0).all()
    assert found.max() <= 1.0 + 1e-15


@pytest.mark.parametrize("name", [name for name in SCHEDULES if "min_lr_ratio" in SCHEDULES[name].settings])
def test_lr_share_after_warmup_stays_above_the_floor(name):
    found = lr_shares(made(name, warmup=0.0, min_lr_ratio=0.2), 60)
    assert found.min() >= 0.2 - 1e-15
    assert found[-1] < 0.25
    assert (np.diff(found) <= 1e-15).all()


def test_linear_without_warmup_falls_in_equal_steps():
    np.testing.assert_allclose(lr_shares(linear(warmup=0.0, min_lr_ratio=0.0), 5), [1.0, 0.8, 0.6, 0.4, 0.2])


def test_step_floor_is_where_the_stairs_end():
    found = lr_shares(step(warmup=0.0, min_lr_ratio=0.02, lr_step_size=0.3, lr_gamma=0.1), 10)
    np.testing.assert_allclose(found, [1.0, 1.0, 1.0, 0.1, 0.1, 0.1, 0.02, 0.02, 0.02, 0.02])


def test_one_cycle_of_one_step_has_the_largest_rate_and_the_base_momentum():
    schedule = made("one-cycle")
    assert lr_shares(schedule, 1).tolist() == [1.0]
    assert schedule.momentum(np.zeros(1), 1, 0.9, xp=np).tolist() == [0.85]


def test_only_one_cycle_changes_momentum():
    assert [name for name in SCHEDULES if made(name).momentum is not None] == ["one-cycle"]
