/* SPDX-License-Identifier: MIT */
/* Frames of WebSocket. libwslay calls back for bytes; here they are always there already. */
#include "bind/ws_frame.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <wslay/wslay.h>

#include "core/error.h"

static struct {
	int (*init)(wslay_frame_context_ptr *, const struct wslay_frame_callbacks *, void *);
	void (*free)(wslay_frame_context_ptr);
	ssize_t (*send)(wslay_frame_context_ptr, struct wslay_frame_iocb *);
	ssize_t (*recv)(wslay_frame_context_ptr, struct wslay_frame_iocb *);
	bool loaded;
} lib;

/* What the callbacks work on. Only during a call of the library, and never across a wait. */
static struct {
	const char *in;
	size_t in_len;
	char *head, *masked; /* where a frame goes */
	size_t head_len, len;
} now;

static wslay_frame_context_ptr sender; /* writes whole frames only, so that one does for all */
static wslay_frame_context_ptr spare;  /* between two frames */

/* ---- Callbacks ---- */

static ssize_t on_recv(uint8_t *buf, size_t len, int flags, void *user)
{
	size_t n = len < now.in_len ? len : now.in_len;

	(void)flags;
	(void)user;
	if (n == 0)
		return -1;
	memcpy(buf, now.in, n);
	now.in += n;
	now.in_len -= n;
	return (ssize_t)n;
}

/* The head comes first, in one piece, then the payload. */
static ssize_t on_send(const uint8_t *data, size_t len, int flags, void *user)
{
	(void)flags;
	(void)user;
	if (now.head_len == 0) {
		memcpy(now.head, data, len);
		now.head_len = len;
		return (ssize_t)len;
	}
	if (now.masked)
		memcpy(now.masked + now.len, data, len);
	now.len += len;
	return (ssize_t)len;
}

static int on_mask(uint8_t *buf, size_t len, void *user)
{
	(void)user;
	return getrandom(buf, len, 0) == (ssize_t)len ? 0 : -1;
}

static int new_context(wslay_frame_context_ptr *ctx)
{
	static const struct wslay_frame_callbacks callbacks = {on_send, on_recv, on_mask};

	return lib.init(ctx, &callbacks, NULL) == 0 ? 0 : -ENOMEM;
}

/* ---- The library ---- */

static bool load(void *handle, const char *name, void *slot)
{
	void *symbol = dlsym(handle, name);

	*(void **)slot = symbol;
	return symbol != NULL;
}

const char *gr_ws_load(void)
{
	void *handle;

	if (lib.loaded)
		return NULL;
	handle = dlopen("libwslay.so.1", RTLD_NOW | RTLD_LOCAL);
	if (handle == NULL)
		return dlerror();
	lib.loaded = load(handle, "wslay_frame_context_init", &lib.init) &&
		     load(handle, "wslay_frame_context_free", &lib.free) &&
		     load(handle, "wslay_frame_send", &lib.send) && load(handle, "wslay_frame_recv", &lib.recv);
	return lib.loaded ? NULL : "libwslay.so.1 lacks functions";
}

/* ---- Parsing ---- */

static int take_context(struct gr_ws_parser *parser)
{
	parser->ctx = spare;
	spare = NULL;
	return parser->ctx ? 0 : new_context(&parser->ctx);
}

static void give_context(struct gr_ws_parser *parser)
{
	if (spare)
		lib.free(spare);
	spare = parser->ctx;
	parser->ctx = NULL;
}

void gr_ws_parser_free(struct gr_ws_parser *parser)
{
	if (parser->ctx)
		lib.free(parser->ctx);
	parser->ctx = NULL;
}

/* The bytes that tell the length of a frame's payload, behind the first two. */
static size_t length_bytes(const char *p)
{
	size_t len = p[1] & 0x7f;

	return len == 127 ? 8 : len == 126 ? 2 : 0;
}

/* How many of the first n bytes of a frame to give to the library: up to its end, and none before its head and something
 * of its payload are there, so that every call brings a piece and none holds bytes back. */
static size_t first_bytes(const char *p, size_t n)
{
	size_t extra, head;
	uint64_t len;

	if (n < 2)
		return 0;
	extra = length_bytes(p);
	head = 2 + extra + ((p[1] & 0x80) ? 4 : 0);
	if (n < head)
		return 0;
	len = extra ? 0 : p[1] & 0x7f;
	for (size_t i = 0; i < extra; i++)
		len = len << 8 | (uint8_t)p[2 + i];
	if (len > 0 && n == head)
		return 0;
	return len < n - head ? head + (size_t)len : n;
}

static void fill_piece(struct gr_ws_parser *parser, const struct wslay_frame_iocb *f, struct gr_ws_piece *piece,
		       bool first)
{
	if (first)
		parser->left = f->payload_length;
	parser->left -= f->data_length;
	*piece = (struct gr_ws_piece){
		.data = (const char *)f->data,
		.len = f->data_length,
		.total = f->payload_length,
		.opcode = f->opcode,
		.rsv = f->rsv,
		.fin = f->fin,
		.masked = f->mask,
		.first = first,
		.last = parser->left == 0,
	};
}

ssize_t gr_ws_parse(struct gr_ws_parser *parser, const char *p, size_t n, struct gr_ws_piece *piece)
{
	bool first = parser->ctx == NULL;
	struct wslay_frame_iocb f;
	int rc;

	if (first)
		n = first_bytes(p, n);
	else if (n > parser->left)
		n = (size_t)parser->left;
	if (n == 0)
		return 0;
	rc = first ? take_context(parser) : 0;
	if (rc < 0)
		return rc;
	now.in = p;
	now.in_len = n;
	memset(&f, 0, sizeof(f));
	if (lib.recv(parser->ctx, &f) < 0) {
		gr_ws_parser_free(parser);
		return GR_PROTOCOL;
	}
	fill_piece(parser, &f, piece, first);
	if (piece->last)
		give_context(parser);
	return (ssize_t)(n - now.in_len);
}

/* ---- Making ---- */

static void drop_sender(void)
{
	lib.free(sender);
	sender = NULL;
}

ssize_t gr_ws_frame(uint8_t opcode, uint8_t rsv, const char *p, size_t len, char *head, char *masked)
{
	struct wslay_frame_iocb f = {
		.fin = 1,
		.rsv = rsv,
		.opcode = opcode,
		.payload_length = len,
		.mask = masked != NULL,
		.data = (const uint8_t *)p,
		.data_length = len,
	};
	int rc = sender ? 0 : new_context(&sender);

	if (rc < 0)
		return rc;
	now.head = head;
	now.masked = masked;
	now.head_len = now.len = 0;
	if (lib.send(sender, &f) < 0 || now.len != len) {
		drop_sender();
		return -EIO;
	}
	return (ssize_t)now.head_len;
}
