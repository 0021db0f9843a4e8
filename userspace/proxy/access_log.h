/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * access_log.h - one line for each request: what it asked, what it got, from where, how long it took.
 * Formats a neutral record; the file is observe/logfile.h's.  One struct access_clock a worker.
 */
#ifndef SN_PROXY_ACCESS_LOG_H
#define SN_PROXY_ACCESS_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"
#include "base/strbuf.h"

enum access_log_format {
	ACCESS_LOG_JSON,
	ACCESS_LOG_COMBINED,
};

struct access_log_settings {
	bool is_enabled;
	const char *file;
	enum access_log_format format;
	size_t buffer_size; /* bytes a worker collects */
};

/* Bytes of a field that are logged; the rest is cut.  In combined, path and query share ACCESS_PATH_MAX twice. */
#define ACCESS_PATH_MAX	  2048 /* path; and query */
#define ACCESS_FIELD_MAX  1024 /* user agent, referer */
#define ACCESS_HOST_MAX	  256
#define ACCESS_SHORT_MAX  128 /* everything else */
#define ACCESS_DETAIL_MAX 256

/* Nothing here is owned, and nothing needs to be clean: bytes are escaped on their way out.  Empty: left out. */
struct access_record {
	uint64_t wall_ns; /* when the request came */
	uint64_t duration_us;
	struct span request_id;
	struct span method;
	struct span path;  /* as it came, without query */
	struct span query; /* without '?' */
	struct span host;
	struct span protocol; /* "HTTP/1.1" */
	struct span tls_version, tls_cipher; /* of the client's connection; JSON only */
	struct span client_ip;
	struct span geo_country; /* JSON only */
	struct span user_agent, referer;

	unsigned status; /* 0: none; left out, or 000 */
	struct span grpc_status; /* JSON only */
	uint64_t body_bytes_received, body_bytes_sent;
	uint64_t bytes_received_spliced, bytes_sent_spliced; /* of these; JSON only, as what follows, if any */
	uint64_t bytes_received_sockmap, bytes_sent_sockmap; /* and by sockmap */
	uint64_t bytes_undelivered; /* of a tunnel that failed in the kernel: taken from one side and lost */
	struct span tunnel_end; /* why a tunnel was broken off */
	struct span route_id, upstream_id;
	struct span upstream_addr; /* where the last attempt went */
	unsigned upstream_attempts;
	bool is_connection_reused; /* the origin's */
	struct span instance;
	struct span failure;	    /* label of failures.def */
	struct span failure_detail; /* may be a stranger's bytes */
};

/* The text of the current second.  Zero is valid. */
struct access_clock {
	uint64_t second;  /* plus 1; 0: none */
	char rfc3339[20]; /* "2026-11-24T16:05:15." */
	char common[26];  /* "24/Nov/2026:16:05:15 +0000" */
};

/*
 * Append the line, without a newline and never longer than ACCESS_LINE_MAX.  JSON: one object; times in UTC;
 * duration_ms with microseconds.  Combined: the format of Apache and nginx, then the request's id and "<n>ms";
 * '"', '\' and bytes that are not printable ASCII are \xHH.
 */
void access_log_format(struct access_clock *clock, enum access_log_format format, const struct access_record *r,
		       struct strbuf *out);

#define ACCESS_LINE_MAX                                                                                                \
	(6 * (2 * ACCESS_PATH_MAX + 2 * ACCESS_FIELD_MAX + ACCESS_HOST_MAX + ACCESS_DETAIL_MAX +                       \
	      14 * ACCESS_SHORT_MAX) +                                                                                 \
	 1024)

#endif
