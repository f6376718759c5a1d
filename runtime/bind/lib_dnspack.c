/* SPDX-License-Identifier: MIT */
/* DNS messages from Lua tables: pack of grun.core.dns. */
#include <arpa/inet.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "bind/lib_dns.h"
#include "bind/luautil.h"

/* What is being written, for messages about misuse. Those are about the value on top of the stack. */
struct place {
	const char *section; /* NULL: the message itself */
	int index;
};

static void free_writer(struct gr_dns_writer *w)
{
	gr_dns_writer_free(w);
}

static int misuse(lua_State *L, struct place at, const char *field, const char *wanted)
{
	const char *got = luaL_typename(L, -1), *where = "";

	if (at.section && at.index)
		where = lua_pushfstring(L, "%s[%d].", at.section, at.index);
	else if (at.section)
		where = lua_pushfstring(L, "%s.", at.section);
	return luaL_argerror(L, 1, lua_pushfstring(L, "%s%s: %s expected, got %s", where, field, wanted, got));
}

/* The functions below read a field of the table on top of the stack. */

static const char *range(double max)
{
	return max > UINT16_MAX ? "integer from 0 to 4294967295"
	       : max > 255      ? "integer from 0 to 65535"
	       : max > 15       ? "integer from 0 to 255"
				: "integer from 0 to 15";
}

/* missing: instead of nil; negative: there must be a number. */
static uint32_t check_number(lua_State *L, struct place at, const char *field, double max, double missing)
{
	bool given;
	double n;

	lua_getfield(L, -1, field);
	given = missing < 0 || !lua_isnil(L, -1);
	n = given ? lua_tonumber(L, -1) : missing;
	if ((given && lua_type(L, -1) != LUA_TNUMBER) || !(n >= 0 && n <= max) || n != (double)(uint32_t)n)
		misuse(L, at, field, range(max));
	lua_pop(L, 1);
	return (uint32_t)n;
}

static bool check_flag(lua_State *L, struct place at, const char *field)
{
	bool on;

	lua_getfield(L, -1, field);
	if (!lua_isnil(L, -1) && !lua_isboolean(L, -1))
		misuse(L, at, field, "boolean");
	on = lua_toboolean(L, -1);
	lua_pop(L, 1);
	return on;
}

/* A string, valid as long as it stays in its table. */
static const char *check_string(lua_State *L, struct place at, const char *field, size_t max, size_t *len)
{
	const char *text;

	lua_getfield(L, -1, field);
	if (lua_type(L, -1) != LUA_TSTRING)
		misuse(L, at, field, "string");
	text = lua_tolstring(L, -1, len);
	if (*len > max)
		misuse(L, at, field, "shorter string");
	lua_pop(L, 1);
	return text;
}

static void check_name(lua_State *L, struct place at, const char *field, char *out)
{
	uint8_t wire[GR_DNS_NAME_MAX];
	size_t len;
	const char *text = check_string(L, at, field, GR_DNS_NAME_TEXT - 1, &len);

	lua_getfield(L, -1, field);
	if (strlen(text) != len || gr_dns_name_encode(text, wire) < 0)
		misuse(L, at, field, "domain name");
	lua_pop(L, 1);
	memcpy(out, text, len + 1);
}

int gr_dns_to_type(lua_State *L, int idx)
{
	if (lua_type(L, idx) == LUA_TSTRING)
		return gr_dns_type_number(lua_tostring(L, idx));
	if (lua_type(L, idx) == LUA_TNUMBER && lua_tonumber(L, idx) >= 0 && lua_tonumber(L, idx) <= UINT16_MAX)
		return (int)lua_tointeger(L, idx);
	return -1;
}

static uint16_t check_type(lua_State *L, struct place at)
{
	int type;

	lua_getfield(L, -1, "type");
	type = gr_dns_to_type(L, -1);
	if (type < 0)
		misuse(L, at, "type", "record type");
	lua_pop(L, 1);
	return (uint16_t)type;
}

