/* SPDX-License-Identifier: MIT */
/* Loads libz: see libz.h. */
#include "bind/libz.h"

#include <dlfcn.h>
#include <stdbool.h>

struct gr_libz gr_libz;

static bool load(void *handle, const char *name, void *slot)
{
	void *symbol = dlsym(handle, name);

	*(void **)slot = symbol;
	return symbol != NULL;
}

static bool load_all(void *handle)
{
	return load(handle, "deflateInit2_", &gr_libz.deflate_init) && load(handle, "deflate", &gr_libz.deflate) &&
	       load(handle, "deflateReset", &gr_libz.deflate_reset) &&
	       load(handle, "deflateEnd", &gr_libz.deflate_end) &&
	       load(handle, "inflateInit2_", &gr_libz.inflate_init) && load(handle, "inflate", &gr_libz.inflate) &&
	       load(handle, "inflateReset", &gr_libz.inflate_reset) &&
	       load(handle, "inflateReset2", &gr_libz.inflate_reset2) &&
	       load(handle, "inflateEnd", &gr_libz.inflate_end);
}

const char *gr_libz_load(void)
{
	static bool loaded;
	void *handle;

	if (loaded)
		return NULL;
	handle = dlopen("libz.so.1", RTLD_NOW | RTLD_LOCAL);
	if (handle == NULL)
		return dlerror();
	loaded = load_all(handle);
	return loaded ? NULL : "libz.so.1 lacks functions";
}
