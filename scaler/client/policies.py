"""The policy of a view's tasks, made of what its user asked for."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from scaler.client.retry import Retry, checked_count, checked_number
from scaler.errors import ScalerError, SerializationError
from scaler.limits import PREDICATE_BYTES
from scaler.protocol.tasks import DEFAULT_POLICY, TaskPolicy
from scaler.serialization.reasons import describe
from scaler.serialization.values import dumps
from scaler.settings import checked_flag


def changed_policy(
    policy: TaskPolicy | None,
    retries: int | Retry | None,
    max_attempts: int | None,
    timeout: float | None,
    deadline: float | None,
    copy: bool | None,
) -> TaskPolicy | None:
    """Return `policy` with what is given in its place; `None` stands for the default policy.

    Raises:
        TypeError: an argument is of a wrong type.
        ValueError: an argument is out of its range, or the predicate is too large.
        SerializationError: the predicate cannot be pickled.
    """
    changes: dict[str, Any] = {}
    if retries is not None:
        changes |= _retry_fields(retries)
    if max_attempts is not None:
        changes["max_attempts"] = checked_count("max_attempts", max_attempts, least=1)
    if timeout is not None:
        changes["timeout_s"] = _checked_limit("timeout", timeout)
    if deadline is not None:
        changes["deadline_s"] = _checked_limit("deadline", deadline)
    if copy is not None:
        changes["copy"] = checked_flag("copy", copy)
    changed = msgspec.structs.replace(policy or DEFAULT_POLICY, **changes)
    return None if changed == DEFAULT_POLICY else changed


def _retry_fields(retries: int | Retry) -> dict[str, Any]:
    if not isinstance(retries, Retry):
        retries = _plain_retry(retries)
    if not retries.count:
        names = "retries", "retry_when", "backoff_s", "backoff_max_s", "jitter"
        return {name: getattr(DEFAULT_POLICY, name) for name in names}
    return {
        "retries": retries.count,
        "retry_when": b"" if retries.when is None else _dump_predicate(retries.when),
        "backoff_s": retries.backoff,
        "backoff_max_s": retries.max_backoff,
        "jitter": retries.jitter,
    }


def _plain_retry(retries: Any) -> Retry:
    try:
        return Retry(checked_count("retries", retries, least=0))
    except TypeError:
        raise TypeError(
            f"retries must be an integer, or a Retry, as in Retry(3, when=OSError); got {retries!r}"
        ) from None


def _dump_predicate(when: Any) -> bytes:
    try:
        blob = dumps(when)
    except ScalerError:
        raise
    except Exception as error:
        raise SerializationError(
            f"the predicate {when!r} of a Retry cannot be pickled: {describe(error)}"
        ) from error
    if len(blob) > PREDICATE_BYTES:
        raise ValueError(
            f"the predicate {when!r} of a Retry takes {len(blob)} bytes when pickled, and travels "
            f"with every task: {PREDICATE_BYTES} are allowed. It should read no large objects"
        )
    return blob


def _checked_limit(name: str, value: Any) -> float | None:
    """Return seconds; `None`, which is no limit, for infinity."""
    seconds = checked_number(name, value, "a number of seconds")
    if not seconds > 0:
        raise ValueError(f"{name} must be more than 0 seconds, got {value!r}")
    return None if math.isinf(seconds) else seconds
