import re

from benchmarks import profile


def test_profile_prints_the_time_of_each_call(monkeypatch, capsys):
    monkeypatch.setattr(profile, "EPOCHS", 1)
    monkeypatch.setattr(profile.sys, "argv", ["profile"])
    assert profile.main() == 0
    head, *calls = capsys.readouterr().out.splitlines()
    count = int(re.search(r"us a step; (\d+) calls", head)[1])
    assert len(calls) == count
    assert any("dot" in call and "(784,32)" in call for call in calls)
    assert not any("a call without out=" in call for call in calls)
