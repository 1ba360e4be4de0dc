"""Every setting, and where its value came from.

Flags override the environment, which overrides the TOML file, which overrides the defaults. An application's
table (`[apps.e123456]`) overrides the general settings for that application: `settings.for_app("e123456")`.
No other package reads the environment.
"""

from upswell.settings.applications import DECIDING, PER_APP, SETTINGS, Settings
from upswell.settings.loading import load, load_settings, variable
from upswell.settings.setting import Setting, settings_of
from upswell.settings.slo import Slo

__all__ = [
    "DECIDING",
    "PER_APP",
    "SETTINGS",
    "Setting",
    "Settings",
    "Slo",
    "load",
    "load_settings",
    "settings_of",
    "variable",
]
