"""Lagvis: dense neural networks, written once against the Array API standard, trained on any array library.

In a checkout the packages (`network/`, `backends/`, ...) stand beside this folder; in an installation they stand inside
it. They are imported as `lagvis.network`, `lagvis.backends`, ... in both.
"""

import os

__version__ = "0.1.0"

_checkout = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if os.path.isfile(os.path.join(_checkout, "network", "step.py")):
    __path__.append(_checkout)
