import numpy as np
import pytest

from lagvis.network.schedules import constant, linear


def test_constant_is_max_lr_at_every_step():
    assert constant(np.arange(3), 10, 0.05, 0.3, xp=np).tolist() == [0.05, 0.05, 0.05]


@pytest.mark.parametrize(("steps", "warmup"), [(10, 0.3), (100, 0.3), (100, 0.5), (50, 0.06), (7, 0.9)])
def test_linear_equals_two_linear_schedules_of_pytorch(torch, steps, warmup):
    rising = round(warmup * steps)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.2)
    schedulers = torch.optim.lr_scheduler
    up = schedulers.LinearLR(optimizer, 1 / rising, 1.0, total_iters=max(rising - 1, 1))
    down = schedulers.LinearLR(optimizer, 1.0, 1 / (steps - rising), total_iters=max(steps - rising - 1, 1))
    both = schedulers.SequentialLR(optimizer, [up, down], milestones=[rising])
    expected = []
    for _ in range(steps):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        both.step()
    np.testing.assert_allclose(linear(np.arange(steps), steps, 0.2, warmup, xp=np), expected, rtol=1e-9)


def test_linear_part_of_the_steps_equals_part_of_the_result():
    whole = linear(np.arange(40), 40, 0.1, 0.3, xp=np)
    assert linear(np.arange(7, 19), 40, 0.1, 0.3, xp=np).tolist() == whole[7:19].tolist()


def test_linear_without_warmup_starts_at_max_lr_and_stays_positive():
    rates = linear(np.arange(5), 5, 0.5, 0.0, xp=np)
    np.testing.assert_allclose(rates, [0.5, 0.4, 0.3, 0.2, 0.1])
