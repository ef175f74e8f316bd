"""Who is told the end of whom."""

from __future__ import annotations

import pytest

from actors import NodeUnreachableError, Terminated, TerminationReason
from actors.core.guardian import UnwatchActor, WatchActor, guardian_address
from actors.core.refs import RemoteRef
from actors.messages import Envelope
from actors.ref import Address
from tests.actors.core.stage import Do, Note

FAR = Address("there", 3, "far")


def watch(stage, watcher, ref):
    stage.do(watcher, lambda actor: actor.context.watch(ref))


def unwatch(stage, watcher, ref):
    stage.do(watcher, lambda actor: actor.context.unwatch(ref))


@pytest.fixture
def watcher(stage):
    return stage.scribe(name="watcher")


def test_the_end_is_told_once_however_often_it_was_watched(stage, watcher):
    ref, _ = stage.scribe()
    watch(stage, watcher[0], ref)
    watch(stage, watcher[0], ref)
    ref.stop()
    stage.turn()
    assert watcher[1] == [Terminated(ref, TerminationReason.STOPPED)]
    assert watcher[0].cell.watching == {}


def test_the_end_comes_after_all_that_was_sent(stage, watcher):
    ref, _ = stage.scribe()
    watch(stage, watcher[0], ref)

    def last_words(actor):
        actor.context.stop()
        for text in ("one", "two"):
            actor.context.tell(watcher[0], Note(text))

    stage.do(ref, last_words)
    assert watcher[1] == ["one", "two", Terminated(ref, TerminationReason.STOPPED)]


def test_who_no_longer_watches_is_not_told_even_if_the_end_was_on_its_way(stage, watcher):
    ref, _ = stage.scribe()
    watch(stage, watcher[0], ref)
    watcher[0].tell(Do(lambda actor: actor.context.unwatch(ref)))
    ref.cell.terminate()
    stage.turn()
    assert watcher[1] == []
    assert stage.dead == []


def test_unwatching_takes_the_watcher_off_the_list(stage, watcher):
    ref, _ = stage.scribe()
    watch(stage, watcher[0], ref)
    unwatch(stage, watcher[0], ref)
    unwatch(stage, watcher[0], ref)
    assert ref.cell.watchers == {}
    ref.stop()
    stage.turn()
    assert watcher[1] == []


def test_the_end_of_who_has_ended_is_told_at_once(stage, watcher):
    ref, _ = stage.scribe()
    ref.stop()
    stage.turn()
    watch(stage, watcher[0], ref)
    assert watcher[1] == [Terminated(ref, TerminationReason.UNKNOWN)]
    gone = RemoteRef(Address("here", 77, "gone"), stage.node)
    watch(stage, watcher[0], gone)
    assert watcher[1][1] == Terminated(gone, TerminationReason.UNKNOWN)
    unwatch(stage, watcher[0], gone)
    assert stage.left == []


def test_the_end_of_a_watcher_takes_it_off_the_list(stage, watcher):
    ref, _ = stage.scribe()
    watch(stage, watcher[0], ref)
    watcher[0].stop()
    stage.turn()
    assert ref.cell.watchers == {}


# --- actors of other nodes -----------------------------------------------------------------------


def test_an_actor_of_another_node_is_watched_through_its_guardian(stage, watcher):
    far = stage.node.resolve(FAR)
    watch(stage, watcher[0], far)
    ((address, envelope),) = stage.left
    assert address == guardian_address("there")
    assert envelope.message == WatchActor(FAR, watcher[0])
    assert len(stage.node.watches) == 1
    ended = Terminated(far, TerminationReason.FAILED, "ouch")
    watcher[0].deliver(Envelope(ended))
    watcher[0].deliver(Envelope(ended))
    stage.turn()
    assert watcher[1] == [ended]
    assert len(stage.node.watches) == 0


def test_unwatching_an_actor_of_another_node_tells_its_guardian(stage, watcher):
    far = stage.node.resolve(FAR)
    watch(stage, watcher[0], far)
    stage.left
    unwatch(stage, watcher[0], far)
    ((_, envelope),) = stage.left
    assert envelope.message == UnwatchActor(FAR, watcher[0])
    assert len(stage.node.watches) == 0


def test_the_watchers_of_a_lost_nodes_actors_are_told(stage, watcher):
    second = stage.scribe(name="second")
    far, other = stage.node.resolve(FAR), stage.node.resolve(Address("elsewhere", 3, "far"))
    for each in (watcher, second):
        watch(stage, each[0], far)
        watch(stage, each[0], other)
    unwatch(stage, second[0], far)
    stage.node.node_lost("there", NodeUnreachableError("killed by SIGKILL"))
    stage.turn()
    assert watcher[1] == [Terminated(far, TerminationReason.NODE_LOST, "killed by SIGKILL")]
    assert second[1] == []
    assert len(stage.node.watches) == 1, "the other node lives"


def test_the_watch_of_an_actor_of_a_node_that_is_gone_is_answered(stage, watcher):
    stage.node.node_lost("there", NodeUnreachableError("killed by SIGKILL"))
    far = stage.node.resolve(FAR)
    watch(stage, watcher[0], far)
    ((address, envelope),) = stage.left
    stage.node.unreachable(address, envelope, "node there is gone")
    stage.turn()
    assert watcher[1] == [Terminated(far, TerminationReason.NODE_LOST, "node there is gone")]
    assert len(stage.node.watches) == 0
    assert stage.dead == []


def test_forgetting_one_of_two_watchers_keeps_the_other(stage, watcher):
    second = stage.scribe(name="second")
    far = stage.node.resolve(FAR)
    watch(stage, watcher[0], far)
    watch(stage, second[0], far)
    unwatch(stage, watcher[0], far)
    assert len(stage.node.watches) == 1
    stage.node.watches.forget(stage.node.resolve(Address("there", 4, "unknown")), watcher[0])
    assert len(stage.node.watches) == 1
