"""What-if questions of the pages: each is answered by a process of its own, one at a time.

In: a question. Out: how far its answer is, then the answer. A page that goes away leaves at most one process,
which the next question, the time limit or the end of the server ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sys
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import msgspec

from upswell.errors import SettingsError
from upswell.settings import Slo

if TYPE_CHECKING:
    from asyncio.subprocess import Process

    from upswell.dashboard.rehearse import Question

MOST_SECONDS = 600.0
KEPT = 20
_LONGEST_LINE = 32 * 1024 * 1024


class WhatIf:
    """One question and what is known of its answer."""

    def __init__(self, question: Question) -> None:
        self.id = secrets.token_urlsafe(9)
        self.progress = 0.0
        self.state = "running"
        self.problem = ""
        self.answer: Any = None
        self._task = asyncio.create_task(self._run(question))

    def told(self) -> dict[str, Any]:
        """Return the state for JSON."""
        return {
            "id": self.id,
            "state": self.state,
            "progress": self.progress,
            "problem": self.problem,
            "answer": self.answer,
        }

    async def cancel(self) -> None:
        """End its process; an answer that is there stays."""
        self._task.cancel()
        await asyncio.wait([self._task])
        if self.state == "running":
            self.state, self.problem = "cancelled", "cancelled"

    async def _run(self, question: Question) -> None:
        process: Process | None = None
        try:
            async with asyncio.timeout(MOST_SECONDS):
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    "upswell.dashboard.rehearse",
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.DEVNULL,
                    limit=_LONGEST_LINE,
                )
                assert process.stdin is not None
                assert process.stdout is not None
                process.stdin.write(msgspec.json.encode(question))
                await process.stdin.drain()
                process.stdin.close()
                async for line in process.stdout:
                    self._take(msgspec.json.decode(line))
                await process.wait()
            if self.state == "running":
                self.state, self.problem = "failed", "the replay ended without an answer"
        except TimeoutError:
            self.state, self.problem = (
                "failed",
                f"no answer within {MOST_SECONDS:g} s: ask for a shorter period",
            )
        except (OSError, ValueError) as error:
            self.state, self.problem = "failed", f"the replay broke off: {error}"
        finally:
            if process is not None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await asyncio.shield(process.wait())

    def _take(self, told: dict[str, Any]) -> None:
        if "progress" in told:
            self.progress = told["progress"]
        elif "answer" in told:
            self.state, self.progress, self.answer = "done", 1.0, told["answer"]
        else:
            self.state, self.problem = "failed", str(told.get("problem", ""))


class WhatIfs:
    """The newest questions; a new one of the same page takes the place of one that runs."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, WhatIf] = OrderedDict()
        self._asking = asyncio.Lock()  # else two that come while one is cancelled would both run

    async def ask(self, question: Question) -> WhatIf:
        """Begin to answer; a question that breaks a rule is a SettingsError."""
        if question.slo is not None:
            Slo.parse(question.slo)
        if not question.begin < question.end:
            raise SettingsError("the period must begin before it ends")
        async with self._asking:
            for one in self._known.values():
                if one.state == "running":
                    await one.cancel()
            asked = WhatIf(question)
            self._known[asked.id] = asked
            while len(self._known) > KEPT:
                self._known.popitem(last=False)
            return asked

    def get(self, number: str) -> WhatIf | None:
        """Return a question, None where it is forgotten."""
        return self._known.get(number)

    async def close(self) -> None:
        """End all processes."""
        for one in self._known.values():
            await one.cancel()
