/* SPDX-License-Identifier: MIT */
/* Compressed bodies of responses. */
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "bind/lib_httpd.h"
#include "http/field.h"

enum { OUT = 16 << 10, WINDOW = 15, WINDOW_MIN = 9, GZIP = 16 };

struct gr_httpd_gzip {
	z_stream z;
	unsigned char out[OUT];
};

static struct {
	int (*init)(z_streamp, int, int, int, int, int, const char *, int);
	int (*deflate)(z_streamp, int);
	int (*end)(z_streamp);
} lib;

void gr_httpd_gzip_load(lua_State *L)
{
	void *handle = lib.end ? NULL : dlopen("libz.so.1", RTLD_NOW | RTLD_LOCAL);

	if (lib.end)
		return;
	if (handle == NULL)
		luaL_error(L, "compression needs libz: %s", dlerror());
	*(void **)&lib.init = dlsym(handle, "deflateInit2_");
	*(void **)&lib.deflate = dlsym(handle, "deflate");
	*(void **)&lib.end = dlsym(handle, "deflateEnd");
	if (!lib.init || !lib.deflate || !lib.end)
		luaL_error(L, "libz has no deflate");
}

static bool has_end(struct gr_slice s, const char *end)
{
	size_t n = strlen(end);

	return s.len > n && gr_text_same(s.p + s.len - n, end, n);
}

bool gr_httpd_gzip_type(const struct gr_httpd_config *config, struct gr_slice value)
{
	struct gr_slice rest = {config->gzip_types, strlen(config->gzip_types)}, type, params, item;

	if (gr_media_parse(value, &type, &params) < 0)
		return false;
	while (gr_list_next(&rest, &item))
		if (item.len <= type.len && gr_text_same(item.p, type.p, item.len) &&
		    (item.len == type.len || item.p[item.len - 1] == '/'))
			return true;
	return has_end(type, "+json") || has_end(type, "+xml");
}

/* A window that holds a short body is as good as a large one, and needs less memory. */
static int window_bits(int64_t length)
{
	int bits = WINDOW;

	while (length >= 0 && bits > WINDOW_MIN && 1 << (bits - 1) >= length)
		bits--;
	return bits;
}

int gr_httpd_gzip_begin(struct gr_httpd_conn *c, int64_t length)
{
	struct gr_httpd_gzip *g = calloc(1, sizeof(*g));
	int bits = window_bits(length);

	if (g == NULL)
		return -ENOMEM;
	if (lib.init(&g->z, c->compress, Z_DEFLATED, bits + GZIP, bits - 7, Z_DEFAULT_STRATEGY, ZLIB_VERSION,
		     (int)sizeof(g->z)) != Z_OK) {
		free(g);
		return -ENOMEM;
	}
	c->gzip = g;
	return 0;
}

int gr_httpd_gzip_add(struct gr_httpd_conn *c, const char *p, size_t n, enum gr_httpd_gzip_flush flush,
		      gr_httpd_sink *sink)
{
	static const int modes[] = {
		[GR_GZIP_MORE] = Z_NO_FLUSH, [GR_GZIP_PIECE] = Z_SYNC_FLUSH, [GR_GZIP_END] = Z_FINISH};
	struct gr_httpd_gzip *g = c->gzip;
	int rc = 0;

	do {
		/* zlib counts in 32 bits. */
		size_t step = n < 1U << 30 ? n : 1U << 30;

		g->z.next_in = (unsigned char *)p;
		g->z.avail_in = (uInt)step;
		p += step;
		n -= step;
		do {
			g->z.next_out = g->out;
			g->z.avail_out = OUT;
			lib.deflate(&g->z, n > 0 ? Z_NO_FLUSH : modes[flush]);
			rc = g->z.avail_out < OUT ? sink(c, (char *)g->out, OUT - g->z.avail_out) : 0;
		} while (rc == 0 && g->z.avail_out == 0);
	} while (rc == 0 && n > 0);
	return rc;
}

void gr_httpd_gzip_free(struct gr_httpd_conn *c)
{
	if (c->gzip == NULL)
		return;
	lib.end(&c->gzip->z);
	free(c->gzip);
	c->gzip = NULL;
}
