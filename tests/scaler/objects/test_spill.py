"""A store that has less memory than its objects need, and a real disk."""

from __future__ import annotations

import gc
import logging
import os
import random
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from scaler.errors import ObjectStoreFullError, SerializationError
from scaler.limits import MAP_BYTES
from scaler.objects.file import SharedFile, open_shared_file
from scaler.objects.ledger import Holder
from scaler.objects.spill import SpillFile, open_spill_file
from scaler.objects.store import ObjectStore
from scaler.objects.views import SpillError
from scaler.protocol.objects import Piece
from tests.interruptions import interruptions

BOUND_S = 20.0
MB = 1 << 20
SMALL = 100_001
LARGE = 2 * MB
LIMIT = 8 * MB


@pytest.fixture
def disk(tmp_path) -> SharedFile:
    return open_spill_file(str(tmp_path))


@pytest.fixture
def store(disk: SharedFile) -> Iterator[ObjectStore]:
    made = ObjectStore(open_shared_file(), disk, LIMIT)
    made.on_dropped = made.collect
    yield made
    made.on_dropped = lambda: None
    made.close()
    gc.collect()
    made.file.close()
    disk.close()


@pytest.fixture
def _short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scaler.objects.room.ROOM_WAIT_S", 0.2)


def data_of(number: int, size: int = LARGE) -> bytes:
    return random.Random(number).randbytes(size)


def written(store: ObjectStore, count: int, size: int = LARGE) -> list[Piece]:
    return [store.keep(memoryview(data_of(number, size))) for number in range(count)]


def spilled(store: ObjectStore) -> list[int]:
    """The homes of what is on disk."""
    return [home for home, entry in store.ledger.listed()[0] if entry.spilled is not None]


def disk_bytes(store: ObjectStore) -> int:
    assert store.disk is not None
    return os.fstat(store.disk.fd).st_blocks * 512


def opened(store: ObjectStore, piece: Piece, *, copy: bool = False) -> Any:
    return store.unpack(b"pickle", (piece,), copy=copy)[1][0]


def stored(store: ObjectStore, data: bytes | bytearray) -> Piece:
    (piece,) = store.pack(b"pickle", [memoryview(data)], by_content=True).objects
    return piece


def test_what_was_spilled_is_found_when_it_is_stored_again(store, until):
    data = data_of(0)
    pieces = [stored(store, data)]
    (home,) = store.objects
    pieces += [store.keep(memoryview(bytearray(data_of(number)))) for number in range(1, 5)]
    until(lambda: home in spilled(store))
    again = store.keep(memoryview(data))
    equal = stored(store, bytearray(data))
    assert [again.home, equal.home] == [home, home]
    pieces.clear()
    store.collect()
    assert list(store.objects) == [home]
    assert opened(store, again) == data


# --- what is spilled --------------------------------------------------------------------------


