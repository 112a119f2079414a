"""Hypothesis profiles, SIGINT handling, and a summary of the durations.

A slow example is not a failure. `make check` selects the profile `quick`, which runs fewer
examples, and `make mutants` the profile `steady`, which always runs the same ones.
"""

import signal
from collections import defaultdict
from itertools import chain

import pytest
from hypothesis import HealthCheck, Phase, settings

settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", settings.get_profile("unhurried"), max_examples=20)
settings.register_profile(
    "steady",
    settings.get_profile("quick"),
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],  # no shrinking: the failure is enough
)
settings.load_profile("unhurried")

# Shells start background processes with SIGINT ignored, and processes started by the tests would
# inherit this. Some tests send SIGINT as for Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how long the tests of each folder took, summed over all workers."""
    took: defaultdict[str, float] = defaultdict(float)
    for report in chain.from_iterable(terminalreporter.stats.values()):
        if isinstance(report, pytest.TestReport):
            took["/".join(report.nodeid.split("/")[:2])] += report.duration
    if len(took) > 1:
        terminalreporter.write_line("")
        for folder, seconds in sorted(took.items(), key=lambda each: -each[1]):
            terminalreporter.write_line(f"{seconds:6.0f} s  {folder}")
