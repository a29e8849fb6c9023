"""Lines of plain progress output."""

from lagvis.data.messages import pluralize
from lagvis.report.text import duration, errors_text, metrics_text
from lagvis.training.evaluation import Metrics
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
    """Return one line with the metrics of an epoch; for numbers with the error of each target, in its unit."""
    model = event.checkpoint.model

    def text(metrics: Metrics) -> str:
        errors = dict(zip(model.target_names, metrics.errors, strict=True)) if metrics.errors else {}
        return metrics_text(metrics) + errors_text(errors, model.unit)

    counter = f"epoch {event.epoch:{len(str(epochs))}}/{epochs}"
    validation = f"   validation {text(event.validation)}" if event.validation else ""
    return f"{counter}   train {text(event.train)}{validation}   {duration(event.seconds)}"
