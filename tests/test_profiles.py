import pytest

from clexlab import profiles


def test_the_profile_is_cpu_where_nothing_is_set(monkeypatch):
    monkeypatch.delenv(profiles.VARIABLE, raising=False)
    assert profiles.current() == "cpu"


@pytest.mark.parametrize("name", profiles.PROFILES)
def test_pick_returns_the_value_of_the_current_profile(monkeypatch, name):
    monkeypatch.setenv(profiles.VARIABLE, name)
    assert profiles.pick(smoke="smoke", cpu="cpu", gpu="gpu") == name


@pytest.mark.parametrize("name", ["", "GPU", "fast"])
def test_an_unknown_profile_is_refused_and_the_allowed_ones_are_named(monkeypatch, name):
    monkeypatch.setenv(profiles.VARIABLE, name)
    with pytest.raises(ValueError, match="smoke, cpu, gpu"):
        profiles.pick(smoke=1, cpu=2, gpu=3)
