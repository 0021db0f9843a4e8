/* SPDX-License-Identifier: GPL-2.0-only */
/* closing.h - how server sessions of every kind say goodbye. */
#ifndef SN_SESSION_CLOSING_H
#define SN_SESSION_CLOSING_H

#include "net/stream.h"
#include "session/wait.h"

/* After the last output the rest of the input is thrown away, so that a reset does not overtake the output. */
#define LINGER_MS  2000
#define LINGER_MAX (1024 * 1024)
/* An idle session of a draining worker is kept that long for one more request. */
#define DRAIN_IDLE_MS 1000
/* An exchange that lasts that long is worth watching its client for a reset. */
#define WATCH_AFTER_MS 50

/* Everything is out: FIN, and from here WAIT_HEAD is the time that is left. */
static inline void linger_begin(struct waits *w, struct stream *st)
{
	waits_stop(st->loop, w);
	wait_begin(st->loop, w, WAIT_HEAD, LINGER_MS);
	stream_shutdown(st);
	stream_read(st, LOOP_BUFFERS_LARGE);
}

/* Throw data away; false: that was enough, close. */
static inline bool linger_data(struct stream *st, struct slice data, uint64_t *thrown)
{
	*thrown += data.len;
	slice_put(&data);
	if (*thrown > LINGER_MAX)
		return false;
	stream_read(st, LOOP_BUFFERS_LARGE);
	return true;
}

#endif
