/* SPDX-License-Identifier: MIT */
/* The socket of a TLS connection, as OpenSSL sees it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "net/tls_stream.h"

enum {
	OUT_MAX = 64 << 10
}; /* ciphertext that waits for the socket; a peer that makes us answer but does not read is cut */

static ssize_t take_early(struct gr_tls *t, char *p, size_t len)
{
	size_t n = t->in_len < len ? t->in_len : len;

	memcpy(p, t->in + t->in_off, n);
	t->in_off += n;
	t->in_len -= n;
	if (t->in_len == 0) {
		free(t->in);
		t->in = NULL;
	}
	return (ssize_t)n;
}

static int on_read(BIO *bio, char *p, int len)
{
	struct gr_tls *t = ossl.BIO_get_data(bio);
	ssize_t n;

	ossl.BIO_clear_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_SHOULD_RETRY);
	if (t->in_len > 0)
		return (int)take_early(t, p, (size_t)len);
	n = t->drained ? -EAGAIN : gr_sock_recv(t->stream->fd, p, (size_t)len);
	t->drained = n < len;
	t->ended = n == 0;
	if (n >= 0)
		return (int)n;
	if (n == -EAGAIN)
		ossl.BIO_set_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_SHOULD_RETRY);
	else
		t->recv_error = (int)n;
	return -1;
}

int gr_tls_send_out(struct gr_tls *t)
{
	ssize_t n;

	while (t->out_len > 0 && t->send_error == 0) {
		n = gr_sock_send(t->stream->fd, t->out + t->out_off, t->out_len);
		if (n == -EAGAIN)
			return -EAGAIN;
		if (n < 0)
			t->send_error = (int)n;
		t->out_off += n > 0 ? (size_t)n : 0;
		t->out_len -= n > 0 ? (size_t)n : 0;
	}
	free(t->out);
	t->out = NULL;
	t->out_off = t->out_len = t->out_cap = 0;
	return t->send_error;
}

static bool keep_out(struct gr_tls *t, const char *p, size_t len)
{
	size_t end = t->out_off + t->out_len;

	if (end + len > t->out_cap) {
		char *out = len + t->out_len > OUT_MAX ? NULL : realloc(t->out, end + len);

		if (out == NULL)
			return false;
		t->out = out;
		t->out_cap = end + len;
	}
	memcpy(t->out + end, p, len);
	t->out_len += len;
	return true;
}

/* Takes all of it, always, so that no call of OpenSSL has to be repeated and reading never has to wait for writing. What
 * the socket does not take waits in t->out. */
static int on_write(BIO *bio, const char *p, int len)
{
	struct gr_tls *t = ossl.BIO_get_data(bio);
	ssize_t n = 0;

	ossl.BIO_clear_flags(bio, BIO_FLAGS_WRITE | BIO_FLAGS_SHOULD_RETRY);
	if (t->out_len == 0 && t->send_error == 0)
		n = gr_sock_send(t->stream->fd, p, (size_t)len);
	if (n < 0 && n != -EAGAIN)
		t->send_error = (int)n;
	if (t->send_error == 0 && n < len && !keep_out(t, p + (n > 0 ? n : 0), (size_t)(len - (n > 0 ? n : 0))))
		t->send_error = -ENOBUFS;
	return len;
}

static long on_ctrl(BIO *bio, int command, long number, void *p)
{
	(void)bio;
	(void)number;
	(void)p;
	return command == BIO_CTRL_FLUSH;
}

BIO *gr_tls_new_bio(struct gr_tls *t)
{
	static BIO_METHOD *method;
	BIO *bio;

	if (method == NULL) {
		method = ossl.BIO_meth_new(BIO_TYPE_SOURCE_SINK, "grun stream");
		if (method == NULL)
			return NULL;
		ossl.BIO_meth_set_read(method, on_read);
		ossl.BIO_meth_set_write(method, on_write);
		ossl.BIO_meth_set_ctrl(method, on_ctrl);
	}
	bio = ossl.BIO_new(method);
	if (bio) {
		ossl.BIO_set_data(bio, t);
		ossl.BIO_set_init(bio, 1);
	}
	return bio;
}
