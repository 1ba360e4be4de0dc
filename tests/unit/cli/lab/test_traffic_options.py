from __future__ import annotations

import pytest

from upswell.cli import main


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ([], "one of --jobs, --trace and --arrivals"),
        (["--jobs", "a.csv", "--arrivals", "poisson(1)"], "one of --jobs"),
        (["--jobs", "a.csv", "--service", "2"], "--jobs has its own service times"),
        (["--trace", "a.csv"], "--trace needs --service"),
        (["--arrivals", "poisson(1)"], "--arrivals needs --service"),
    ],
)
def test_sources_that_contradict_each_other_are_misuse(
    given: list[str], rule: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["compare", "--slo", "60", *given])
    assert exit_.value.code == 2
    assert rule in capsys.readouterr().err
