"""Every setting, and where its value came from.

A flag stands over the environment, that over the TOML file, that over the default. Settings of one application stand in its
table (`[apps.e123456]`) and override the general ones for it alone: `settings.for_app("e123456")`.
No other package reads the environment.
"""

from upswell.settings.applications import Settings, describe
from upswell.settings.fields import LISTS, PER_APP, variable
from upswell.settings.loading import load
from upswell.settings.slo import Slo

__all__ = ["LISTS", "PER_APP", "Settings", "Slo", "describe", "load", "variable"]