static uint16_t check_class(lua_State *L, struct place at)
{
	const char *name;

	lua_getfield(L, -1, "class");
	name = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
	for (int i = 0; name && i < GR_DNS_CLASSES; i++) {
		if (strcmp(gr_dns_classes[i].name, name) == 0) {
			lua_pop(L, 1);
			return gr_dns_classes[i].number;
		}
	}
	if (name)
		misuse(L, at, "class", "class");
	lua_pop(L, 1);
	return (uint16_t)check_number(L, at, "class", UINT16_MAX, GR_DNS_IN);
}

static void write_string(struct gr_dns_writer *w, const char *p, size_t n)
{
	struct gr_dns_value v = {.data = (const uint8_t *)p, .len = n};

	gr_dns_write_field(w, GR_DNS_STRING, &v);
}

/* The list `strings`, or else `text` in pieces of 255 bytes. */
static void write_strings(lua_State *L, struct gr_dns_writer *w, struct place at)
{
	size_t len = 0, done = 0;
	const char *text;

	lua_getfield(L, -1, "strings");
	if (!lua_istable(L, -1)) {
		lua_pop(L, 1);
		text = check_string(L, at, "text", UINT16_MAX, &len);
		do {
			size_t n = len - done < 255 ? len - done : 255;

			write_string(w, text + done, n);
			done += n;
		} while (done < len);
		return;
	}
	for (int i = 1; i == 1 || i <= (int)lua_objlen(L, -1); i++) {
		lua_rawgeti(L, -1, i);
		text = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &len) : NULL;
		if (text == NULL || len > 255)
			misuse(L, at, "strings", "list of strings of at most 255 bytes");
		write_string(w, text, len);
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
}

static void write_address(lua_State *L, struct gr_dns_writer *w, struct place at, const char *field,
			  enum gr_dns_kind kind)
{
	bool v4 = kind == GR_DNS_IP4;
	struct gr_dns_value v = {.len = v4 ? 4 : 16};
	uint8_t ip[16];
	size_t len;
	const char *text = check_string(L, at, field, INET6_ADDRSTRLEN, &len);

	lua_getfield(L, -1, field);
	if (inet_pton(v4 ? AF_INET : AF_INET6, text, ip) != 1)
		misuse(L, at, field, v4 ? "IPv4 address" : "IPv6 address");
	lua_pop(L, 1);
	v.data = ip;
	gr_dns_write_field(w, kind, &v);
}

static void write_field(lua_State *L, struct gr_dns_writer *w, struct place at, const char *field,
			enum gr_dns_kind kind)
{
	struct gr_dns_value v;

	switch (kind) {
	case GR_DNS_U8:
	case GR_DNS_U16:
	case GR_DNS_U32:
		v.number = check_number(L, at, field,
					kind == GR_DNS_U8    ? 255
					: kind == GR_DNS_U16 ? UINT16_MAX
							     : UINT32_MAX,
					-1);
		break;
	case GR_DNS_IP4:
	case GR_DNS_IP6:
		write_address(L, w, at, field, kind);
		return;
	case GR_DNS_NAME:
	case GR_DNS_WHOLE:
		check_name(L, at, field, v.name);
		break;
	case GR_DNS_STRINGS:
		write_strings(L, w, at);
		return;
	case GR_DNS_STRING:
	case GR_DNS_REST:
		v.data = (const uint8_t *)check_string(L, at, field, kind == GR_DNS_STRING ? 255 : UINT16_MAX, &v.len);
		break;
	case GR_DNS_END:
		return;
	}
	gr_dns_write_field(w, kind, &v);
}

