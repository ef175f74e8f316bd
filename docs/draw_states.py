"""Draw the states of a task from the table that the scheduler obeys, into architecture.md.

Run it after a change of `scaler/scheduler/transitions.py`: `python docs/draw_states.py`.
"""

from __future__ import annotations

import re
from pathlib import Path

from scaler.scheduler.transitions import TRANSITIONS, TaskState

PAGE = Path(__file__).with_name("architecture.md")
PLACE = re.compile(r"(?<=<!-- states: made by draw_states.py -->\n).*?(?=<!-- end -->)", re.DOTALL)


def diagram() -> str:
    """Return the table as a Mermaid diagram: one arrow for all events between two states."""
    arrows: dict[tuple[TaskState, TaskState], list[str]] = {}
    for (before, event), after in TRANSITIONS.items():
        arrows.setdefault((before, after), []).append(event.name.lower().replace("_", " "))
    lines = ["stateDiagram-v2", "    direction LR", "    [*] --> QUEUED: submitted"]
    lines.append("    [*] --> WAITING: submitted, needs results")
    for (before, after), events in arrows.items():
        lines.append(f"    {before.name} --> {after.name}: {', '.join(events)}")
    left = [before for before, _ in arrows]
    lines += [f"    {state.name} --> [*]" for state in TaskState if state not in left]
    return "\n".join(lines)


def drawn(text: str) -> str:
    """Return the page with the diagram of now."""
    return PLACE.sub(f"\n```mermaid\n{diagram()}\n```\n\n", text)


if __name__ == "__main__":
    PAGE.write_text(drawn(PAGE.read_text()))
