"""What a view's options come to: `Retry`, the policy of its tasks, and what is refused."""

from __future__ import annotations

import math
import pickle
import threading
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import Any

import cloudpickle
import pytest

from scaler.client.client import ClientOptions
from scaler.client.policies import changed_policy
from scaler.client.retry import COUNT_MAX, Retry
from scaler.errors import ClientError, SerializationError, TaskTimeoutError, WorkerDiedError
from scaler.limits import MAX_ATTEMPTS, PREDICATE_BYTES, RETRY_BACKOFF_MAX_S
from scaler.protocol.tasks import TaskPolicy


def policy_of(
    policy: TaskPolicy | None = None,
    *,
    retries: Any = None,
    max_attempts: Any = None,
    timeout: Any = None,
    deadline: Any = None,
    copy: Any = None,
) -> TaskPolicy | None:
    return changed_policy(policy, retries, max_attempts, timeout, deadline, copy)


def is_os_error(error: BaseException) -> bool:
    return isinstance(error, OSError)


async def wants_later(error: BaseException) -> bool:
    return True


class Later:
    """Called, it makes a coroutine."""

    async def __call__(self, error: BaseException) -> bool:
        return True


class Now:
    """A predicate that is an object."""

    def __call__(self, error: BaseException) -> bool:
        return True


class OddMeta(type):
    def __eq__(cls, other: object) -> bool:
        raise RuntimeError("not comparable")

    __hash__ = type.__hash__


class OddError(Exception, metaclass=OddMeta):
    """Its class cannot be compared."""


# Retry.


def test_a_retry_has_defaults_that_wait_for_nothing():
    retry = Retry()
    assert (retry.count, retry.when, retry.backoff) == (3, None, 0.0)
    assert (retry.max_backoff, retry.jitter) == (RETRY_BACKOFF_MAX_S, 0.25)
    assert retry == Retry(3)
    assert "count=5" in repr(Retry(5))
    with pytest.raises(AttributeError):
        retry.count = 4  # type: ignore[misc]


@pytest.mark.parametrize(
    "when", [None, OSError, (OSError, ValueError), KeyboardInterrupt, is_os_error, OddError]
)
def test_when_is_a_type_some_types_or_a_function(when):
    assert Retry(when=when).when is when


def test_when_may_be_an_object_that_is_called():
    predicate = Now()
    assert Retry(when=predicate).when is predicate


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"count": True}, TypeError, "count must be an integer, got True"),
        ({"count": 2.0}, TypeError, "count must be an integer, got 2.0"),
        ({"count": "3"}, TypeError, "count must be an integer"),
        ({"count": -1}, ValueError, "count must be between 0 and 1,000,000, got -1"),
        ({"count": COUNT_MAX + 1}, ValueError, "count must be between"),
        ({"when": 3}, TypeError, "when must be an exception type"),
        ({"when": int}, TypeError, "when must be an exception type"),
        ({"when": (OSError, int)}, TypeError, "when must be an exception type"),
        ({"when": "OSError"}, TypeError, "when must be an exception type"),
        ({"when": ()}, ValueError, "names no exception"),
        ({"when": wants_later}, TypeError, "plain function"),
        ({"when": Later()}, TypeError, "plain function, not an async one"),
        ({"when": Later().__call__}, TypeError, "plain function"),
        ({"when": partial(wants_later)}, TypeError, "plain function"),
        ({"when": TaskTimeoutError}, ValueError, "when=TaskTimeoutError can never hold"),
        ({"when": (OSError, WorkerDiedError)}, ValueError, "run again by `max_attempts`"),
        ({"backoff": -1}, ValueError, "backoff must be 0 or more"),
        ({"backoff": math.nan}, ValueError, "backoff must be a number"),
        ({"backoff": math.inf}, ValueError, "backoff must be 0 or more, and finite"),
        ({"backoff": False}, TypeError, "backoff must be a number"),
        ({"backoff": "1"}, TypeError, "backoff must be a number, got '1'"),
        ({"backoff": 10**400}, ValueError, "backoff must be a number"),
        ({"max_backoff": -0.1}, ValueError, "max_backoff"),
        ({"max_backoff": None}, TypeError, "max_backoff"),
        ({"jitter": 1.5}, ValueError, "jitter must be between 0 and 1"),
        ({"jitter": -0.1}, ValueError, "jitter must be between 0 and 1, got -0.1"),
        ({"jitter": math.inf}, ValueError, "jitter must be between 0 and 1, got inf"),
        ({"jitter": "x"}, TypeError, "jitter must be a number, got 'x'"),
    ],
)
def test_a_retry_says_what_is_wrong_with_its_arguments(arguments, error, text):
    with pytest.raises(error) as caught:
        Retry(**arguments)
    assert text in str(caught.value)


def test_numbers_of_other_kinds_are_numbers():
    assert Retry(backoff=Fraction(1, 2), max_backoff=Decimal(3)) == Retry(  # type: ignore[arg-type]
        backoff=0.5, max_backoff=3
    )


# The policy.


