# SPDX-License-Identifier: GPL-3.0-or-later
"""Every result of a scene, kept on the disk with its render and found again after whatever happens.

index           the file: an append-only list of events
places          which folder a scene's history is in; the only thing that the blend file knows of it
kept_renders    the renders that results were made from
fingerprint     whether two renders look the same
recorder        takes a finished picture in
freshness       notices that a scene was rendered again
shelf           the copy in memory that the panel draws from
operators, panel    what the artist can do with it
"""
