# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of a job: a pure state machine, and what carries out its effects."""