def test_what_is_all_default_is_no_policy():
    assert policy_of() is None
    assert policy_of(retries=0) is None
    assert policy_of(retries=Retry(0, backoff=5), max_attempts=MAX_ATTEMPTS) is None
    assert policy_of(timeout=math.inf, deadline=math.inf) is None
    assert policy_of(copy=False) is policy_of(policy_of(copy=True), copy=False) is None


def test_each_option_goes_where_it_belongs():
    assert policy_of(retries=2) == TaskPolicy(retries=2, jitter=0.25)
    assert policy_of(max_attempts=1) == TaskPolicy(max_attempts=1)
    assert policy_of(copy=True) == TaskPolicy(copy=True)
    assert policy_of(timeout=1, deadline=Fraction(5, 2)) == TaskPolicy(timeout_s=1, deadline_s=2.5)
    retry = Retry(4, backoff=0.5, max_backoff=8, jitter=0)
    wanted = TaskPolicy(retries=4, backoff_s=0.5, backoff_max_s=8.0, jitter=0.0)
    assert policy_of(retries=retry) == wanted


def test_a_view_keeps_what_it_does_not_change():
    first = policy_of(retries=Retry(2, when=OSError, backoff=1), timeout=3)
    assert first is not None
    second = policy_of(first, max_attempts=5)
    assert second == TaskPolicy(
        retries=2,
        retry_when=first.retry_when,
        backoff_s=1.0,
        jitter=0.25,
        max_attempts=5,
        timeout_s=3.0,
    )
    assert policy_of(second, retries=0) == TaskPolicy(max_attempts=5, timeout_s=3.0)
    assert policy_of(second, retries=0, max_attempts=3, timeout=math.inf) is None


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"retries": True}, TypeError, "retries must be an integer, or a Retry"),
        ({"retries": -1}, ValueError, "retries must be between 0"),
        ({"retries": 1.5}, TypeError, "retries must be an integer"),
        ({"retries": OSError}, TypeError, "a Retry, as in Retry(3, when=OSError); got <class"),
        ({"max_attempts": 0}, ValueError, "max_attempts must be between 1 and"),
        ({"max_attempts": False}, TypeError, "max_attempts must be an integer"),
        ({"timeout": 0}, ValueError, "timeout must be more than 0 seconds, got 0"),
        ({"timeout": -2}, ValueError, "timeout must be more than 0 seconds"),
        ({"timeout": math.nan}, ValueError, "timeout must be a number"),
        ({"timeout": True}, TypeError, "timeout must be a number"),
        ({"timeout": timedelta(1)}, TypeError, "timeout must be a number of seconds, got datetime"),
        ({"deadline": 0.0}, ValueError, "deadline must be more than 0 seconds"),
        ({"deadline": -math.inf}, ValueError, "deadline must be more than 0 seconds"),
        ({"deadline": [1]}, TypeError, "deadline must be a number"),
        ({"copy": 1}, TypeError, "copy must be True or False"),
    ],
)
def test_options_say_what_is_wrong_with_them(arguments, error, text):
    with pytest.raises(error) as caught:
        policy_of(**arguments)
    assert text in str(caught.value)


def test_a_view_says_how_it_differs():
    assert ClientOptions().in_words() == ""
    policy = policy_of(retries=2, timeout=1.5)
    words = ClientOptions(name="x", policy=policy).in_words()
    assert words == ", name='x', retries=2, timeout=1.5"
    assert ClientOptions(block=False).in_words() == ", block=False"
    assert ClientOptions(policy=policy_of(copy=True)).in_words() == ", copy=True"
    assert ClientOptions(deduplicate=True).in_words() == ", deduplicate=True"


# Predicates on their way.


@pytest.mark.parametrize("when", [OSError, (OSError, KeyError), is_os_error])
def test_predicates_travel_pickled(when):
    policy = policy_of(retries=Retry(when=when))
    assert policy is not None
    assert pickle.loads(policy.retry_when) == when


def test_a_lambda_travels_by_value():
    policy = policy_of(retries=Retry(when=lambda error: "busy" in str(error)))
    assert policy is not None
    assert cloudpickle.loads(policy.retry_when)(ValueError("busy now"))


def test_a_predicate_that_does_not_pickle_is_refused_at_once():
    lock = threading.Lock()

    def reads_a_lock(error: BaseException) -> bool:
        return lock.locked()

    with pytest.raises(SerializationError, match=r"reads_a_lock.* cannot be pickled: .*lock"):
        policy_of(retries=Retry(when=reads_a_lock))


def test_a_predicate_that_takes_a_future_along_is_refused_in_its_words(session):
    future = session.future()
    with pytest.raises(ClientError, match="Pass its result"):
        policy_of(retries=Retry(when=lambda error: future.done()))


def test_a_predicate_that_is_too_large_is_refused():
    table = bytes(PREDICATE_BYTES)
    with pytest.raises(ValueError, match="65536 are allowed"):
        policy_of(retries=Retry(when=lambda error: str(error).encode() in table))
