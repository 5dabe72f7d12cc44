# SPDX-License-Identifier: GPL-3.0-or-later
"""A plane's description as JSON can hold it, for the journal's rows and the results' sidecars."""

from __future__ import annotations

from typing import Any

from protocol import PlaneSpec
from protocol.schema import from_plain, to_plain


def plane_to_record(plane: PlaneSpec) -> dict[str, Any]:
    """Strings and numbers only; the digest in hexadecimal digits."""
    return {**to_plain(plane), "digest": plane.digest.hex()}


def plane_from_record(record: Any) -> PlaneSpec:
    """Inverse of `plane_to_record`. Raises KeyError, TypeError, ValueError or MakeRealError on damage."""
    return from_plain(PlaneSpec, {**record, "digest": bytes.fromhex(record["digest"])}, "plane")
