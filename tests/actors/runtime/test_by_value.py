from __future__ import annotations

import pickle
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from actors import Actor, ActorSystem, Message, handles
from actors.runtime.by_value import dumps_by_value

ROOT = Path(__file__).parents[3]

SCRIPT = """
from actors import Actor, ActorSystem, Message, handles

class Move(Message, frozen=True, kw_only=True):
    by: int
    path: tuple[int, ...] = ()

    def twice(self):
        return Move(by=2 * self.by)

class Robot(Actor):
    @handles(Move)
    def on_move(self, message: Move) -> None:
        self.context.reply((message, message.twice(), type(message) is Move))

with ActorSystem() as system:
    robot = system.start_node("child").spawn(Robot)
    for _ in range(2):
        same, twice, known = robot.ask(Move(by=3)).result()
        assert (same, twice, known) == (Move(by=3), Move(by=6), True)
        assert type(same) is type(twice) is Move
print("both ways")
"""


def test_message_classes_of_a_script_travel_to_a_child_node_and_home():
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd=ROOT,
    )
    assert (run.stdout, run.stderr, run.returncode) == ("both ways\n", "", 0)


def test_a_message_class_keeps_fields_defaults_and_methods_where_it_was_never_seen(tmp_path):
    class Item(Message, frozen=True):
        """What it is."""

        name: str
        tags: list[str] = []  # noqa: RUF012 - msgspec copies it
        size: int = 1

        @property
        def title(self) -> str:
            return self.name.title()

    body = tmp_path / "body"
    body.write_bytes(dumps_by_value(Item("tea", size=2)))
    script = (
        "import pickle, sys; item = pickle.load(open(sys.argv[1], 'rb'));"
        "print(item, item.title, type(item)('a'), type(item).__doc__, item == type(item)('tea'));"
        "item.name = 'x'"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, str(body)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd=ROOT,
    )
    made = "Item(name='tea', tags=[], size=2) Tea Item(name='a', tags=[], size=1)"
    assert run.stdout == f"{made} What it is. False\n", run.stderr
    assert "immutable type: 'Item'" in run.stderr


def test_a_class_that_comes_home_is_itself_and_unchanged():
    class Item(Message, frozen=True):
        name: str

        def greet(self) -> str:
            return f"hello {self.name}"

    body = dumps_by_value(Item)
    method = Item.greet
    assert pickle.loads(body) is Item
    assert Item.greet is method


def test_what_cannot_be_pickled_says_so():
    with pytest.raises(TypeError, match="cannot pickle"):
        dumps_by_value(threading.Lock())


def test_what_travels_by_value_keeps_the_name_of_its_file():
    arrived = pickle.loads(dumps_by_value(lambda: 0))
    assert arrived.__code__.co_filename == __file__


def test_a_child_node_that_was_stopped_has_exited_by_itself():
    with ActorSystem() as system:
        node = system.start_node("child")
        node.spawn(Idle)
        node.stop()
        assert node.ended.wait(10)
        assert node.exit_cause == "exit code 0"


class Idle(Actor):
    @handles(str)
    def on_text(self, message: str) -> None:
        """Do nothing."""
