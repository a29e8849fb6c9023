"""Lines of plain progress output."""

from lagvis.report.text import duration, metrics_text, pluralize
from lagvis.training.events import EpochEnded, Started


def start_line(event: Started) -> str:
    """Return one line with the network, the rows and the epochs of a run."""
    plan, model = event.plan, event.model
    return (
        f"{'-'.join(map(str, model.widths))}, {model.parameters:,} parameters: "
        f"{len(plan.training_rows):,} rows to train on, {len(plan.validation_rows):,} for validation, "
        f"{pluralize(plan.epochs, 'epoch')} of {pluralize(plan.steps_per_epoch, 'step')}"
    )


def epoch_line(event: EpochEnded, epochs: int) -> str:
    """Return one line with the metrics of an epoch."""
    counter = f"epoch {event.epoch:{len(str(epochs))}}/{epochs}"
    validation = f"   validation {metrics_text(event.validation)}" if event.validation else ""
    return f"{counter}   train {metrics_text(event.train)}{validation}   {duration(event.seconds)}"
