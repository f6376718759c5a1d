/* SPDX-License-Identifier: MIT */
/* HTTP responses that are written and not sent yet: to be sent in time, or never. */
#include <string.h>

#include "bind/lib_httpd.h"

/* Whose responses wait, if they still do. */
static struct gr_httpd_conn *held;

/* Sends the complete ones as far as it goes without waiting. Errors are seen by the next one who sends. */
static void send_held(void)
{
	struct gr_httpd_conn *c = held;
	struct gr_stream *s;
	bool begun;
	size_t complete;
	ssize_t n;

	held = NULL;
	if (c == NULL)
		return;
	s = c->stream;
	begun = c->reply == GR_REPLY_STARTED && c->head_at != SIZE_MAX;
	complete = begun ? c->head_at : c->out_len;
	if (complete == 0 || s->fd < 0 || s->writing || s->cork || c->sending.owner)
		return;
	n = s->ops->write(s, c->out, complete);
	if (n <= 0)
		return;
	s->sent += (size_t)n;
	c->out_len -= (size_t)n;
	c->head_at -= begun ? (size_t)n : 0;
	if (c->out_len == 0)
		gr_httpd_give_back(c);
	else
		memmove(c->out, c->out + n, c->out_len);
}

void gr_httpd_hold(struct gr_httpd_conn *c)
{
	held = c;
	gr_green_on_leave(send_held);
}

void gr_httpd_unhold(const struct gr_httpd_conn *c)
{
	if (held == c)
		held = NULL;
}

void gr_httpd_take_back(struct gr_httpd_conn *c)
{
	if (c->reply != GR_REPLY_STARTED)
		return;
	gr_httpd_gzip_free(c);
	if (c->head_at != SIZE_MAX) {
		c->out_len = c->head_at;
		c->to_send = 0;
		c->sent = 0;
		c->reply = GR_REPLY_OPEN;
	} else if (c->framing == GR_BODY_CLOSE) {
		gr_stream_break(c->stream);
	}
}
