/* SPDX-License-Identifier: MIT */
/* libFuzzer target for the parsers of addresses, of the hosts file and of resolv.conf; `make fuzz` runs it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "net/addr.h"
#include "net/hosts.h"
#include "net/resolvconf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was formatted must parse again, into the same. */
static void check_round_trip(const struct gr_addr *addr)
{
	char text[GR_ADDR_TEXT], again[GR_ADDR_TEXT], why[GR_ADDR_WHY];
	struct gr_endpoint e;
	struct gr_addr back[4];
	size_t n = gr_addr_format(addr, GR_SCHEME_TCP, text);

	if (gr_addr_parse(text, n, &e, why) < 0 || gr_addr_resolve(&e, false, back, 4) < 1)
		abort();
	if (gr_addr_format(&back[0], GR_SCHEME_TCP, again) != n || memcmp(text, again, n) != 0)
		abort();
}

static void fuzz_address(const char *text, size_t size)
{
	char why[GR_ADDR_WHY];
	struct gr_endpoint e;
	struct gr_addr addr;

	if (gr_addr_parse(text, size, &e, why) < 0) {
		if (why[0] == '\0')
			abort();
		return;
	}
	if (e.scheme == GR_SCHEME_TCP && gr_addr_literal(e.name, e.port, &addr) == 0)
		check_round_trip(&addr);
}

static void fuzz_resolv_conf(const char *text, size_t size)
{
	struct gr_resolv_conf c;

	gr_resolv_conf_init(&c);
	gr_resolv_conf_parse(&c, text, size);
	if (c.how.nservers < 0 || c.how.nservers > GR_RESOLV_SERVERS || c.nsearch < 0 || c.nsearch > GR_RESOLV_SEARCH ||
	    c.ndots < 0 || c.ndots > 15 || !(c.how.timeout > 0 && c.how.timeout <= 30) || c.how.tries < 1 ||
	    c.how.tries > 5)
		abort();
	for (int i = 0; i < c.how.nservers; i++)
		check_round_trip(&c.how.servers[i]);
	for (int i = 0; i < c.nsearch; i++)
		if (memchr(c.search[i], '\0', sizeof(c.search[i])) == NULL)
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gr_addr found[8];
	int n;

	if (size == 0)
		return 0;
	if (data[0] & 1) {
		fuzz_address((const char *)data + 1, size - 1);
		return 0;
	}
	if (data[0] & 2) {
		fuzz_resolv_conf((const char *)data + 1, size - 1);
		return 0;
	}
	n = gr_hosts_find((const char *)data + 1, size - 1, "name", 80, found, 8);
	for (int i = 0; i < n; i++)
		check_round_trip(&found[i]);
	return 0;
}