def test_nothing_goes_to_disk_while_there_is_room(store):
    pieces = written(store, LIMIT // LARGE)
    assert store.room.used_bytes() == LIMIT
    assert spilled(store) == []
    assert disk_bytes(store) == 0
    assert len(pieces) == 4


def test_beyond_the_limit_what_was_used_longest_ago_goes_to_disk(store, until):
    pieces = written(store, 4)
    opened(store, pieces[0])
    pieces.append(store.keep(memoryview(data_of(4))))
    until(lambda: spilled(store)[:1] == [pieces[1].home])
    assert pieces[0].home not in spilled(store)
    assert store.room.used_bytes() <= LIMIT


@pytest.mark.parametrize("copy", [False, True], ids=["", "copy"])
@pytest.mark.parametrize("size", [SMALL, MAP_BYTES - 1, MAP_BYTES, LARGE, LARGE + 77])
def test_values_come_back_as_they_were(store, size, copy):
    count = 3 * LIMIT // size
    pieces = written(store, count, size)
    assert len(spilled(store)) >= count // 2
    for number, piece in enumerate(pieces):
        value = opened(store, piece, copy=copy)
        assert value == data_of(number, size)
        assert isinstance(value, bytearray) == copy
    assert len(store.views) == (size >= MAP_BYTES and not copy)  # the last one, `value`


def test_no_more_is_spilled_than_who_waits_needs(store, monkeypatch, until):
    """The room is taken before the spiller looks again, and was asked for more than once."""
    pieces = written(store, 4)
    punch, disk_write = store.file.punch, store.disk.write

    def slow_write(data: memoryview, offset: int) -> None:
        store.press(LARGE)  # as who waits does again and again
        disk_write(data, offset)

    def slow_punch(offset: int, size_bytes: int) -> None:
        until(lambda: store.room.used_bytes() == LIMIT)  # the new object is there
        punch(offset, size_bytes)

    monkeypatch.setattr(store.disk, "write", slow_write)
    monkeypatch.setattr(store.file, "punch", slow_punch)
    pieces.append(store.keep(memoryview(data_of(4))))
    store.press()
    until(lambda: store._spiller._spilling.target_bytes is None)
    monkeypatch.undo()
    store.close()  # the spiller has ended
    assert spilled(store) == [pieces[0].home]


def test_what_is_mapped_is_not_spilled(store, until):
    pieces = written(store, 1)
    view = opened(store, pieces[0])
    pieces += written(store, 8)
    assert pieces[0].home not in spilled(store)
    assert view == data_of(0)
    del view
    pieces += written(store, 4)
    until(lambda: pieces[0].home in spilled(store))
    assert opened(store, pieces[0]) == data_of(0)


def test_what_an_executor_reads_is_not_spilled(store, until):
    pieces = written(store, 1)
    pin = store.hold(pieces[0].home, Holder.EXECUTOR)
    pieces += written(store, 8)
    assert pieces[0].home not in spilled(store)
    del pin
    pieces += written(store, 4)
    until(lambda: pieces[0].home in spilled(store))


def test_an_executor_is_told_where_a_spilled_object_is(store):
    pieces = written(store, 8)
    there = next(piece for piece in pieces if piece.home in spilled(store))
    here = pieces[-1]
    placed = store.place(there)
    assert placed.spilled == store.objects[there.home].spilled
    assert (placed.home, placed.size_bytes) == (there.home, there.size_bytes)
    assert store.place(here) is here


def test_what_is_spilled_gives_its_memory_back(store, until):
    pieces = written(store, 20)
    until(lambda: os.fstat(store.file.fd).st_blocks * 512 <= LIMIT + 4096)
    assert len(pieces) == 20


def test_freeing_what_is_on_disk_gives_the_disk_back(store, until):
    pieces = written(store, 12)
    # Eight at least: who waits asks again, perhaps when there is room already.
    until(lambda: store.room.used_bytes() + disk_bytes(store) == 12 * LARGE)
    assert store.room.used_bytes() <= LIMIT
    while homes := spilled(store):
        pieces = [piece for piece in pieces if piece.home not in homes]
        until(lambda: not spilled(store))
    until(lambda: disk_bytes(store) == 0)  # the last one was just let go by the spiller
    pieces.clear()
    store.collect()
    assert store.room.used_bytes() == 0
    assert store.count == 0


def test_a_mapped_value_on_disk_outlives_its_piece(store, until):
    pieces = written(store, 8)
    home = spilled(store)[0]
    view = opened(store, pieces[0])
    assert pieces[0].home == home
    pieces.clear()
    store.collect()
    assert view == data_of(0)
    until(lambda: list(store.objects) == [home])  # another may be on its way to disk
    del view
    store.collect()
    until(lambda: disk_bytes(store) == 0)


# --- the file ---------------------------------------------------------------------------------


def test_the_file_has_no_name_and_is_for_its_owner_alone(tmp_path, disk):
    assert list(tmp_path.iterdir()) == []
    info = os.fstat(disk.fd)
    assert stat.S_IMODE(info.st_mode) == 0o600
    assert info.st_nlink == 0
    assert os.readlink(f"/proc/self/fd/{disk.fd}").startswith(str(tmp_path))
    disk.close()


def test_where_files_without_a_name_cannot_be_made_one_loses_its_name(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "O_TMPFILE")
    disk = open_spill_file(str(tmp_path))
    assert list(tmp_path.iterdir()) == []
    assert stat.S_IMODE(os.fstat(disk.fd).st_mode) == 0o600
    assert not os.get_inheritable(disk.fd)
    disk.write(memoryview(b"text"), 4096)
    assert disk.read(4096, 4) == b"text"
    disk.close()


def test_by_default_it_is_where_temporary_files_are(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    disk = open_spill_file(None)
    assert os.readlink(f"/proc/self/fd/{disk.fd}").startswith(str(tmp_path))
    disk.close()


def test_a_place_that_is_none_is_an_error(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        open_spill_file(str(tmp_path / "none"))


def test_a_place_on_disk_is_used_again(disk):
    file, spill = open_shared_file(), SpillFile(disk)
    file.write(memoryview(data_of(1)), 0)
    first, second = spill.write(file, 0, LARGE), spill.write(file, 0, LARGE)
    assert first.offset != second.offset
    assert first.checksum == second.checksum
    spill.free(first.offset)
    assert spill.write(file, 0, LARGE) == first
    assert disk.read(second.offset, LARGE) == data_of(1)
    file.close()
    disk.close()


# --- what goes wrong --------------------------------------------------------------------------


@pytest.mark.parametrize("copy", [False, True], ids=["", "copy"])
@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_what_is_damaged_on_disk_is_an_error_of_that_object_alone(store, size, copy):
    pieces = written(store, 2 * LIMIT // size, size)
    place = store.objects[pieces[0].home].spilled
    assert store.disk is not None
    os.pwrite(store.disk.fd, b"\x00damaged", place.offset + size - 8)
    text = f"an object of {size} bytes was spilled to disk and came back damaged"
    with pytest.raises(SerializationError, match=text) as caught:
        opened(store, pieces[0], copy=copy)
    assert isinstance(caught.value.__cause__, SpillError)
    assert store.objects[pieces[0].home].pins == 0
    assert opened(store, pieces[1], copy=copy) == data_of(1, size)


@pytest.mark.timeout(10)
def test_a_file_that_was_cut_off_is_an_error(store):
    pieces = written(store, 8)
    place = store.objects[pieces[0].home].spilled
    assert store.disk is not None
    os.ftruncate(store.disk.fd, place.offset + 5)
    for copy in (False, True):
        with pytest.raises(SerializationError, match="cannot be opened"):
            opened(store, pieces[0], copy=copy)
    assert opened(store, pieces[-1]) == data_of(7)


@pytest.mark.usefixtures("_short_wait")
def test_a_disk_that_takes_nothing_is_one_warning_and_objects_stay_in_memory(
    tmp_path, caplog, until
):
    (tmp_path / "file").touch()
    disk = SharedFile(os.open(tmp_path / "file", os.O_RDONLY))
    store = ObjectStore(open_shared_file(), disk, LIMIT)
    pieces = written(store, 4)
    with caplog.at_level(logging.WARNING), pytest.raises(ObjectStoreFullError) as caught:
        store.keep(memoryview(data_of(9)))
    assert str(caught.value).startswith(
        "there is no room for an object of 2,097,152 bytes: 8,388,608 of 8,388,608 bytes are in "
        "use, and within 0.2 s nothing could be spilled or freed: spill_directory takes no more, "
        "as the log says."
    )
    (record,) = caplog.records
    assert record.getMessage().startswith(
        "an object cannot be spilled, so it stays in memory: [Errno 9]"
    )
    assert spilled(store) == []
    assert [bytes(opened(store, piece)) for piece in pieces] == list(map(data_of, range(4)))
    del pieces[0]
    store.collect()
    pieces.append(store.keep(memoryview(data_of(5))))  # what was freed is room
    pieces.clear()
    store.close()


def test_a_full_disk_is_one_warning_and_what_fitted_is_there():
    script = """
import logging, os, resource, sys
import scaler.objects.room
from scaler.errors import ObjectStoreFullError
from scaler.objects.file import SharedFile, open_shared_file
from scaler.objects.spill import open_spill_file
from scaler.objects.store import ObjectStore

MB = 1 << 20
logging.basicConfig(stream=sys.stdout, format="%(levelname)s %(message)s")
scaler.objects.room.ROOM_WAIT_S = 0.5
# The memory, which lies far beyond the bound of files, is written by a process without one.
disk = open_spill_file(sys.argv[1])
store = ObjectStore(open_shared_file(), disk, 4 * MB)
write = SharedFile.write
def bounded(file, data, offset):
    if file is disk:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3 * MB, resource.RLIM_INFINITY))
    try:
        write(file, data, offset)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
SharedFile.write = bounded
pieces = []
try:
    for number in range(20):
        pieces.append(store.keep(memoryview(bytes([number]) * MB)))
except ObjectStoreFullError as error:
    print(len(pieces), str(error)[:50])
values = [store.unpack(b"p", (piece,))[1][0] for piece in pieces]
print(all(value == bytes([number]) * MB for number, value in enumerate(values)))
print(os.fstat(disk.fd).st_blocks * 512 // MB, store.room.used_bytes() // MB)
values.clear(), pieces.clear()
store.close()
"""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", script, folder],
            check=False,
            capture_output=True,
            text=True,
            timeout=BOUND_S,
        )
    assert done.stderr == ""
    warning, error, values, used = done.stdout.splitlines()
    assert warning.startswith("WARNING an object cannot be spilled, so it stays in memory: ")
    assert warning.endswith("or name another place with spill_directory=")
    assert (
        f"the disk of spill_directory {folder!r} has no room for 1,048,576 bytes more: " in warning
    )
    assert "(ulimit -f, RLIMIT_FSIZE), " in warning
    assert " bytes are free there; " in warning
    assert error == "7 there is no room for an object of 1,048,576 bytes:"
    assert (values, used) == ("True", "3 4")


def test_what_is_larger_than_the_store_is_refused_at_once(store):
    with pytest.raises(ObjectStoreFullError) as caught:
        store.keep(memoryview(bytes(LIMIT + 1)))
    assert str(caught.value) == (
        "an object of 8,388,609 bytes is larger than the object store, which has 8,388,608 bytes; "
        "allow more with object_store_bytes="
    )
    assert store.count == 0
    piece = store.keep(memoryview(bytes(LIMIT)))
    assert store.room.used_bytes() == LIMIT
    del piece


@pytest.mark.usefixtures("_short_wait")
def test_who_finds_all_of_it_pinned_is_told_so_and_gets_what_is_let_go(store, until):
    pieces = written(store, 4)
    views: list[Any] = [opened(store, piece) for piece in pieces]
    with pytest.raises(ObjectStoreFullError, match="Tasks and mapped values pin what they use"):
        store.keep(memoryview(data_of(4)))
    assert store.count == 4
    views.pop()
    pieces.append(store.keep(memoryview(data_of(4))))
    assert [bytes(opened(store, piece)) for piece in pieces] == list(map(data_of, range(5)))


def test_who_waits_for_room_gets_it_when_something_is_dropped(store, monkeypatch):
    pieces = written(store, 4)
    views: list[Any] = [opened(store, piece) for piece in pieces]
    pressed = threading.Event()
    press = store.press
    monkeypatch.setattr(store, "press", lambda size=0: (press(size), pressed.set()))
    kept: list[Piece] = []
    thread = threading.Thread(target=lambda: kept.append(store.keep(memoryview(data_of(4)))))
    thread.start()
    assert pressed.wait(BOUND_S)
    del pieces[0], views[0]
    thread.join(BOUND_S)
    assert opened(store, kept[0]) == data_of(4)


def test_ctrl_c_while_an_object_is_opened_neither_loses_nor_pins_it(store):
    piece = store.keep(memoryview(data_of(1, SMALL)))
    value = None

    def open_it() -> None:
        nonlocal value
        value = opened(store, piece)

    for where in interruptions(open_it, within=("/objects/",)):
        value = None
        assert store.objects[piece.home].pins == 0, where
        assert len(store.views) == 0, where
    assert value == data_of(1, SMALL)


# --- the handlers of signals ------------------------------------------------------------------


@pytest.mark.timeout(60)
@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_a_signal_handler_may_store_and_open_values_anywhere_in_a_call_that_does(store, size):
    chance = random.Random(size)
    kept: list[tuple[Piece, bytes]] = []

    def write() -> None:
        data = chance.randbytes(size)
        (piece,) = store.pack(b"pickle", [memoryview(data)]).objects
        assert opened(store, piece) == data
        kept.append((piece, data))
        assert len(store.ledger.listed()[0]) >= len(kept)
        del kept[:-5]  # the others are freed: their places are taken again

    points = 0
    for where in interruptions(write, write, within=("/objects/",)):
        points += 1
        looked_at = kept if not points % 8 else kept[-2:]
        assert all(opened(store, piece) == data for piece, data in looked_at), where
        assert not any(entry.pins for entry in store.objects.values()), where
        in_memory = [e.size_bytes for e in store.objects.values() if e.spilled is None]
        assert store.room.used_bytes() == sum(in_memory), where
        assert store._arena.taken.keys() == store.objects.keys(), where
    assert points > 50
    kept.clear()
    looked_at.clear()
    gc.collect()
    store.collect()
    assert store.objects == {}
    assert store.room.used_bytes() == store.count == 0


# --- threads ----------------------------------------------------------------------------------


def test_a_store_that_is_closed_while_it_spills_can_be_read(tmp_path):
    for count in (4, 7, 12, 19):
        disk = open_spill_file(str(tmp_path))
        store = ObjectStore(open_shared_file(), disk, LIMIT)
        pieces = written(store, count)
        store.press(LIMIT)
        store.close()
        assert [bytes(opened(store, p)) for p in pieces] == [data_of(n) for n in range(count)]
        pieces.clear()
        assert store.file.fd == disk.fd == -1


@pytest.mark.parametrize("seed", [0])
def test_readers_and_spilling_do_not_disturb_each_other(store, seed):
    sizes = [SMALL, MAP_BYTES, LARGE]
    wanted = [data_of(number, sizes[number % 3]) for number in range(30)]
    pieces = [store.keep(memoryview(data)) for data in wanted]
    errors: list[BaseException] = []

    def read(number: int) -> None:
        chance = random.Random(100 * seed + number)
        held: list[tuple[Any, bytes]] = []
        try:
            for _ in range(50):
                index = chance.randrange(len(pieces))
                copy = chance.random() < 0.3
                value = opened(store, pieces[index], copy=copy)
                assert value == wanted[index]
                if chance.random() < 0.2 and not copy:
                    held = [*held[-1:], (value, wanted[index])]
                if chance.random() < 0.2:
                    store.press(chance.randrange(LIMIT))
                assert all(value == data for value, data in held)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=read, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND_S)
    assert errors == []
    assert all(entry.pins == 0 for entry in store.objects.values())
    assert spilled(store) != []


@pytest.mark.parametrize("seed", [0])
def test_writers_that_drop_what_they_wrote_never_see_anything_else(store, seed, until):
    errors: list[BaseException] = []

    def write(number: int) -> None:
        chance = random.Random(100 * seed + number)
        held: list[tuple[Piece, bytes]] = []
        try:
            for _ in range(60):
                data = chance.randbytes(chance.choice([SMALL, MAP_BYTES, LARGE]))
                held.append((store.keep(memoryview(data)), data))
                while len(held) > 5:
                    piece, data = held.pop(chance.randrange(len(held)))
                    assert opened(store, piece) == data
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND_S)
    assert errors == []
    until(lambda: not store.objects)
    assert disk_bytes(store) == 0


def test_a_free_place_is_not_emptied_after_it_was_written_again(store, monkeypatch):
    """An object of the same size comes while the memory of a place is being given back."""
    store._arena._warm_bytes_max = 0
    punch = store.file.punch
    kept: list[Piece] = []
    writer = threading.Thread(target=lambda: kept.append(store.keep(memoryview(data_of(7)))))

    def slow_punch(offset: int, size_bytes: int) -> None:
        writer.start()
        writer.join(BOUND_S)
        punch(offset, size_bytes)

    piece = store.keep(memoryview(data_of(1)))
    home = piece.home
    monkeypatch.setattr(store.file, "punch", slow_punch)
    del piece
    writer.join(BOUND_S)
    monkeypatch.setattr(store.file, "punch", punch)
    assert kept[0].home != home
    assert opened(store, kept[0]) == data_of(7)
    kept.append(store.keep(memoryview(data_of(8))))
    assert kept[1].home == home, "now it may be taken"


def test_what_could_not_be_written_is_freed_once(store, monkeypatch):
    """Here it is collected at once; else by the node's thread, perhaps as soon."""

    def full(data: memoryview, offset: int) -> None:
        raise ObjectStoreFullError("no memory is left")

    with monkeypatch.context() as patched:
        patched.setattr(store.file, "write", full)
        with pytest.raises(ObjectStoreFullError, match="no memory is left"):
            store.keep(memoryview(data_of(1)))
    assert (store.count, store.room.used_bytes()) == (0, 0)
    assert opened(store, store.keep(memoryview(data_of(2)))) == data_of(2)


def test_what_is_being_written_is_not_spilled(store, monkeypatch, until):
    """Its bytes are not there yet: the copy would be of something else."""
    others = [store.hold(piece.home) for piece in written(store, 3)]  # pinned
    write = store.file.write

    def slow_write(data: memoryview, offset: int) -> None:
        store.press(LIMIT)
        until(lambda: store._spiller._spilling.target_bytes is None)
        threading.Event().wait(0.1)  # for what must not happen
        write(data, offset)

    monkeypatch.setattr(store.file, "write", slow_write)
    piece = store.keep(memoryview(data_of(7)))
    assert spilled(store) == []
    assert opened(store, piece) == data_of(7)
    assert store.objects[piece.home].pins == 0
    assert len(others) == 3


def test_objects_are_freed_while_another_is_being_written_to_disk(store, monkeypatch):
    pieces = written(store, 5)
    begun, go_on = threading.Event(), threading.Event()
    assert store.disk is not None
    write = store.disk.write

    def slow_write(data: memoryview, offset: int) -> None:
        begun.set()
        assert go_on.wait(BOUND_S)
        write(data, offset)

    assert len(spilled(store)) == 1
    monkeypatch.setattr(store.disk, "write", slow_write)
    store.press(LARGE)
    assert begun.wait(BOUND_S)
    collected = threading.Thread(target=lambda: pieces.__delitem__(0))
    collected.start()
    collected.join(BOUND_S / 4)
    is_free = not collected.is_alive()
    go_on.set()
    collected.join(BOUND_S)
    assert is_free, "the thread of the node waited for the disk"


# --- how much there is ------------------------------------------------------------------------

GB = 1 << 30


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({}, None),
        ({"/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/memory.max": "max\n"}, None),
        ({"/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/memory.max": f"{GB}\n"}, GB),
        ({"/proc/self/cgroup": "0::/a/b\n", "/sys/fs/cgroup/a/memory.max": "5000\n"}, 5_000),
        (
            {
                "/proc/self/cgroup": "0::/a/b\n",
                "/sys/fs/cgroup/a/memory.max": "5000\n",
                "/sys/fs/cgroup/a/b/memory.max": "4000\n",
            },
            4_000,
        ),
        (
            {
                "/proc/self/cgroup": "3:cpu,cpuacct:/x\n2:hugetlb,memory:/docker/1\n1:name=a:/y\n",
                "/sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes": "7000\n",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes": f"{(1 << 63) - 4096}\n",
                "/sys/fs/cgroup/x/memory.max": "1\n",
            },
            7_000,
        ),
        ({"/proc/self/cgroup": "nonsense\n\n::\n"}, None),
    ],
    ids=["none", "max", "root", "above", "lowest", "v1", "nonsense"],
)
def test_memory_is_what_the_machine_has_or_the_control_group_allows(monkeypatch, files, limit):
    from scaler.objects import capacity

    monkeypatch.setattr(capacity, "read", lambda path: files.get(path, ""))
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert capacity.memory_bytes() == (total if limit is None else min(limit, total))


def test_here_there_is_some_memory():
    from scaler.objects.capacity import memory_bytes

    assert memory_bytes() > 64 * MB
