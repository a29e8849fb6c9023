from benchmarks import checks


def test_checks_prints_the_cost_for_digits_and_for_a_table(monkeypatch, capsys):
    monkeypatch.setattr(checks.sys, "argv", ["checks", "--rows", "300", "--rounds", "1"])
    assert checks.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2].startswith("| MNIST | ")
    assert lines[-1].startswith("| a table of 300 rows | ")
    assert lines[-1].endswith(" % |")
