# SPDX-License-Identifier: GPL-3.0-or-later
"""The installer as a process, with the real uv and small packages."""

from __future__ import annotations

import fcntl
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest
from stand_in import FACTS, PROGRAM, VERSION, StandIn, uv_wheel

STEPS = ("unpack", "uv", "environment", "torch", "packages", "backend", "check")


@pytest.fixture(scope="module", autouse=True)
def uv() -> Path:
    """Download it before anything is timed or limited."""
    return uv_wheel()


@pytest.fixture
def stand_in(tmp_path: Path) -> StandIn:
    return StandIn(tmp_path)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A path with a space and beyond ASCII, as users have them."""
    return tmp_path / "Größe home"


def command(home: Path, stand_in: StandIn, with_archive: bool = True, **other: str) -> list[str]:
    options = {"home": str(home), "locks": str(stand_in.locks), "version": VERSION, "torch": "cpu", **other}
    if with_archive:
        options["archive"] = str(stand_in.archive)
    pairs = (word for name, value in options.items() for word in (f"--{name}", value))
    return [sys.executable, "-I", str(PROGRAM), "install", *pairs]


def install(home: Path, stand_in: StandIn, with_archive: bool = True, **other: str) -> str:
    """Install; returns the log's last line."""
    subprocess.run(command(home, stand_in, with_archive, **other), check=False, timeout=120)
    return log(home).splitlines()[-1]


def log(home: Path) -> str:
    return (home / "install.log").read_text()


def steps_run(home: Path) -> list[str]:
    titles = {title: name for name, title in FACTS["TITLES"].items()}
    lines = (line.split(" ", 2) for line in log(home).splitlines() if line.startswith("step "))
    return [titles[title] for _, _, title in lines]


def program(home: Path) -> Path:
    return FACTS["program_in"](home)


def test_from_nothing_to_a_program_and_then_nothing_is_left_to_do(home: Path, stand_in: StandIn) -> None:
    assert install(home, stand_in) == "done"
    assert steps_run(home) == list(STEPS)
    output = subprocess.run([program(home), "doctor"], capture_output=True, text=True, check=True).stdout
    assert output == "Everything is in order.\n"
    python = program(home).with_name("python")
    told = subprocess.run(
        [python, "-c", "import sys, leaflet, torch; print(sys.version_info[:2])"],
        capture_output=True,
        text=True,
    )
    assert told.stdout == "(3, 11)\n"
    assert install(home, stand_in) == "done"
    assert steps_run(home) == []


def test_repair_needs_no_archive(home: Path, stand_in: StandIn) -> None:
    install(home, stand_in)
    stand_in.archive.unlink()
    program(home).unlink()
    assert install(home, stand_in, with_archive=False) == "done"
    assert steps_run(home) == ["backend", "check"]
    assert program(home).exists()
    # Damage that no marker shows.
    module = next((home / "env").rglob("leaflet.py"))
    module.unlink()
    assert install(home, stand_in, with_archive=False) == "done"
    assert steps_run(home) == list(STEPS[2:])
    assert module.exists()


def test_a_new_release_repeats_only_what_changed(home: Path, stand_in: StandIn) -> None:
    install(home, stand_in)
    stand_in.rewrite("def main():\n    print('newer')\n")
    assert install(home, stand_in) == "done"
    assert steps_run(home)[0] == "unpack"
    assert subprocess.check_output([program(home)], text=True) == "newer\n"


def test_a_failing_step_is_told_and_repeated(home: Path, stand_in: StandIn) -> None:
    stand_in.rewrite("def main():\n    print('torch does not load')\n    raise SystemExit(1)\n")
    assert install(home, stand_in) == "error: make-real doctor: torch does not load [install_failed]"
    assert not (home / "steps" / "check.txt").exists()
    assert install(home, stand_in, with_archive=False).startswith("error: make-real doctor")
    assert steps_run(home)[-1] == "check"
    assert "torch" not in steps_run(home)


