"""The workers' secrets are files in memory, for one user, and gone with their worker."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from upswell.errors import FleetError
from upswell.fleets.secrets_in_memory import SecretsInMemory, in_memory


@pytest.fixture
def base(request: pytest.FixtureRequest) -> Path:
    if not in_memory(Path("/dev/shm")):
        pytest.skip("no /dev/shm on a tmpfs")
    return Path(f"/dev/shm/upswell-test-{os.getpid()}-{abs(hash(request.node.name))}")


def test_each_secret_is_a_file_for_its_user_alone(base: Path) -> None:
    secrets = SecretsInMemory(str(base), "/state")
    me = (os.getuid(), os.getgid())
    folder = secrets.make_folder("w1", me)
    try:
        assert list(folder.iterdir()) == []
        secrets.write("w1", {"AMQPURL": "amqp://me:hunter2@host/"}, me)
        secrets.write("w1", {"AMQPURL": "amqp://another"}, me)  # a worker's folder is never changed under it
        assert (folder / "AMQPURL").read_text() == "amqp://me:hunter2@host/"
        assert (folder / "AMQPURL").stat().st_mode & 0o777 == 0o400
        assert folder.stat().st_mode & 0o777 == 0o700
        young = secrets.make_folder("w2", me)
        os.utime(folder, (0, 0))
        secrets.prune(set())
        assert not folder.exists()
        assert young.exists()  # it may be starting
        secrets.remove("w2")
        assert not young.exists()
        assert list(base.iterdir()) == []
    finally:
        for path in sorted(base.rglob("*"), reverse=True):
            path.rmdir()
        base.rmdir()


def test_a_folder_on_a_disk_is_refused(tmp_path: Path) -> None:
    if in_memory(tmp_path):
        pytest.skip("the temporary folder is in memory")
    with pytest.raises(FleetError, match="must be in memory"):
        SecretsInMemory(str(tmp_path / "secrets"), "/state").make_folder("w1", (0, 0))
