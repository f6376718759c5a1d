/* SPDX-License-Identifier: MIT */
/* The functions of libz that are used, which is loaded at the first use. */
#ifndef GR_BIND_LIBZ_H
#define GR_BIND_LIBZ_H

#include <zlib.h>

struct gr_libz {
	int (*deflate_init)(z_streamp, int, int, int, int, int, const char *, int);
	int (*deflate)(z_streamp, int);
	int (*deflate_reset)(z_streamp);
	int (*deflate_end)(z_streamp);
	int (*inflate_init)(z_streamp, int, const char *, int);
	int (*inflate)(z_streamp, int);
	int (*inflate_reset)(z_streamp);
	int (*inflate_reset2)(z_streamp, int);
	int (*inflate_end)(z_streamp);
};

/* Only after gr_libz_load() has returned NULL. */
extern struct gr_libz gr_libz;

/* Loads the library. Returns NULL, or why that is not possible. Idempotent. */
const char *gr_libz_load(void);

#endif
