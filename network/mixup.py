"""Mixup (Zhang et al. 2018): a step learns from mixtures of two rows of its batch."""

from lagvis.arrays import Array, Namespace


def mix_rows(batch: dict[str, Array], share: Array, *, xp: Namespace) -> dict[str, Array]:
    """Return a batch in which each row is share row + (1 - share) row before it; x, targets and weights w alike.

    The first row is mixed with the last. Classes and labels stay those of the larger part, by which rows are judged.
    """

    def mixed(a: Array) -> Array:
        before = xp.concat([a[..., -1:, :], a[..., :-1, :]], axis=-2)
        return before + share * (a - before)

    changed = {"x": mixed(batch["x"]), "target": mixed(batch["target"])}
    if "w" in batch:
        changed["w"] = mixed(batch["w"][..., None])[..., 0]
    return batch | changed
