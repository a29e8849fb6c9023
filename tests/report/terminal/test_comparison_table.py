from lagvis.inference.comparison import Comparison, Difference, Kink
from lagvis.report.terminal.comparison_table import comparison_json, comparison_text

FAILED = Comparison(
    [Difference("torch", "cpu", "params.0.W", absolute=1.0, relative=1.0, bound=1e-6, undecided=0, free_run=1.0)],
    [Kink(step=2, layer=0, row=0, unit=3, z=0.0)],
    [],
)


def test_comparison_text_counts_rows_of_a_kink_from_1():
    assert comparison_text(FAILED).endswith("\n  step 2, layer 0, row 1 of the batch, unit 3: z = 0.0e+00")


def test_comparison_json_indexes_rows_of_a_kink_from_0():
    assert comparison_json(FAILED)["kinks"] == [{"step": 2, "layer": 0, "row": 0, "unit": 3, "z": 0.0}]
