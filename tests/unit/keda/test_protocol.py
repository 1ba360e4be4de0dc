"""What is generated from KEDA's interface is what its .proto says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import upswell.keda

FOLDER = Path(upswell.keda.__file__).parent


def test_the_generated_messages_are_those_of_the_proto(tmp_path: Path) -> None:
    """To make them again, in src/: python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. FILE."""
    command = ["-m", "grpc_tools.protoc", f"-I{FOLDER.parents[1]}", f"--python_out={tmp_path}",
               f"--pyi_out={tmp_path}", "upswell/keda/externalscaler.proto"]  # fmt: skip
    subprocess.run([sys.executable, *command], check=True)
    for name in ("externalscaler_pb2.py", "externalscaler_pb2.pyi"):
        made = (tmp_path / "upswell" / "keda" / name).read_text("utf-8")
        assert made == (FOLDER / name).read_text("utf-8")
