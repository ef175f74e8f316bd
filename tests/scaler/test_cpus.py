"""How many cores count: affinity, and the quota of a cgroup."""

import os
import subprocess
import sys

import pytest

from scaler import cpus


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this platform")
def test_the_affinity_of_the_process_counts():
    code = "import os, scaler.cpus as c; os.sched_setaffinity(0, {0}); print(c.usable_cpus())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


def test_there_is_at_least_one():
    assert 1 <= cpus.usable_cpus() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("content", "quota"),
    [("max 100000\n", None), ("150000 100000\n", 1.5), ("nonsense", None), ("", None)],
)
def test_a_quota_of_the_second_version_is_read(tmp_path, content, quota):
    (tmp_path / "cpu.max").write_text(content)
    assert cpus._quota_v2(str(tmp_path)) == quota


def test_a_group_without_a_quota_file_has_none(tmp_path):
    assert cpus._quota_v2(str(tmp_path)) is None


def test_every_group_above_the_process_may_set_a_quota():
    root = cpus._CGROUP_V2
    assert cpus._paths_v2("12:cpu:/x\n0::/a/b\n") == [root, f"{root}/a", f"{root}/a/b"]
    assert cpus._paths_v2("0::/\n")[0] == root
    assert cpus._paths_v2("12:cpu:/x\n") == []