/* Writes the record on top of the stack. */
static void write_record(lua_State *L, struct gr_dns_writer *w, struct place at)
{
	uint16_t type = check_type(L, at), class = check_class(L, at);
	uint32_t ttl = check_number(L, at, "ttl", UINT32_MAX, -1);
	const struct gr_dns_type *t = gr_dns_layout(type, class, 1);
	char name[GR_DNS_NAME_TEXT];
	size_t begin;

	check_name(L, at, "name", name);
	begin = gr_dns_begin_record(w, name, type, class, ttl);
	lua_getfield(L, -1, "data");
	if (!lua_isnil(L, -1))
		t = NULL;
	lua_pop(L, 1);
	if (t == NULL)
		write_field(L, w, at, "data", GR_DNS_REST);
	for (int i = 0; t && i < GR_DNS_FIELDS && t->fields[i].kind; i++)
		write_field(L, w, at, t->fields[i].name, t->fields[i].kind);
	gr_dns_end_record(w, begin);
}

/* Pushes element `i` of the list on top of the stack; false, pushing nothing, at its end. */
static bool next_element(lua_State *L, struct place *at, int i)
{
	lua_rawgeti(L, -1, i);
	if (lua_isnil(L, -1)) {
		lua_pop(L, 1);
		return false;
	}
	if (!lua_istable(L, -1)) {
		lua_pushfstring(L, "%s[%d]", at->section, i);
		lua_insert(L, -2);
		misuse(L, (struct place){NULL, 0}, lua_tostring(L, -2), "table");
	}
	at->index = i;
	return true;
}

/* Pushes a list of the message on top of the stack, an empty one if there is none. */
static void push_list(lua_State *L, const char *section)
{
	lua_getfield(L, 1, section);
	if (lua_isnil(L, -1)) {
		lua_pop(L, 1);
		lua_newtable(L);
	} else if (!lua_istable(L, -1)) {
		misuse(L, (struct place){NULL, 0}, section, "table");
	}
}

static int write_questions(lua_State *L, struct gr_dns_writer *w)
{
	struct place at = {gr_dns_sections[0], 0};
	char name[GR_DNS_NAME_TEXT];
	int n = 0;

	push_list(L, gr_dns_sections[0]);
	while (next_element(L, &at, n + 1)) {
		uint16_t type = check_type(L, at), class = check_class(L, at);

		check_name(L, at, "name", name);
		gr_dns_write_question(w, name, type, class);
		lua_pop(L, 1);
		n++;
	}
	lua_pop(L, 1);
	return n;
}

