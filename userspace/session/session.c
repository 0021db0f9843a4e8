/* SPDX-License-Identifier: GPL-2.0-only */
/* session.c - names of what can go wrong on a session. */
#include "session/session.h"

#include "base/check.h"

const char *session_fault_name(enum session_fault f)
{
	static const char *const names[SESSION_FAULT_COUNT] = {
		[SESSION_FAULT_NONE] = "none",
		[SESSION_FAULT_RESET] = "reset",
		[SESSION_FAULT_EOF] = "closed_early",
		[SESSION_FAULT_MALFORMED] = "malformed",
		[SESSION_FAULT_HEAD_TIMEOUT] = "head_timeout",
		[SESSION_FAULT_BODY_TIMEOUT] = "body_timeout",
		[SESSION_FAULT_WRITE_TIMEOUT] = "write_timeout",
		[SESSION_FAULT_CONNECT] = "connect_failed",
		[SESSION_FAULT_CONNECT_TIMEOUT] = "connect_timeout",
		[SESSION_FAULT_STALE] = "stale_connection",
		[SESSION_FAULT_REFUSED] = "refused_stream",
		[SESSION_FAULT_GOAWAY] = "goaway",
		[SESSION_FAULT_TLS] = "tls_failed",
		[SESSION_FAULT_TLS_TIMEOUT] = "tls_timeout",
		[SESSION_FAULT_UPGRADE] = "no_extended_connect",
		[SESSION_FAULT_SHUTDOWN] = "shutdown",
		[SESSION_FAULT_PING_TIMEOUT] = "ping_timeout",
	};

	CHECK(f < SESSION_FAULT_COUNT);
	return names[f];
}
