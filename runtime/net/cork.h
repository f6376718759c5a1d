/* SPDX-License-Identifier: MIT */
/* What corks are to stream.c; their public side is in stream.h. */
#ifndef GR_NET_CORK_H
#define GR_NET_CORK_H

#include "net/stream.h"

/* A write of `total` bytes to a stream with a cork. Returns 1: all was collected; 0: it has to be sent now, what was
 * collected before is out; or a failure as of gr_stream_write. Parks. */
int gr_cork_take(struct gr_stream *s, const struct iovec *iov, int n, size_t total, double until);

/* Sends what is collected as far as it goes without waiting; what is left stays. */
void gr_cork_push(struct gr_stream *s);

/* Drops the cork with what it holds. */
void gr_cork_delete(struct gr_stream *s);

#endif
