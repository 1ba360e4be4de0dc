"""A service account of Google's: the file that its owner is given, and the check of the tokens made with it.

The owner signs tokens with the file's private key (https://google.aip.dev/auth/4111); who knows the public
key can check them, so no other service has a part in it.
"""

from __future__ import annotations

import base64
import binascii
import json
import time
from typing import TYPE_CHECKING, Any, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

if TYPE_CHECKING:
    from pathlib import Path

EMAIL = "uploads@tests-of-upswell.iam.gserviceaccount.com"
LIFETIME = 3600
"""The longest that a token may hold, in seconds."""

CLOCK_SKEW = 300
WRITING = frozenset(
    f"https://www.googleapis.com/auth/{name}"
    for name in ("devstorage.full_control", "devstorage.read_write", "cloud-platform")
)


class ServiceAccount:
    """One account with a key pair of its own."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def write(self, path: Path) -> Path:
        """Write the file that GOOGLE_APPLICATION_CREDENTIALS names; return its path."""
        private = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        fields = {
            "type": "service_account",
            "project_id": "tests-of-upswell",
            "private_key_id": "1",
            "private_key": private.decode(),
            "client_email": EMAIL,
            "token_uri": "https://oauth2.googleapis.com/token",
        }
        path.write_text(json.dumps(fields))
        return path

    def token(self, **changes: object) -> str:
        """Return a token that holds now, or one with other claims."""
        now = int(time.time())
        scope = min(WRITING)
        claims = {"iss": EMAIL, "sub": EMAIL, "scope": scope, "iat": now, "exp": now + LIFETIME, **changes}
        signed = f"{_encoded({'alg': 'RS256', 'typ': 'JWT', 'kid': '1'})}.{_encoded(claims)}"
        signature = self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"

    def refusal(self, token: str) -> str | None:
        """Return why a token does not let anyone in, or None where it does."""
        try:
            signed, _, signature = token.rpartition(".")
            header, claims = (_decoded(part) for part in signed.split("."))
            self._key.public_key().verify(
                _bytes(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256()
            )
        except (ValueError, binascii.Error, InvalidSignature) as error:
            return f"no token of this account: {type(error).__name__}"
        now, issued, expires = time.time(), claims.get("iat", 0), claims.get("exp", 0)
        if header.get("alg") != "RS256" or claims.get("iss") != EMAIL or claims.get("sub") != EMAIL:
            return "the token is another's"
        if not issued - CLOCK_SKEW <= now < expires <= issued + LIFETIME:
            return "the token does not hold now"
        return None if WRITING.intersection(claims.get("scope", "").split()) else "the scope is too small"


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _encoded(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def _decoded(text: str) -> dict[str, Any]:
    return cast("dict[str, Any]", json.loads(_bytes(text)))
