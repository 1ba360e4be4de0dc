"""Every setting, and where its value came from.

A flag stands over the environment, that over the TOML file, that over the default. Settings of one application stand in its
table (`[apps.e123456]`) and override the general ones for it alone: `settings.for_app("e123456")`.
No other package reads the environment.
"""

from upswell.settings.applications import DECIDING, PER_APP, SETTINGS, Settings
from upswell.settings.loading import load, variable
from upswell.settings.setting import Setting, settings_of
from upswell.settings.slo import Slo

__all__ = ["DECIDING", "PER_APP", "SETTINGS", "Setting", "Settings", "Slo", "load", "settings_of", "variable"]
