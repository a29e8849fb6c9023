"""Plan a run: training and validation rows, batches, and the steps that the backend takes per call."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from lagvis.data.dataset import Dataset
from lagvis.data.messages import pluralize
from lagvis.data.split import split_off
from lagvis.data.weights import describe_weights
from lagvis.errors import RecipeError
from lagvis.option_text import option, setting
from lagvis.training import recipe as recipes
from lagvis.training.recipe import Recipe
from lagvis.training.seeding import generator
from lagvis.training.threads import OPERATIONS_FOR_ONE_THREAD, largest_product, threads_for

# A call should be about a tenth of a second of work for NumPy on a laptop: long enough that the work between calls does
# not count, short enough for a progress bar and Ctrl-C. Its steps are computed from these figures, never from a clock,
# so that the same recipe has the same calls everywhere.
CALL_SECONDS = 0.1
SECONDS_A_STEP = 2e-4
OPERATIONS_A_SECOND = 1e11
OPERATIONS_A_SECOND_SHARED = 2e11  # of products that are large enough for several threads

# A default validation part above the first share of the rows is cut to the second; an explicit --validation is not.
MAX_VALIDATION_SHARE = 0.2
SMALL_VALIDATION_SHARE = 0.1

MAX_THREADS = 4096  # that a caller may name; BLAS libraries have fewer


@dataclass(frozen=True)
class Plan:
    """Rows, batches and calls of a run.

    A step takes `accumulate` batches of `batch_size` rows. steps_per_call is the number of full steps of one call of
    the backend. If they do not divide an epoch evenly, it ends with a shorter call and a step of `tail` rows.
    `patience` is the number of epochs without a lower validation loss after which training stops; 0: it never does.
    """

    training_rows: np.ndarray
    validation_rows: np.ndarray
    epochs: int
    batch_size: int
    full_steps: int
    tail: int
    steps_per_call: int
    threads: int
    notices: tuple[str, ...]
    patience: int = 0
    accumulate: int = 1

    @property
    def steps_per_epoch(self) -> int:
        """Return the number of full steps, and one more if there is a tail."""
        return self.full_steps + (self.tail > 0)

    @property
    def rows_per_step(self) -> int:
        """Return the rows of a full step: of all its batches."""
        return self.batch_size * self.accumulate

    def samples_seen(self, step: int) -> int:
        """Return the number of rows in the first `step` steps of a run."""
        epochs, rest = divmod(step, self.steps_per_epoch)
        return epochs * (self.full_steps * self.rows_per_step + self.tail) + rest * self.rows_per_step


def make_plan(recipe: Recipe, dataset: Dataset, *, strict_validation: bool = False, threads: int | None = None) -> Plan:
    """Plan the run of a recipe on a data set. Rows of weight 0 are left out.

    A validation part of more than a fifth of the rows is cut to a tenth, with a notice. With `strict_validation` (the
    user set it) it is never cut, and RecipeError is raised if no training row remains. Epochs that make fewer steps
    than the recipe's min_steps are raised, with a notice. `threads` overrides the rule of training/threads.py.
    """
    rows = len(dataset.x_train) if dataset.w_train is None else np.count_nonzero(dataset.w_train)
    if threads is not None and (not isinstance(threads, int) or not 1 <= threads <= MAX_THREADS):
        raise RecipeError(f"threads is {threads!r}; expected a whole number from 1 to {MAX_THREADS:,}")
    held_out, notices = recipe.validation, list(dataset.all_notices)
    if dataset.w_train is not None:
        notices.append(describe_weights(dataset.w_train, dataset.weights_name))
    if strict_validation and held_out >= rows:
        raise RecipeError(f"validation is {held_out}, but there are {rows:,} rows to train on; hold out fewer")
    if not strict_validation and held_out > MAX_VALIDATION_SHARE * rows:
        held_out = int(SMALL_VALIDATION_SHARE * rows)
        kept = f"{held_out:,} {'is' if held_out == 1 else 'are'} held out for validation"
        notices.append(f"Of {rows:,} rows, {kept} instead of {recipe.validation:,}.")
    training, validation = split_rows(dataset, held_out, recipe.seed)
    if recipe.patience and not len(validation):
        raise RecipeError(
            f"patience is {recipe.patience}, but no rows are held out by whose loss it could stop; hold out some "
            f"with {setting('validation')}, or set patience to 0"
        )
    batch_size = recipe.batch_size
    if batch_size > len(training):
        notices.append(
            f"The batch size of {batch_size:,} is larger than the training part ({pluralize(len(training), 'row')}): "
            "an epoch is one batch."
        )
        batch_size = len(training)
    elif batch_size * recipe.accumulate > len(training):
        notices.append(
            f"{recipe.accumulate:,} batches of {pluralize(batch_size, 'row')} are more than the training part "
            f"({pluralize(len(training), 'row')}): an epoch is one step."
        )
    full_steps, tail = divmod(len(training), batch_size * recipe.accumulate)
    if recipe.normalizes_batches:
        if batch_size == 1:
            raise RecipeError(
                f"there is {len(training)} row to train on, and batch normalisation needs two rows in a batch; "
                f"hold out fewer rows ({setting('validation')}), or set normalization to layer or none"
            )
        if tail % batch_size == 1:
            tail -= 1
            which = "another one each time" if recipe.shuffle else "the last one"
            notices.append(
                f"Batch normalisation cannot learn from a batch of one row: one row of {len(training)} is left out of "
                f"each epoch, {which}."
            )
    epochs, steps = recipe.epochs, full_steps + (tail > 0)
    if 0 < epochs * steps < recipe.min_steps:
        epochs = -(-recipe.min_steps // steps)
        notices.append(
            f"An epoch of {len(training)} rows is {pluralize(steps, 'step')}: {epochs:,} epochs instead of "
            f"{recipe.epochs:,}, for at least {recipe.min_steps:,} steps (or set {setting('epochs')})."
        )
    widths = (dataset.x_train.shape[1], *recipe.hidden, dataset.n_out)
    return Plan(
        training, validation, epochs, batch_size, full_steps, tail,
        choose_steps_per_call(widths, batch_size * recipe.accumulate, full_steps),
        threads or threads_for(widths, batch_size), tuple(notices), recipe.patience, recipe.accumulate,
    )  # fmt: skip


def describe_few_steps(plan: Plan) -> str:
    """Return a sentence on a plan of fewer steps than the recipe `table` makes; or ""."""
    steps, enough = plan.epochs * plan.steps_per_epoch, recipes.load("table").min_steps
    if steps >= enough:
        return ""
    return (
        f"{pluralize(plan.epochs, 'epoch')} of {len(plan.training_rows):,} rows are {pluralize(steps, 'step')}, which "
        f"are few to learn in; {option('recipe', 'table')} makes {enough:,} or more."
    )


def split_rows(dataset: Dataset, held_out: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the training rows and so many validation rows, drawn by the seed; rows of weight 0 are in neither part."""
    if dataset.w_train is None:
        return split_off(dataset.y_train, held_out, generator(seed, "validation"))
    weighted = np.flatnonzero(dataset.w_train)
    training, validation = split_off(dataset.y_train[weighted], held_out, generator(seed, "validation"))
    return weighted[training], weighted[validation]


