# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest
from golden_messages import EARLIER, FOLDER, MESSAGES, from_file, path_of, to_file

from protocol import Limits, Message
from protocol.framing import MESSAGE_TYPES, decode, encode

IDS = [type(message).__name__.lower() for message, _ in MESSAGES]


@pytest.mark.parametrize(("message", "buffers"), MESSAGES, ids=IDS)
def test_version_1_is_still_read(message: Message, buffers: list[bytes]) -> None:
    decoded, received = decode(from_file(path_of(message).read_bytes()), Limits())
    assert decoded == message
    assert [bytes(buffer) for buffer in received] == buffers


@pytest.mark.parametrize(("message", "buffers"), MESSAGES, ids=IDS)
def test_version_1_is_still_written(message: Message, buffers: list[bytes]) -> None:
    assert to_file(encode(message, buffers)) == path_of(message).read_bytes()


@pytest.mark.parametrize(("path", "message"), EARLIER)
def test_messages_of_earlier_releases_are_still_read(path: Path, message: Message) -> None:
    assert decode(from_file(path.read_bytes()), Limits())[0] == message


def test_every_kind_of_message_has_its_file_and_no_file_is_left_over() -> None:
    assert sorted(IDS) == sorted(MESSAGE_TYPES)
    written = {path_of(message) for message, _ in MESSAGES} | {path for path, _ in EARLIER}
    assert written == set(FOLDER.glob("*/*.bin"))
