/* SPDX-License-Identifier: MIT */
/* OpenSSL, loaded at the first use of TLS. */
#include "net/tls_openssl.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>

#include "core/error.h"

struct gr_ossl ossl;

struct entry {
	const char *name;
	size_t offset;
};

#define ENTRY(name) {#name, offsetof(struct gr_ossl, name)},
static const struct entry ssl_entries[] = {GR_LIBSSL_FUNCTIONS(ENTRY){NULL, 0}};
static const struct entry crypto_entries[] = {GR_LIBCRYPTO_FUNCTIONS(ENTRY){NULL, 0}};
#undef ENTRY

static int fail(const char *library)
{
	const char *why = dlerror();

	gr_error_explain("TLS needs %s: %s", library, why ? why : "unknown error");
	return GR_TLS;
}

/* Not RTLD_GLOBAL: modules bring the same library, or another version of it, for themselves. */
static int load(const char *library, const struct entry *e)
{
	void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);

	if (handle == NULL)
		return fail(library);
	for (; e->name; e++) {
		void *symbol = dlsym(handle, e->name);

		if (symbol == NULL)
			return fail(library);
		*(void **)(void *)((char *)&ossl + e->offset) = symbol;
	}
	return 0;
}

int gr_ossl_load(void)
{
	static bool loaded;
	int rc;

	if (loaded)
		return 0;
	rc = load("libcrypto.so.3", crypto_entries);
	if (rc == 0)
		rc = load("libssl.so.3", ssl_entries);
	loaded = rc == 0;
	return rc;
}