def choose_steps_per_call(widths: tuple[int, ...], rows_per_step: int, full_steps: int) -> int:
    """Steps per call: about CALL_SECONDS of work; a divisor of `full_steps` if there is one not much shorter."""
    shared = largest_product(widths, rows_per_step) > OPERATIONS_FOR_ONE_THREAD
    rate = OPERATIONS_A_SECOND_SHARED if shared else OPERATIONS_A_SECOND
    longest = int(CALL_SECONDS / (SECONDS_A_STEP + operations(widths, rows_per_step) / rate))
    longest = max(1, min(longest, full_steps))
    return next((n for n in range(longest, longest // 2, -1) if full_steps % n == 0), longest)


def operations(widths: tuple[int, ...], rows: int) -> int:
    """Multiplications and additions in the matrix products of a step, forward and back, for that many rows."""
    products = [n_in * n_out for n_in, n_out in pairwise(widths)]
    return 2 * rows * (3 * sum(products) - products[0])


def epoch_order(recipe: Recipe, plan: Plan, epoch: int) -> np.ndarray:
    """The training rows in the order of epoch 1, 2, ..., int32: a function of the seed and the epoch alone."""
    rows = plan.training_rows
    if recipe.shuffle:
        rows = generator(recipe.seed, "order", epoch).permutation(rows)
    return rows.astype(np.int32)


def split_epoch(plan: Plan, order: np.ndarray) -> list[np.ndarray]:
    """The order of an epoch as index arrays (S, rows of a step), one for each call."""
    rows = plan.full_steps * plan.rows_per_step
    full = order[:rows].reshape(plan.full_steps, plan.rows_per_step)
    calls = [full[first : first + plan.steps_per_call] for first in range(0, plan.full_steps, plan.steps_per_call)]
    if plan.tail:
        calls.append(order[None, rows : rows + plan.tail])
    return calls


def as_batches(recipe: Recipe, indices: np.ndarray) -> np.ndarray | list[np.ndarray]:
    """Return the rows (S, R) of steps as a step takes them: (S, B), or with accumulation a list of (S, K, B).

    K batches of the batch size, and what is left as one smaller batch.
    """
    if recipe.accumulate == 1:
        return indices
    steps, rows = indices.shape
    whole = rows // recipe.batch_size
    parts = np.split(indices, [whole * recipe.batch_size], axis=1)
    sizes = (recipe.batch_size, rows % recipe.batch_size)
    return [part.reshape(steps, -1, size) for part, size in zip(parts, sizes, strict=True) if part.size]
