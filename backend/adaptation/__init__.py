# SPDX-License-Identifier: GPL-3.0-or-later
"""`make-real adapt`: domain knowledge injection (DKI) for a model of one's own.

FashionR2R, arXiv 2410.14429, section 3.2, in two stages that leave a *domain* folder behind:

- *positive*: the network learns photographs, often without a caption, so that the empty prompt comes to mean a
  photograph (equation 1);
- *negative*: with that network frozen, token vectors learn renders, so that guidance can lead away from them
  (equation 2).

`run.adapt` reads top to bottom like that. Importing this package loads no torch.
"""