/* Writes the records of a section that fit; returns how many. All are checked. Clears *room when one does not fit. */
static int write_records(lua_State *L, struct gr_dns_writer *w, const char *section, bool *room)
{
	struct place at = {section, 0};
	int n = 0;

	push_list(L, section);
	for (int i = 1; next_element(L, &at, i); i++) {
		struct gr_dns_mark mark = gr_dns_mark(w);

		write_record(L, w, at);
		*room = *room && w->error == 0;
		if (*room)
			n++;
		else
			gr_dns_rollback(w, mark);
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
	return n;
}

/* What the OPT record takes, its fields checked; 0: the message has no edns. */
static size_t edns_size(lua_State *L)
{
	struct place at = {"edns.options", 0};
	size_t size = 11, len;

	lua_getfield(L, 1, "edns");
	if (lua_isnil(L, -1)) {
		lua_pop(L, 1);
		return 0;
	}
	if (!lua_istable(L, -1))
		misuse(L, (struct place){NULL, 0}, "edns", "table");
	lua_getfield(L, -1, "options");
	for (int i = 1; lua_istable(L, -1) && next_element(L, &at, i); i++) {
		check_number(L, at, "code", UINT16_MAX, -1);
		check_string(L, at, "data", UINT16_MAX, &len);
		size += 4 + len;
		lua_pop(L, 1);
	}
	lua_pop(L, 2);
	return size;
}

static void write_edns_options(lua_State *L, struct gr_dns_writer *w)
{
	struct place at = {"edns.options", 0};
	struct gr_dns_value v;

	lua_getfield(L, -1, "options");
	for (int i = 1; lua_istable(L, -1) && next_element(L, &at, i); i++) {
		v.number = check_number(L, at, "code", UINT16_MAX, -1);
		gr_dns_write_field(w, GR_DNS_U16, &v);
		v.data = (const uint8_t *)check_string(L, at, "data", UINT16_MAX, &v.len);
		v.number = (uint32_t)v.len;
		gr_dns_write_field(w, GR_DNS_U16, &v);
		gr_dns_write_field(w, GR_DNS_REST, &v);
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
}

static void write_edns(lua_State *L, struct gr_dns_writer *w, uint32_t rcode)
{
	struct place at = {"edns", 0};
	uint32_t ttl = rcode >> 4 << 24;
	uint16_t size;
	size_t begin;

	lua_getfield(L, 1, "edns");
	size = (uint16_t)check_number(L, at, "udp_size", UINT16_MAX, 1232);
	ttl |= check_number(L, at, "version", 255, 0) << 16;
	ttl |= check_flag(L, at, "dnssec_ok") ? GR_DNS_DNSSEC_OK : 0;
	ttl |= check_number(L, at, "flags", UINT16_MAX, 0) & 0x7fff;
	begin = gr_dns_begin_record(w, ".", GR_DNS_OPT, size, ttl);
	write_edns_options(L, w);
	gr_dns_end_record(w, begin);
	lua_pop(L, 1);
}

/* rcode comes back whole, with the bits that belong into the OPT record. */
static struct gr_dns_header check_header(lua_State *L, uint32_t *rcode)
{
	struct place at = {NULL, 0};
	struct gr_dns_header h = {0};

	lua_pushvalue(L, 1);
	h.id = (uint16_t)check_number(L, at, "id", UINT16_MAX, 0);
	for (int i = 0; i < GR_DNS_FLAGS; i++)
		h.flags |= check_flag(L, at, gr_dns_flags[i].name) ? gr_dns_flags[i].number : 0;
	*rcode = check_number(L, at, "rcode", UINT16_MAX, 0);
	h.flags = (uint16_t)(h.flags | check_number(L, at, "opcode", 15, 0) << 11 | (*rcode & 15));
	lua_pop(L, 1);
	return h;
}

static size_t check_max(lua_State *L)
{
	double max = GR_DNS_MAX;

	if (lua_isnoneornil(L, 2))
		return GR_DNS_MAX;
	luaL_checktype(L, 2, LUA_TTABLE);
	lua_getfield(L, 2, "max");
	if (!lua_isnil(L, -1))
		max = lua_tonumber(L, -1);
	luaL_argcheck(L, max >= GR_DNS_HEADER && max <= GR_DNS_MAX, 2, "max must be a number from 12 to 65535");
	return (size_t)max;
}

int gr_dns_l_pack(lua_State *L)
{
	struct gr_dns_writer w __attribute__((cleanup(free_writer))) = {0};
	size_t max = (luaL_checktype(L, 1, LUA_TTABLE), check_max(L)), edns = edns_size(L);
	uint32_t rcode;
	struct gr_dns_header h = check_header(L, &rcode);
	bool room = true;

	luaL_argcheck(L, rcode < (edns ? 4096 : 16), 1, "rcode: above 15 needs edns, above 4095 there is none");
	gr_dns_writer_init(&w, edns < max - GR_DNS_HEADER ? max - edns : GR_DNS_HEADER);
	h.counts[0] = (uint16_t)write_questions(L, &w);
	if (w.error == 0)
		for (int i = 1; i < 4; i++) {
			h.counts[i] = (uint16_t)write_records(L, &w, gr_dns_sections[i], &room);
			/* RFC 2181 section 9: what is missing of the additional section does not count. */
			if (i < 3 && !room)
				h.flags |= GR_DNS_TC;
		}
	w.limit = max;
	if (edns) {
		write_edns(L, &w, rcode);
		h.counts[3]++;
	}
	gr_dns_write_header(&w, &h);
	if (w.error < 0)
		return gr_lua_fail(L, w.error);
	lua_pushlstring(L, (const char *)w.data, w.len);
	return 1;
}
