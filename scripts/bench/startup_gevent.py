# SPDX-License-Identifier: MIT
# For the startup bench: a script that only loads gevent.
import gevent  # noqa: F401
