/* SPDX-License-Identifier: MIT */
/* HTTP responses on their way out: bodies in their framing, compressed or not, and the connection below. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bind/lib_httpd.h"
#include "http/write.h"

enum {
	COPY_MAX = 16 << 10,    /* larger pieces of a body are sent from where they are */
	COLLECT_MAX = 64 << 10, /* bytes of pipelined responses that go out together */
};

/* ---- Sending ---- */

/* The buffer that was given back last, for who needs the next one. */
static struct {
	char *p;
	size_t cap;
} spare;

void gr_httpd_give_back(struct gr_httpd_conn *c)
{
	if (c->out_cap > spare.cap && c->out_cap <= COLLECT_MAX) {
		free(spare.p);
		spare.p = c->out;
		spare.cap = c->out_cap;
	} else {
		free(c->out);
	}
	c->out = NULL;
	c->out_len = c->out_cap = 0;
}

static void take_spare(struct gr_httpd_conn *c)
{
	c->out = spare.p;
	c->out_cap = spare.cap;
	spare.p = NULL;
	spare.cap = 0;
}

int gr_httpd_reserve(struct gr_httpd_conn *c, size_t n)
{
	size_t cap = c->out_len + n;
	char *out;

	if (c->out == NULL)
		take_spare(c);
	if (cap <= c->out_cap)
		return 0;
	if (cap < c->out_cap * 2)
		cap = c->out_cap * 2;
	out = realloc(c->out, cap);
	if (out == NULL)
		return -ENOMEM;
	c->out = out;
	c->out_cap = cap;
	return 0;
}

static void put(struct gr_httpd_conn *c, const char *p, size_t n)
{
	memcpy(c->out + c->out_len, p, n);
	c->out_len += n;
}

/* How a client takes what is sent to it. A short step comes first: most writes end in it, and nobody has to ask the kernel
 * how far the client was. */
struct pace {
	double seconds; /* that the next step may take */
	int64_t taken;  /* bytes by the beginning of it */
};

enum { FIRST_STEP = 64 }; /* part of write_timeout */

static struct pace begin_pace(const struct gr_httpd_conn *c)
{
	return (struct pace){c->config->write_timeout / FIRST_STEP, -1};
}

/* After a step that timed out: whether the client has taken enough for another one. What the kernel keeps for it is no
 * sign of life; that is to be forgotten when the connection of a client who takes nothing is closed. */
static bool goes_on(struct gr_httpd_conn *c, struct pace *pace)
{
	int64_t taken, bytes;

	if (c->stream->fd < 0)
		return false;
	taken = (int64_t)c->stream->sent - gr_sock_unacked(c->stream->fd);
	bytes = taken - pace->taken;
	if (pace->taken >= 0 && (bytes <= 0 || (double)bytes < c->config->min_rate * pace->seconds)) {
		gr_stream_break(c->stream);
		return false;
	}
	*pace = (struct pace){c->config->write_timeout, taken};
	return true;
}

/* So many bytes could not be sent after all. */
static void discount(struct gr_httpd_conn *c, size_t n)
{
	c->sent -= n < c->sent ? n : c->sent;
}

/* Sends what is left of all, in one's turn. A client may take any time as long as it takes enough. */
static int send_steadily(struct gr_httpd_conn *c, const struct iovec all[2], size_t *sent)
{
	struct pace pace = begin_pace(c);
	int rc = gr_stream_begin_write(c->stream, gr_until(c->config->write_timeout));

	if (rc < 0)
		return rc;
	do {
		struct iovec rest[2];
		int n = gr_stream_rest(all, 2, *sent, rest);

		rc = gr_stream_writev(c->stream, rest, n, gr_until(pace.seconds), sent);
	} while (rc == GR_TIMEOUT && goes_on(c, &pace));
	gr_stream_end_write(c->stream);
	return rc;
}

/* Sends what is collected and then these bytes, which stay where they are. Mostly the kernel takes all at once. */
static int send_with(struct gr_httpd_conn *c, const char *p, size_t n)
{
	struct iovec all[2] = {{c->out, c->out_len}, {(void *)p, n}};
	const struct iovec *from = c->out_len > 0 ? all : all + 1;
	size_t sent = 0;
	int rc;

	c->head_at = SIZE_MAX;
	rc = gr_stream_write_now(c->stream, from, (c->out_len > 0) + (n > 0), &sent);
	if (rc > 0)
		rc = send_steadily(c, all, &sent);
	if (rc < 0)
		discount(c, c->out_len + n - sent);
	gr_httpd_give_back(c);
	return rc;
}

/* Threads that share a response take turns, each with all that it adds. -EALREADY: another one has finished it meanwhile. */
static int take_turn(struct gr_httpd_conn *c)
{
	uint32_t turn = c->turn;
	int rc = gr_turn_take(&c->sending, "response (its turn)");

	if (rc == 0 && (c->turn != turn || c->reply == GR_REPLY_DONE)) {
		gr_turn_give(&c->sending);
		return -EALREADY;
	}
	return rc;
}

/* Ends the turn; returns rc. */
static int give_turn(struct gr_httpd_conn *c, int rc)
{
	gr_turn_give(&c->sending);
	return rc;
}

int gr_httpd_checked(struct gr_httpd_conn *c, int rc)
{
	c->keep = c->keep && rc == 0;
	return rc;
}

static int flush(struct gr_httpd_conn *c)
{
	return c->out_len > 0 ? gr_httpd_checked(c, send_with(c, NULL, 0)) : 0;
}

