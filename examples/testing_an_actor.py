"""Test an actor of your own: no thread, no process, no sleep. Run it: `pytest <this file>`."""

from actors import Actor, ActorRef, Message, handles
from actors.testkit import ActorHarness, InboxRef


class Order(Message, frozen=True):
    """Somebody wants this."""

    item: str


class FindPrice(Message, frozen=True):
    """Asked: what does it cost? Reply: a float."""

    item: str


class Ship(Message, frozen=True):
    """Send it out at this price."""

    item: str
    price: float


class Retry(Message, frozen=True):
    """Told to itself, by a timer."""

    item: str


class Shop(Actor):
    """Asks what an order costs, ships it, and tries again a second later if nobody knows."""

    def __init__(self, prices: ActorRef, warehouse: ActorRef) -> None:
        self.prices = prices
        self.warehouse = warehouse

    @handles(Order, Retry)
    def on_order(self, message: Order | Retry) -> None:
        """Find the price, then ship."""
        item = message.item

        def on_price(price: float | Exception) -> None:
            if isinstance(price, Exception):
                self.context.start_timer(item, 1.0, Retry(item))
            else:
                self.context.tell(self.warehouse, Ship(item, price))

        self.context.ask(self.prices, FindPrice(item), on_price, timeout_s=5.0)


def test_an_order_is_shipped_at_its_price() -> None:
    """The test answers for the price list."""
    prices, warehouse = InboxRef("prices"), InboxRef("warehouse")
    kit = ActorHarness(Shop, prices, warehouse)
    kit.tell(Order("tea"))
    kit.take_asked(FindPrice).answer(3.5)
    assert warehouse.messages == [Ship("tea", 3.5)]


def test_an_order_is_tried_again_when_the_price_does_not_come() -> None:
    """The test moves the clock: nobody waits."""
    kit = ActorHarness(Shop, InboxRef("prices"), InboxRef("warehouse"))
    kit.tell(Order("tea"))
    kit.advance(5.0)  # the ask's deadline passes
    assert kit.timers["tea"].due_s == 6.0
    kit.advance(1.0)
    assert [asked.message for asked in kit.asked] == [FindPrice("tea"), FindPrice("tea")]


if __name__ == "__main__":
    test_an_order_is_shipped_at_its_price()
    test_an_order_is_tried_again_when_the_price_does_not_come()
    print("both hold")
