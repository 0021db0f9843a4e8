# SPDX-License-Identifier: GPL-2.0-only
# __init__.py - what a test imports: `from lib import ...`.
from lib.case import Case, Skip, check, check_eq, check_in, wait_for
from lib.client import Client, PeerClosed, PeerReset, accepts, fetch
from lib.http import Malformed, Message, iter_requests, parse_requests
from lib.origin import Origin
from lib.sentinel import Sentinel
