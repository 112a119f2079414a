"""Settings for every test that draws its examples: how long one takes is no failure.

`make check` selects the profile `quick`, which draws fewer of them, and `make mutants` the profile
`steady`, which always draws the same ones.
"""

from hypothesis import HealthCheck, Phase, settings

settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", settings.get_profile("unhurried"), max_examples=20)
settings.register_profile(
    "steady",
    settings.get_profile("quick"),
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],  # no smaller example: that a test fails is enough
)
settings.load_profile("unhurried")
