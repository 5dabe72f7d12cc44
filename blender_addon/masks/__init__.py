# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pixels are garment: Cryptomatte decoded from the finished render."""
