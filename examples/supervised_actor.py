"""An actor that fails: restarted twice with fresh state, then given up; its boss is told."""

from queue import SimpleQueue

from actors import Actor, ActorFailedError, ActorSystem, Restart, Terminated, handles


class Adder(Actor):
    """Adds up numbers given as text. Text that is no number makes it fail."""

    def __init__(self) -> None:
        self.total = 0

    @handles(str)
    def on_text(self, text: str) -> None:
        """Add, and tell how much it is now."""
        self.total += int(text)
        self.context.reply(self.total)


class Boss(Actor):
    """Has an adder, and reports when that was given up."""

    def __init__(self, reports: SimpleQueue[str]) -> None:
        self.reports = reports

    def on_start(self) -> None:
        """Start the adder. It is this actor's child: it ends before the boss does."""
        again = Restart(times=2, within_s=60.0)
        self.context.watch(self.context.spawn(Adder, name="adder", supervision=again))

    @handles(Terminated)
    def on_terminated(self, message: Terminated) -> None:
        """Report why."""
        self.reports.put(f"{message.ref.name} {message.reason.value}: {message.cause}")


if __name__ == "__main__":
    with ActorSystem() as system:
        reports: SimpleQueue[str] = SimpleQueue()
        system.spawn(Boss, reports)
        adder = system.find("adder")
        for text in ("10", "20", "thirty", "1", "two", "three"):
            try:
                print(text, "->", adder.ask(text).result())
            except ActorFailedError as error:
                print(text, "->", error.cause)
        print(reports.get(timeout=5.0))
