"""One line of the doctor's report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """`what` was found about `check`; `mend` says what to do, with the command where there is one."""

    status: Status
    check: str
    what: str
    mend: str = ""

    def __str__(self) -> str:
        return f"{self.status:<4}  {self.check}: {self.what}{f'  — {self.mend}' if self.mend else ''}"