int gr_httpd_flush(struct gr_httpd_conn *c)
{
	int rc = gr_turn_take(&c->sending, "response (its turn)");

	return rc < 0 ? rc : give_turn(c, flush(c));
}

/* Adds bytes, by copy unless they are many. */
static int add(struct gr_httpd_conn *c, const char *p, size_t n)
{
	int rc;

	if (n > COPY_MAX)
		return send_with(c, p, n);
	rc = gr_httpd_reserve(c, n);
	if (rc == 0)
		put(c, p, n);
	return rc;
}

/* ---- The body ---- */

static int add_chunk(struct gr_httpd_conn *c, const char *p, size_t n)
{
	int rc = gr_httpd_reserve(c, GR_CHUNK_HEAD_MAX + (n <= COPY_MAX ? n : 0) + 2);

	if (rc < 0)
		return rc;
	c->out_len += gr_chunk_head(c->out + c->out_len, n);
	rc = add(c, p, n);
	return rc < 0 ? rc : add(c, "\r\n", 2);
}

/* More requests are here already, and can be answered before this answer goes out. */
static bool may_collect(const struct gr_httpd_conn *c)
{
	return c->keep && c->stream->len > 0 && c->body.kind == GR_BODY_NONE && c->out_len < COLLECT_MAX;
}

/* Adds a piece of the body in the response's framing. -EMSGSIZE: more than the head promised. */
static int add_framed(struct gr_httpd_conn *c, const char *p, size_t n)
{
	c->sent += c->framing == GR_BODY_NONE ? 0 : n;
	if (n == 0 || c->framing == GR_BODY_NONE)
		return 0;
	if (c->framing == GR_BODY_CHUNKED)
		return add_chunk(c, p, n);
	if (c->framing == GR_BODY_LENGTH) {
		if ((int64_t)n > c->to_send)
			return -EMSGSIZE;
		c->to_send -= (int64_t)n;
		if (c->to_send == 0 && n > GR_HTTPD_COPY_LAST && !may_collect(c))
			return send_with(c, p, n);
	}
	return add(c, p, n);
}

/* What comes out of the compression. */
static int add_compressed(struct gr_httpd_conn *c, const char *p, size_t n)
{
	int rc = add_framed(c, p, n);

	return rc == 0 && c->out_len > COLLECT_MAX ? flush(c) : rc;
}

static int add_body(struct gr_httpd_conn *c, const char *p, size_t n, enum gr_httpd_gzip_flush how)
{
	return c->gzip ? gr_httpd_gzip_add(c, p, n, how, add_compressed) : add_framed(c, p, n);
}

int gr_httpd_add_body(struct gr_httpd_conn *c, const char *p, size_t n)
{
	int rc = take_turn(c);

	return rc < 0 ? rc : give_turn(c, add_body(c, p, n, GR_GZIP_MORE));
}

int gr_httpd_send_piece(struct gr_httpd_conn *c, const char *p, size_t n)
{
	int rc = take_turn(c);

	if (rc < 0)
		return rc;
	rc = add_body(c, p, n, GR_GZIP_PIECE);
	return give_turn(c, rc == 0 ? flush(c) : rc);
}

/* Ends the body. A body shorter than promised can only be told by closing. */
static int end_body(struct gr_httpd_conn *c)
{
	int rc = c->gzip ? gr_httpd_gzip_add(c, NULL, 0, GR_GZIP_END, add_compressed) : 0;

	gr_httpd_gzip_free(c);
	if (rc == 0 && c->framing == GR_BODY_CHUNKED)
		rc = add(c, "0\r\n\r\n", 5);
	c->reply = GR_REPLY_DONE;
	if (c->to_send > 0)
		c->keep = false;
	return rc;
}

/* In one's turn. */
static int complete(struct gr_httpd_conn *c, int rc)
{
	if (rc == 0)
		rc = end_body(c);
	if (rc == 0 && may_collect(c))
		gr_httpd_hold(c);
	else if (rc == 0)
		rc = flush(c);
	return give_turn(c, gr_httpd_checked(c, rc));
}

int gr_httpd_complete(struct gr_httpd_conn *c, int rc)
{
	if (rc == 0)
		rc = take_turn(c);
	if (rc < 0)
		return rc == -EALREADY ? rc : gr_httpd_checked(c, rc);
	return complete(c, 0);
}

int gr_httpd_complete_with(struct gr_httpd_conn *c, const char *p, size_t n)
{
	int rc = take_turn(c);

	if (rc < 0)
		return rc == -EALREADY ? rc : gr_httpd_checked(c, rc);
	return complete(c, add_body(c, p, n, GR_GZIP_MORE));
}

static int send_file(struct gr_httpd_conn *c, int fd, off_t from, size_t len, size_t *sent)
{
	struct pace pace = begin_pace(c);
	int rc = (int64_t)len > c->to_send ? -EMSGSIZE : flush(c);

	if (rc == 0)
		rc = gr_stream_begin_write(c->stream, gr_until(c->config->write_timeout));
	if (rc < 0)
		return rc;
	do {
		rc = gr_stream_sendfile(c->stream, fd, from + (off_t)*sent, len - *sent, gr_until(pace.seconds), sent);
	} while (rc == GR_TIMEOUT && goes_on(c, &pace));
	gr_stream_end_write(c->stream);
	c->sent += *sent;
	c->to_send -= (int64_t)*sent;
	return rc;
}

int gr_httpd_send_file(struct gr_httpd_conn *c, int fd, off_t from, size_t len, size_t *sent)
{
	int rc = take_turn(c);

	return rc < 0 ? rc : give_turn(c, send_file(c, fd, from, len, sent));
}
