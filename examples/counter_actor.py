"""One actor, used by many threads at once: in this process, then in a child process."""

from concurrent.futures import ThreadPoolExecutor

from actors import Actor, ActorRef, ActorSystem, Message, handles


class Add(Message, frozen=True):
    """Count on. Nobody waits for an answer."""

    amount: int


class GetTotal(Message, frozen=True):
    """Asked: how far are we? Reply: an int."""


class Counter(Actor):
    """Handles one message at a time, so it needs no lock."""

    def __init__(self) -> None:
        self.total = 0

    @handles(Add)
    def on_add(self, message: Add) -> None:
        """Count."""
        self.total += message.amount

    @handles(GetTotal)
    def on_get_total(self, message: GetTotal) -> None:
        """Answer."""
        self.context.reply(self.total)


def count_to_thousand(counter: ActorRef) -> int:
    """Have four threads count, then ask."""
    with ThreadPoolExecutor(4) as threads:
        for _ in range(1_000):
            threads.submit(counter.tell, Add(1))
    total: int = counter.ask(GetTotal(), timeout=5.0).result()
    return total


if __name__ == "__main__":
    with ActorSystem() as system:
        print("in a thread of this process:", count_to_thousand(system.spawn(Counter)))
        node = system.start_node("child")
        print("in a child process:", count_to_thousand(node.spawn(Counter)))
