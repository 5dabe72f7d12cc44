# SPDX-License-Identifier: GPL-3.0-or-later
"""Listening for other machines: only when asked for (`make-real serve --listen`), with keys that stay the same.

A client elsewhere needs a copy of one file, `remote-connection.json` in the data folder. Its keys outlive the
service, so that the copy does too; removing `remote-keys.json` makes new ones and shuts out every old copy.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import socket
from dataclasses import dataclass
from pathlib import Path

from protocol import Connection, ErrorCode, MakeRealError, write_connection
from protocol.curve import Keys

DEFAULT_PORT = 47110
KEYS_FILE = "remote-keys.json"
CONNECTION_FILE = "remote-connection.json"


@dataclass(frozen=True)
class ListenAddress:
    """Where other machines reach this one.

    Args:
        host: Name or IPv4 address as the others use it.
        port: TCP port.
    """

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> ListenAddress:
        """From `HOST` or `HOST:PORT`.

        Raises:
            MakeRealError: INVALID_REQUEST when it is neither.
        """
        match = re.fullmatch(r"([A-Za-z0-9.-]{1,253})(?::([0-9]{1,5}))?", text)
        port = int(match[2] or DEFAULT_PORT) if match else 0
        if match is None or not 0 < port < 65536 or match[1] == "0.0.0.0":
            raise MakeRealError(
                ErrorCode.INVALID_REQUEST,
                f"--listen needs HOST or HOST:PORT as other machines reach this one, not {text!r}",
            )
        return cls(match[1], port)

    def resolve(self) -> str:
        """`IP:PORT` to bind.

        Raises:
            MakeRealError: BACKEND_START_FAILED when the name is unknown.
        """
        try:
            return f"{socket.gethostbyname(self.host)}:{self.port}"
        except OSError as error:
            raise MakeRealError(ErrorCode.BACKEND_START_FAILED, f"{self.host}: {error.strerror}") from error


def kept_keys(data_dir: Path) -> Keys:
    """The keys of earlier starts, or new ones that are kept from now on.

    Raises:
        MakeRealError: CONNECTION_FILE_REFUSED when the file is damaged.
        OSError: It cannot be read or written.
    """
    path = data_dir / KEYS_FILE
    names = [field.name for field in dataclasses.fields(Keys)]
    try:
        kept = json.loads(path.read_text(encoding="ascii"))
        return Keys(*(kept[name].encode("ascii") for name in names))
    except FileNotFoundError:
        pass
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MakeRealError(ErrorCode.CONNECTION_FILE_REFUSED, f"{path} is damaged") from error
    keys = Keys.fresh()
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        json.dump({name: getattr(keys, name).decode("ascii") for name in names}, file)
    return keys


def write_copy(data_dir: Path, connection: Connection, address: ListenAddress) -> Path:
    """Write the file that is to be copied to the clients' machines; returns its path. Raises OSError."""
    path = data_dir / CONNECTION_FILE
    endpoint = f"tcp://{address.host}:{address.port}"
    write_connection(path, dataclasses.replace(connection, endpoint=endpoint))
    return path
