/* SPDX-License-Identifier: GPL-2.0-only */
/* access_log.c - writes a request's line, by hand and in one pass: it runs once for every request. */
#include "proxy/access_log.h"

#include <stdio.h>
#include <time.h>

#include "base/check.h"
#include "base/decimal.h"
#include "base/utf8.h"

#define EACH_BYTE(x) ((uint64_t)(x)*0x0101010101010101ull)

/*
 * A place to write at, with room that was reserved before: worst case, every byte of every field is escaped, which
 * makes six of one.  The fields after `out` are written in the order of the line.
 */
struct line {
	char *to;
};

static const char hex_digits[] = "0123456789abcdef";

static void put(struct line *l, const char *text, size_t len)
{
	memcpy(l->to, text, len);
	l->to += len;
}

#define PUT(l, literal) put((l), "" literal, sizeof(literal) - 1)

static void put_char(struct line *l, char c)
{
	*l->to++ = c;
}

static void put_u64(struct line *l, uint64_t v)
{
	l->to = decimal_put(l->to, v);
}

static void put_padded3(struct line *l, unsigned v)
{
	put_char(l, (char)('0' + v / 100 % 10));
	put_char(l, (char)('0' + v / 10 % 10));
	put_char(l, (char)('0' + v % 10));
}

static bool is_plain(unsigned char c)
{
	return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/* None of these eight bytes needs care.  A false alarm (a borrow into the next byte) only costs the slow way. */
static bool is_plain8(uint64_t w)
{
	uint64_t quote = w ^ EACH_BYTE('"'), backslash = w ^ EACH_BYTE('\\'), del = w ^ EACH_BYTE(0x7f);

	return !((w | (w - EACH_BYTE(0x20)) | (quote - EACH_BYTE(1)) | (backslash - EACH_BYTE(1)) |
		  (del - EACH_BYTE(1))) &
		 EACH_BYTE(0x80));
}

/* Fewer than eight bytes, filled up with spaces. */
static uint64_t load_tail(const char *from, size_t len)
{
	uint64_t w = EACH_BYTE(' ');
	char *to = (char *)&w;

	if (len & 4) {
		memcpy(to, from, 4);
		to += 4;
		from += 4;
	}
	if (len & 2) {
		memcpy(to, from, 2);
		to += 2;
		from += 2;
	}
	if (len & 1)
		*to = *from;
	return w;
}

/* Copies what needs no care and takes it off *s.  May write eight bytes too far: there is room. */
static void put_plain(struct line *l, struct span *s)
{
	const char *from = s->ptr;
	size_t left = s->len;
	uint64_t w;

	for (;;) {
		size_t n = MIN(left, 8);

		if (n == 8)
			memcpy(&w, from, 8);
		else
			w = load_tail(from, n);
		if (!is_plain8(w))
			break;
		memcpy(l->to, &w, 8);
		l->to += n;
		from += n;
		left -= n;
		if (!left)
			break;
	}
	while (left && is_plain((unsigned char)*from)) {
		*l->to++ = *from++;
		left--;
	}
	*s = span_of(from, left);
}

static void put_hex(struct line *l, unsigned char c)
{
	put_char(l, hex_digits[c >> 4]);
	put_char(l, hex_digits[c & 15]);
}

/* The inside of a JSON string. */
static void put_json(struct line *l, struct span s, size_t max)
{
	s.len = MIN(s.len, max);
	while (s.len) {
		unsigned char c;
		size_t n = 1;

		put_plain(l, &s);
		if (!s.len)
			return;
		c = (unsigned char)*s.ptr;
		if (c == '"' || c == '\\') {
			put_char(l, '\\');
			put_char(l, (char)c);
		} else if (c < 0x80) {
			PUT(l, "\\u00");
			put_hex(l, c);
		} else if ((n = utf8_sequence(s.ptr, s.len)) > 0) {
			put(l, s.ptr, n);
		} else {
			n = 1;
			PUT(l, UTF8_REPLACEMENT);
		}
		s = span_skip(s, n);
	}
}

/* The inside of a quoted field of the combined format. */
static void put_quoted(struct line *l, struct span s, size_t max)
{
	s.len = MIN(s.len, max);
	while (s.len) {
		put_plain(l, &s);
		if (!s.len)
			return;
		PUT(l, "\\x");
		put_hex(l, (unsigned char)*s.ptr);
		s = span_skip(s, 1);
	}
}

/* In a field that ends at a space. */
static void put_word(struct line *l, struct span s, size_t max)
{
	char *from = l->to;

	put_quoted(l, s, max);
	if (from == l->to)
		put_char(l, '-');
	for (; from < l->to; from++)
		if (*from == ' ')
			*from = '_';
}

static void clock_update(struct access_clock *c, uint64_t second)
{
	time_t t = (time_t)second;
	struct tm tm;

	if (c->second == second + 1)
		return;
	c->second = second + 1;
	if (!gmtime_r(&t, &tm))
		tm = (struct tm){ .tm_mday = 1, .tm_year = 70 };
	/* The sizes are exact: strftime writes the NUL too. */
	char rfc3339[sizeof(c->rfc3339) + 1] = "", common[sizeof(c->common) + 1] = "";

	(void)strftime(rfc3339, sizeof(rfc3339), "%Y-%m-%dT%H:%M:%S.", &tm);
	(void)strftime(common, sizeof(common), "%d/%b/%Y:%H:%M:%S +0000", &tm);
	memcpy(c->rfc3339, rfc3339, sizeof(c->rfc3339));
	memcpy(c->common, common, sizeof(c->common));
}

/* ,"key":"value" - unless it is empty */
#define PUT_FIELD(l, key, value, max)                                                                                  \
	do {                                                                                                           \
		if ((value).len) {                                                                                     \
			PUT(l, ",\"" key "\":\"");                                                                     \
			put_json(l, value, max);                                                                       \
			put_char(l, '"');                                                                              \
		}                                                                                                      \
	} while (0)

#define PUT_NUMBER(l, key, value)                                                                                      \
	do {                                                                                                           \
		PUT(l, ",\"" key "\":");                                                                               \
		put_u64(l, value);                                                                                     \
	} while (0)

#define PUT_BOOL(l, key, value)                                                                                        \
	do {                                                                                                           \
		if (value)                                                                                             \
			PUT(l, ",\"" key "\":true");                                                                   \
		else                                                                                                   \
			PUT(l, ",\"" key "\":false");                                                                  \
	} while (0)

static void json_format(struct line *l, const struct access_clock *c, const struct access_record *r)
{
	PUT(l, "{\"timestamp\":\"");
	put(l, c->rfc3339, sizeof(c->rfc3339));
	put_padded3(l, (unsigned)(r->wall_ns / 1000000 % 1000));
	PUT(l, "Z\"");
	PUT_FIELD(l, "trace_id", r->request_id, ACCESS_SHORT_MAX);
	PUT_FIELD(l, "method", r->method, ACCESS_SHORT_MAX);
	PUT_FIELD(l, "path", r->path, ACCESS_PATH_MAX);
	PUT_FIELD(l, "query", r->query, ACCESS_PATH_MAX);
	PUT_FIELD(l, "protocol", r->protocol, ACCESS_SHORT_MAX);
	PUT_FIELD(l, "tls_version", r->tls_version, ACCESS_SHORT_MAX);
	PUT_FIELD(l, "tls_cipher", r->tls_cipher, ACCESS_SHORT_MAX);
	PUT_FIELD(l, "host", r->host, ACCESS_HOST_MAX);
	if (r->status)
		PUT_NUMBER(l, "status", r->status);
	PUT_FIELD(l, "grpc_status", r->grpc_status, ACCESS_SHORT_MAX);
	PUT_NUMBER(l, "duration_ms", r->duration_us / 1000);
	put_char(l, '.');
	put_padded3(l, (unsigned)(r->duration_us % 1000));
	PUT_FIELD(l, "client_ip", r->client_ip, ACCESS_SHORT_MAX);
	PUT_FIELD(l, "geo_country", r->geo_country, ACCESS_SHORT_MAX);
	PUT_FIELD(l, "user_agent", r->user_agent, ACCESS_FIELD_MAX);
	PUT_FIELD(l, "referer", r->referer, ACCESS_FIELD_MAX);
	PUT_NUMBER(l, "body_bytes_received", r->body_bytes_received);
	PUT_NUMBER(l, "body_bytes_sent", r->body_bytes_sent);
	if (r->bytes_received_spliced)
		PUT_NUMBER(l, "bytes_received_spliced", r->bytes_received_spliced);
	if (r->bytes_sent_spliced)
		PUT_NUMBER(l, "bytes_sent_spliced", r->bytes_sent_spliced);
	if (r->bytes_received_sockmap)
		PUT_NUMBER(l, "bytes_received_sockmap", r->bytes_received_sockmap);
	if (r->bytes_sent_sockmap)
		PUT_NUMBER(l, "bytes_sent_sockmap", r->bytes_sent_sockmap);
	if (r->bytes_undelivered)
		PUT_NUMBER(l, "bytes_undelivered", r->bytes_undelivered);
	PUT_FIELD(l, "tunnel_end", r->tunnel_end, ACCESS_SHORT_MAX);
	PUT_FIELD(l, "route_id", r->route_id, ACCESS_SHORT_MAX);
	PUT_FIELD(l, "upstream", r->upstream_id, ACCESS_SHORT_MAX);
	PUT_FIELD(l, "upstream_addr", r->upstream_addr, ACCESS_SHORT_MAX);
	PUT_NUMBER(l, "upstream_attempts", r->upstream_attempts);
	PUT_BOOL(l, "connection_reused", r->is_connection_reused);
	PUT_BOOL(l, "rate_limit_hit", r->status == 429);
	PUT_FIELD(l, "failure", r->failure, ACCESS_SHORT_MAX);
	PUT_FIELD(l, "failure_detail", r->failure_detail, ACCESS_DETAIL_MAX);
	PUT_FIELD(l, "instance_id", r->instance, ACCESS_SHORT_MAX);
	put_char(l, '}');
}

static void put_quoted_or_dash(struct line *l, struct span s, size_t max)
{
	put_char(l, '"');
	if (s.len)
		put_quoted(l, s, max);
	else
		put_char(l, '-');
	put_char(l, '"');
}

static void combined_format(struct line *l, const struct access_clock *c, const struct access_record *r)
{
	put_word(l, r->client_ip, ACCESS_SHORT_MAX);
	PUT(l, " - - [");
	put(l, c->common, sizeof(c->common));
	PUT(l, "] \"");
	put_quoted(l, r->method.len ? r->method : SPAN("-"), ACCESS_SHORT_MAX);
	put_char(l, ' ');
	put_quoted(l, r->path.len ? r->path : SPAN("-"), ACCESS_PATH_MAX);
	if (r->query.len) {
		put_char(l, '?');
		put_quoted(l, r->query, ACCESS_PATH_MAX);
	}
	put_char(l, ' ');
	put_quoted(l, r->protocol, ACCESS_SHORT_MAX);
	PUT(l, "\" ");
	put_padded3(l, r->status);
	put_char(l, ' ');
	put_u64(l, r->body_bytes_sent);
	put_char(l, ' ');
	put_quoted_or_dash(l, r->referer, ACCESS_FIELD_MAX);
	put_char(l, ' ');
	put_quoted_or_dash(l, r->user_agent, ACCESS_FIELD_MAX);
	put_char(l, ' ');
	put_word(l, r->request_id, ACCESS_SHORT_MAX);
	put_char(l, ' ');
	put_u64(l, r->duration_us / 1000);
	PUT(l, "ms");
}

void access_log_format(struct access_clock *clock, enum access_log_format format, const struct access_record *r,
		       struct strbuf *out)
{
	struct line l;
	size_t len;

	clock_update(clock, r->wall_ns / 1000000000);
	strbuf_reserve(out, ACCESS_LINE_MAX);
	l.to = out->ptr + out->len;
	if (format == ACCESS_LOG_COMBINED)
		combined_format(&l, clock, r);
	else
		json_format(&l, clock, r);
	len = (size_t)(l.to - out->ptr) - out->len;
	CHECK(len <= ACCESS_LINE_MAX);
	out->len += len;
	out->ptr[out->len] = 0;
}