def test_a_package_with_another_digest_is_refused(home: Path, stand_in: StandIn) -> None:
    stand_in.lock(
        "packages", stand_in.archive.parent / "stand-in wheels" / "leaflet-1.0-py3-none-any.whl", "0" * 64
    )
    assert "[install_failed]" in install(home, stand_in)
    assert "leaflet" in log(home)
    assert not program(home).exists()


def test_too_little_space_is_told_with_figures_before_anything_is_written(
    home: Path, stand_in: StandIn
) -> None:
    stand_in.sizes(10**18)
    end = install(home, stand_in)
    assert end.startswith(f"error: {home}: 2000000000.")
    assert "GB are needed" in end
    assert end.endswith("GB are free [install_no_space]")
    assert not (home / "wheels").exists()
    stand_in.sizes(1000)
    assert install(home, stand_in) == "done"


def test_a_disk_that_fills_up_on_the_way_is_told_and_the_next_try_goes_on(
    home: Path, stand_in: StandIn
) -> None:
    def small_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    subprocess.run(command(home, stand_in), check=False, timeout=120, preexec_fn=small_disk)
    assert log(home).splitlines()[-1].endswith("[install_no_space]")
    assert install(home, stand_in) == "done"


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ({"version": "9.9.9"}, "9.9.9"),
        ({"platform": "amiga-68k"}, "amiga-68k"),
        ({"complete_for": "cuda"}, "complete for cuda"),
        ({"files": {}}, "no make_real wheel"),
        ({"files": {"../../evil.whl": {"bytes": 1, "sha256": ""}}}, "table of contents"),
    ],
)
def test_an_archive_that_does_not_fit_is_refused(
    home: Path, stand_in: StandIn, content: dict, word: str
) -> None:
    stand_in.pack(**content)
    end = install(home, stand_in)
    assert end.endswith("[install_archive_refused]")
    assert word in end
    assert not (home / "wheels").exists()


def test_a_file_that_is_no_archive_is_refused(home: Path, stand_in: StandIn) -> None:
    stand_in.archive.write_text("hello")
    assert install(home, stand_in).endswith("[install_archive_refused]")
    stand_in.archive.unlink()
    assert install(home, stand_in).endswith("[install_archive_refused]")
    assert "archive.json" in install(home, stand_in, with_archive=False)


def test_another_uv_is_refused(tmp_path: Path, home: Path) -> None:
    stand_in = StandIn(tmp_path / "other")
    wheels = tmp_path / "other" / "stand-in wheels"
    uv = next(wheels.glob("uv-*"))
    uv.write_bytes(uv.read_bytes() + b"\0")
    stand_in.pack()
    end = install(home, stand_in)
    assert "is not the uv" in end
    assert end.endswith("[install_archive_refused]")


def test_cancel_ends_it_and_the_next_try_goes_on(home: Path, stand_in: StandIn) -> None:
    stand_in.rewrite("import time\n\ndef main():\n    time.sleep(600)\n")
    process = subprocess.Popen(command(home, stand_in))
    deadline = time.monotonic() + 120
    while not (home / "install.log").exists() or "Trying it out" not in log(home):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (home / "stop").touch()
    assert process.wait(20) == 1
    assert log(home).splitlines()[-1] == "cancelled"
    (home / "stop").unlink()
    stand_in.rewrite("def main():\n    pass\n")
    assert install(home, stand_in) == "done"


def test_two_at_once_do_not_disturb_each_other(home: Path, stand_in: StandIn) -> None:
    home.mkdir()
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert subprocess.run(command(home, stand_in), check=False).returncode == FACTS["EXIT_BUSY"]
        assert not (home / "install.log").exists()
    assert install(home, stand_in) == "done"


def test_remove_takes_everything_of_ours_and_nothing_else(home: Path, stand_in: StandIn) -> None:
    install(home, stand_in)
    (home / "mine.txt").write_text("the artist's own")
    subprocess.run([sys.executable, "-I", PROGRAM, "remove", "--home", home], check=True)
    assert sorted(path.name for path in home.iterdir()) == ["install.log", "lock", "mine.txt"]
    assert log(home).splitlines() == ["step 1/1 Removing the backend", "done"]
