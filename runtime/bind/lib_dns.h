/* SPDX-License-Identifier: MIT */
/* DNS for Lua: grun.core.dns (lib_dns.c) and its messages (lib_dnsmsg.c, lib_dnspack.c). */
#ifndef GR_BIND_LIB_DNS_H
#define GR_BIND_LIB_DNS_H

#include <lua.h>

#include "net/dnsmsg.h"

int luaopen_grun_core_dns(lua_State *L);

/* How the tables of messages name things. */
struct gr_dns_word {
	const char *name;
	uint16_t number;
};
enum { GR_DNS_SECTIONS = 4, GR_DNS_FLAGS = 8, GR_DNS_CLASSES = 5 };
extern const char *const gr_dns_sections[GR_DNS_SECTIONS];
extern const struct gr_dns_word gr_dns_flags[GR_DNS_FLAGS], gr_dns_classes[GR_DNS_CLASSES];

enum { GR_DNS_DNSSEC_OK = 0x8000 }; /* RFC 3225 */

/* parse(bytes), pack(message [, {max =}]) */
int gr_dns_l_parse(lua_State *L);
int gr_dns_l_pack(lua_State *L);

/* Pushes a record as a table; false, pushing nothing, if its data is malformed. */
bool gr_dns_push_record(lua_State *L, const struct gr_dns_record *record);

/* The type at idx of the stack, "A", "TYPE65" or a number; -1 when it is none. */
int gr_dns_to_type(lua_State *L, int idx);

#endif
