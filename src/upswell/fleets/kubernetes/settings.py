"""The settings `[fleets.kubernetes]`, and the names that follow from them. It knows no client and no pod."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta, Struct

from upswell.fleets.docker_settings import DEFAULT_IMAGE
from upswell.settings import Setting

if TYPE_CHECKING:
    from upswell.settings import Settings

LONGEST_NAME = 63
_DNS_LABEL = re.compile(r"\A[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")
_NOT_DNS = re.compile(r"[^a-z0-9]+")


class KubernetesSettings(Struct, frozen=True):
    """The settings `[fleets.kubernetes]`."""

    image: Annotated[
        str, Setting("Image of the workers; {app_id} is replaced by the application's name.")
    ] = DEFAULT_IMAGE
    namespace: Annotated[
        str,
        Meta(pattern=r"\A([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)?\Z"),
        Setting(
            "Namespace of the workers. Empty: that of the scaler's own pod, or of the kubeconfig's context.",
            form="a DNS label, or empty",
        ),
    ] = ""
    context: Annotated[
        str,
        Setting("Context of the kubeconfig. Empty: the scaler's own pod's account, or the current context."),
    ] = ""
    installation: Annotated[
        str,
        Meta(pattern=r"\A[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?\Z"),
        Setting(
            "Name of this installation; a scaler sees only the pods that are labelled with it. Two in one "
            "namespace need different names.",
            form="at most 30 lower-case letters, digits and '-'",
        ),
    ] = "upswell"
    pod_template: Annotated[
        str,
        Setting(
            "YAML file with a pod template: resources, node selector, tolerations, volumes and whatever else "
            "the workers' pods shall have. Empty: none.",
            path=True,
        ),
    ] = ""
    grace_seconds: Annotated[
        int,
        Meta(ge=1, le=86400),
        Setting(
            "Seconds that the platform gives a worker to finish its uploads when it evicts it "
            "(terminationGracePeriodSeconds); cluster-autoscaler takes at most 600."
        ),
    ] = 600


def kubernetes_settings(settings: Settings, app_id: str = "") -> KubernetesSettings:
    """Return the settings of one application's workers, with its image's full name; without one: of all."""
    own = (settings.for_app(app_id) if app_id else settings).own("fleets", "kubernetes", KubernetesSettings)
    return msgspec.structs.replace(own, image=own.image.replace("{app_id}", app_id))


def dns_name(text: str) -> str:
    """Return a DNS label for an id: the id itself where it is one; else made of it, and of its hash.

    >>> dns_name("e123456-0a1b2c3d4e"), dns_name("My_App-0a1b2c3d4e")
    ('e123456-0a1b2c3d4e', 'my-app-0a1b2c3d4e-bfcea4b9')
    """
    if _DNS_LABEL.match(text):
        return text
    hashed = hashlib.sha256(text.encode()).hexdigest()[:8]
    readable = _NOT_DNS.sub("-", text.lower())[: LONGEST_NAME - 9].strip("-")
    return f"{readable}-{hashed}" if readable else f"x-{hashed}"
