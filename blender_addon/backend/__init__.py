# SPDX-License-Identifier: GPL-3.0-or-later
"""The backend process: starting it, finding it, stopping it."""
