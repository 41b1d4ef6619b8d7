"""What a declaration only names: addresses and secrets, from the settings."""

from pydantic import SecretStr

from include.settings import Settings
from include.spec.errors import HeadraceError


class SettingMissing(HeadraceError):
    """A declaration names a setting that does not exist or has no value."""


def setting(settings: Settings, name: str) -> str:
    """The value of a setting.

    Args:
        settings: Where it is.
        name: Of the field.

    Raises:
        SettingMissing: There is no such field, or it is empty.
    """
    value = getattr(settings, name, None)
    text = value.get_secret_value() if isinstance(value, SecretStr) else str(value or "")
    if not text:
        raise SettingMissing(
            f"The setting {name!r} has no value.",
            remedy=f"Set HEADRACE_{name.upper()}; it is a field of include/settings.py.",
        )
    return text
