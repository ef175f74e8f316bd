"""The queue between callers' threads and the future manager."""

from __future__ import annotations

from typing import Any

import pytest

from actors.testkit import InboxRef
from scaler.client.submissions import Submissions, SubmissionsReady


class InterruptedRef(InboxRef):
    """Ctrl-C comes while it is told."""

    def tell(self, message: object) -> None:
        raise KeyboardInterrupt


def test_one_message_announces_all_that_come_before_it_is_handled():
    submissions, manager = Submissions(), InboxRef()
    first: Any = object()
    second: Any = object()
    submissions.waiting.append(first)
    submissions.announce(manager)
    submissions.waiting.append(second)
    submissions.announce(manager)
    assert [type(message) for message in manager.messages] == [SubmissionsReady]
    assert submissions.take_all() == [first, second]
    submissions.waiting.append(first)
    submissions.announce(manager)
    assert len(manager.messages) == 2
    assert submissions.take_all() == [first]
    assert submissions.take_all() == []


def test_after_ctrl_c_in_the_announcement_the_next_task_is_announced_with_the_first():
    submissions, manager = Submissions(), InboxRef()
    first: Any = object()
    second: Any = object()
    submissions.waiting.append(first)
    with pytest.raises(KeyboardInterrupt):
        submissions.announce(InterruptedRef())
    assert manager.messages == []
    submissions.waiting.append(second)
    submissions.announce(manager)
    assert [type(message) for message in manager.messages] == [SubmissionsReady]
    assert submissions.take_all() == [first, second]
