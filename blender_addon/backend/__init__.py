# SPDX-License-Identifier: GPL-3.0-or-later
"""The backend as the artist meets it: getting it, running it, saying how it is.

installer/    installs it; a program of its own, run by Blender's Python beside Blender
locks/        what is installed, pinned
installation  starts the installer, reads its log
places        where things are on this machine
process       starts the backend, finds it, sees it end
remote        a backend on another machine
yielding      the device's memory goes to Cycles
diagnostics   everything that support asks for, without secrets
operators     the clicks
"""
