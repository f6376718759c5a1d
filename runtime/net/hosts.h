/* SPDX-License-Identifier: MIT */
/* The hosts file: names of addresses. */
#ifndef GR_NET_HOSTS_H
#define GR_NET_HOSTS_H

#include <stddef.h>
#include <stdint.h>

#include "net/addr.h"
#include "net/textfile.h"

/* Looks for a name, ignoring case and a final dot, in the text of a hosts file. Returns how many addresses were stored
 * in `out`, with that port, in the file's order. Lines that make no sense are skipped. Pure; linear in the text. */
int gr_hosts_find(const char *text, size_t len, const char *name, uint16_t port, struct gr_addr *out, int max);

/* The same in a file. */
int gr_hosts_lookup(struct gr_textfile *f, const char *name, uint16_t port, struct gr_addr *out, int max);

/* The first name of an address in a hosts file, whatever its port: copied to `name` (256 bytes). False: it has none. */
bool gr_hosts_reverse(struct gr_textfile *f, const struct gr_addr *addr, char *name);

#endif
