"""Messages as bytes."""

from __future__ import annotations

import pickle

import msgspec
import pytest

from actors import ActorRef, LocalMessage, Message, ProtocolError, UnencodableMessageError
from actors.core.codec import NO_SENDER, PLAIN, Codec, WireFrame, WireItem
from actors.core.refs import RemoteRef


class Word(Message, frozen=True):
    text: str
    count: int = 1


class Introduction(Message, frozen=True):
    friend: ActorRef
    friends: tuple[ActorRef, ...] = ()


class Secret(LocalMessage, frozen=True):
    text: str


class Holder(Message, frozen=True):
    what: object


class Odd(Message, frozen=True):
    what: complex


def make_codec(stage) -> Codec:
    found = {"tests:Late": Word}
    return Codec(stage.node.resolve, pickle.dumps, pickle.loads, found.get)


@pytest.fixture
def codec(stage) -> Codec:
    return make_codec(stage)


def test_a_typed_message_travels_by_name(codec):
    name, body = codec.encode_message(Word("hi", 3))
    assert name == f"{Word.__module__}:Word"
    assert codec.decode_message(name, body) == Word("hi", 3)
    assert codec.decode_message(name, body) == Word("hi", 3), "the decoder is kept"


def test_a_ref_travels_as_its_address_and_is_resolved(stage, codec):
    ref, _ = stage.scribe()
    far = RemoteRef(msgspec.structs.replace(ref.address, node="there"), stage.node)
    name, body = codec.encode_message(Introduction(ref, (far, ref)))
    copy = codec.decode_message(name, body)
    assert copy.friend is ref
    assert copy.friends == (far, ref)


def test_anything_else_travels_as_an_opaque_body(codec):
    name, body = codec.encode_message({"a": [1, 2]})
    assert name == ""
    assert codec.decode_message(name, body) == {"a": [1, 2]}


@pytest.mark.parametrize("value", [None, True, 7, 1.0, float("inf"), "text"])
def test_plain_values_need_no_pickle(codec, value):
    name, body = codec.encode_message(value)
    assert name == PLAIN
    copy = codec.decode_message(name, body)
    assert copy == value
    assert type(copy) is type(value)


@pytest.mark.parametrize("value", [1 << 64, -(1 << 63) - 1, "no-unicode-\udcff"])
def test_what_has_no_plain_form_is_opaque(codec, value):
    name, body = codec.encode_message(value)
    assert name == ""
    assert codec.decode_message(name, body) == value


def test_a_typed_message_with_such_a_value_is_opaque_too(codec):
    for word in (Word("hi", 1 << 64), Word("no-unicode-\udcff")):
        assert codec.decode_message(*codec.encode_message(word)) == word


def test_a_typed_message_that_its_receiver_could_not_import_is_opaque(codec):
    class Hidden(Message, frozen=True):
        text: str

    with pytest.raises(UnencodableMessageError, match="cannot leave this process"):
        codec.encode_message(Hidden("by a pickle that cannot find it"))
    assert codec._type_names[Hidden] == ""


def test_a_local_message_stays_here(codec):
    for _ in range(2):
        with pytest.raises(UnencodableMessageError, match="Secret is a LocalMessage"):
            codec.encode_message(Secret("hush"))


def test_a_field_that_holds_something_odd_is_named(codec):
    with pytest.raises(UnencodableMessageError, match="a field holds a Codec"):
        codec.encode_message(Holder(codec))


def test_a_body_that_does_not_fit_its_type_is_refused(codec):
    name, _ = codec.encode_message(Word("hi"))
    with pytest.raises(UnencodableMessageError, match="cannot be opened here"):
        codec.decode_message(name, msgspec.msgpack.encode({"text": 7}))
    with pytest.raises(UnencodableMessageError, match="an opaque message cannot be opened"):
        codec.decode_message("", b"no pickle")


def test_a_type_that_nobody_knows_is_refused_and_one_that_can_be_found_is_not(codec):
    with pytest.raises(UnencodableMessageError, match="no message type 'tests:Nothing'"):
        codec.decode_message("tests:Nothing", b"")
    body = codec.encode_message(Word("hi"))[1]
    assert codec.decode_message("tests:Late", body) == Word("hi")


def test_a_field_of_a_type_that_is_no_ref_is_refused(codec):
    name = f"{Odd.__module__}:Odd"
    with pytest.raises(UnencodableMessageError, match="no way to decode a complex"):
        codec.decode_message(name, msgspec.msgpack.encode({"what": 1}))


def test_a_frame_comes_back_as_it_was(codec):
    item = WireItem(3, NO_SENDER, 7, True, "", b"body")
    frame = WireFrame("here", "there", (item,))
    assert codec.decode_frame(codec.encode_frame(frame)) == frame


@pytest.mark.parametrize(
    "data", [b"", b"\xc1", b"\x93\xa1a\xa1b\x91\x01", b"\x93\xa1\xff\xa1b\x90"]
)
def test_a_malformed_frame_is_a_protocol_error(codec, data):
    with pytest.raises(ProtocolError, match="malformed frame"):
        codec.decode_frame(data)
