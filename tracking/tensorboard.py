"""TensorBoard: an event file in RUN/tensorboard, so that `tensorboard --logdir runs` shows all runs.

It is written by those classes of the package tensorboard that need no TensorFlow. tensorboardX would import PyTorch
wherever it is installed, and the writers of both packages meet an error in a thread that prints a traceback.
"""

import contextlib
import os
import socket
import struct
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from lagvis.tracking.tracker import Row, TrackedRun, Tracker
from lagvis.training.recipe_checks import setting_text

FOLDER = "tensorboard"  # in the run folder
PNG_HEADER = struct.Struct(">16xII")  # width and height, behind signature, length and type of the first chunk
RGBA = 4  # channels
STATUS = {"interrupted": 0, "completed": 1}  # unknown and success in the HParams plugin; anything else is a failure
FAILURE = 2


def open_tracker() -> Tracker:
    """Return the tracker; ImportError if tensorboard is not installed."""
    return TensorBoard()


class TensorBoard(Tracker):
    """Event file of a run. A resumed run begins a new file with all epochs so far, and then deletes the old one.

    Curves, results and pictures have the epoch as their step. The recipe is in the tab HParams, and as text beside the
    environment.
    """

    name = "tensorboard"

    def __init__(self) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, types_pb2
        from tensorboard.plugins.hparams import metadata, plugin_data_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._events, self._summaries, self._tensors, self._types = event_pb2, summary_pb2, tensor_pb2, types_pb2
        self._hparams, self._hparams_metadata = plugin_data_pb2, metadata
        self._make_writer = RecordWriter
        self._file: BinaryIO | None = None
        self._writer: Any = None
        self._epoch = 0

    def begin(self, run: TrackedRun) -> None:
        """Write the settings and the epochs so far into a new event file, and delete those of before."""
        folder = run.path / FOLDER
        if folder.is_symlink():
            raise OSError(f"{folder} is a link, and a run writes nothing outside of its folder")
        folder.mkdir(exist_ok=True)
        before = list(folder.glob("events.out.tfevents.*"))
        self._file = open_event_file(folder)
        self._writer = self._make_writer(self._file)
        self._write(time.time(), file_version="brain.Event:2")
        # A TensorBoard that is watching forgets the epochs of the old file, which come again.
        session = self._events.SessionLog(status=self._events.SessionLog.START)
        self._write(time.time(), step=0, session_log=session)
        start = self._hparams.SessionStartInfo(group_name=run.path.name, start_time_secs=time.time())
        for key, value in run.recipe.items():
            entry = start.hparams[key]
            if isinstance(value, int | float) and not isinstance(value, bool):
                entry.number_value = value
            else:
                entry.string_value = setting_text(value)
        self._write_hparams(self._hparams_metadata.SESSION_START_INFO_TAG, session_start_info=start)
        self._write_text("recipe", {key: setting_text(value) for key, value in run.recipe.items()})
        self._write_text("environment", {key: str(value) for key, value in run.environment.items()})
        began = time.time() - (run.history[-1]["seconds"] or 0.0 if run.history else 0.0)
        for row in run.history:  # at the times at which they would have ended without a break
            self._log_epoch(row, began + (row["seconds"] or 0.0))
        self._flush()
        for path in before:
            path.unlink(missing_ok=True)

    def log_epochs(self, rows: Sequence[Row]) -> None:
        """Write the metrics of epochs."""
        for row in rows:
            self._log_epoch(row, time.time())
        self._flush()

    def log_results(self, results: dict[str, float], epoch: int) -> None:
        """Write the numbers of the finished run."""
        self._write_scalars(results, epoch, time.time())
        self._flush()

    def log_file(self, path: Path, name: str) -> None:
        """Write a picture; other files are beside the event file."""
        if path.suffix != ".png":
            return
        png = path.read_bytes()
        width, height = PNG_HEADER.unpack_from(png)
        image = self._summaries.Summary.Image(width=width, height=height, colorspace=RGBA, encoded_image_string=png)
        self._write_values([self._summaries.Summary.Value(tag=name.removesuffix(".png"), image=image)], self._epoch)
        self._flush()

    def end(self, status: str) -> None:
        """Write how the run ended, and close the file."""
        end = self._hparams.SessionEndInfo(status=STATUS.get(status, FAILURE), end_time_secs=time.time())
        self._write_hparams(self._hparams_metadata.SESSION_END_INFO_TAG, session_end_info=end)
        self._writer.close()

    def _log_epoch(self, row: Row, wall_time: float) -> None:
        self._epoch = int(row["epoch"] or 0)
        self._write_scalars({key: value for key, value in row.items() if key != "epoch"}, self._epoch, wall_time)

    def _write_scalars(self, values: Row | dict[str, float], epoch: int, wall_time: float) -> None:
        scalars = [
            self._summaries.Summary.Value(tag=key, simple_value=value)
            for key, value in values.items()
            if value is not None
        ]
        self._write_values(scalars, epoch, wall_time)

    def _write_text(self, tag: str, rows: dict[str, str]) -> None:
        """Write a table, which TensorBoard shows as Markdown."""
        lines = ["| name | value |", "|---|---|"]
        lines += [f"| {key} | `{value.replace('|', '/').replace('`', ' ')}` |" for key, value in rows.items()]
        tensor = self._tensors.TensorProto(
            dtype=self._types.DT_STRING, string_val=["\n".join(lines).encode("utf-8", "replace")]
        )
        plugin = self._summaries.SummaryMetadata.PluginData(plugin_name="text")
        metadata = self._summaries.SummaryMetadata(plugin_data=plugin)
        self._write_values([self._summaries.Summary.Value(tag=tag, metadata=metadata, tensor=tensor)], 0)

    def _write_hparams(self, tag: str, **content: Any) -> None:
        """Write what the tab HParams reads: the settings, and how the run ended."""
        data = self._hparams.HParamsPluginData(**content)
        metadata = self._hparams_metadata.create_summary_metadata(data)
        tensor = self._hparams_metadata.NULL_TENSOR
        self._write_values([self._summaries.Summary.Value(tag=tag, metadata=metadata, tensor=tensor)], 0)

    def _write_values(self, values: list[Any], step: int, wall_time: float | None = None) -> None:
        self._write(wall_time or time.time(), step=step, summary=self._summaries.Summary(value=values))

    def _write(self, wall_time: float, **content: Any) -> None:
        self._writer.write(self._events.Event(wall_time=wall_time, **content).SerializeToString())

    def _flush(self) -> None:
        self._writer.flush()


def open_event_file(folder: Path) -> BinaryIO:
    """Open a new event file, whose name sorts behind those that are there."""
    name = f"events.out.tfevents.{time.time_ns() // 1_000_000_000:010d}.{socket.gethostname()}.{os.getpid()}"
    for number in range(1000):
        with contextlib.suppress(FileExistsError):
            return (folder / f"{name}.{number}").open("xb")
    raise FileExistsError(f"{folder} holds a thousand event files of this second")
