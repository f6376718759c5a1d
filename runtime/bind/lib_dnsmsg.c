/* SPDX-License-Identifier: MIT */
/* DNS messages as Lua tables: parse of grun.core.dns. */
#include "bind/lib_dns.h"

#include <arpa/inet.h>
#include <lauxlib.h>
#include <string.h>

#include "bind/luautil.h"

const char *const gr_dns_sections[GR_DNS_SECTIONS] = {"questions", "answers", "authorities", "additionals"};

const struct gr_dns_word gr_dns_flags[GR_DNS_FLAGS] = {
	{"qr", GR_DNS_QR}, {"aa", GR_DNS_AA}, {"tc", GR_DNS_TC}, {"rd", GR_DNS_RD},
	{"ra", GR_DNS_RA}, {"z", 0x0040},     {"ad", GR_DNS_AD}, {"cd", GR_DNS_CD},
};

const struct gr_dns_word gr_dns_classes[GR_DNS_CLASSES] = {
	{"IN", 1}, {"CH", 3}, {"HS", 4}, {"NONE", 254}, {"ANY", 255}};

/* ---- Pushing ---- */

static void set_number(lua_State *L, const char *key, double n)
{
	lua_pushnumber(L, n);
	lua_setfield(L, -2, key);
}

static void set_string(lua_State *L, const char *key, const void *p, size_t n)
{
	lua_pushlstring(L, p, n);
	lua_setfield(L, -2, key);
}

static void set_type(lua_State *L, uint16_t type)
{
	const struct gr_dns_type *t = gr_dns_type(type);

	if (t)
		lua_pushstring(L, t->name);
	else
		lua_pushfstring(L, "TYPE%d", (int)type);
	lua_setfield(L, -2, "type");
}

static void set_class(lua_State *L, uint16_t class)
{
	int i = 0;

	while (i < GR_DNS_CLASSES && gr_dns_classes[i].number != class)
		i++;
	if (i < GR_DNS_CLASSES)
		lua_pushstring(L, gr_dns_classes[i].name);
	else
		lua_pushnumber(L, class);
	lua_setfield(L, -2, "class");
}

/* The strings as a list, and joined as `text`. */
static void set_strings(lua_State *L, const struct gr_dns_value *v)
{
	luaL_Buffer joined;
	int n = 0;

	lua_newtable(L);
	for (size_t at = 0; at < v->len; at += v->data[at] + 1u) {
		lua_pushlstring(L, (const char *)v->data + at + 1, v->data[at]);
		lua_rawseti(L, -2, ++n);
	}
	lua_setfield(L, -2, "strings");
	luaL_buffinit(L, &joined);
	for (size_t at = 0; at < v->len; at += v->data[at] + 1u)
		luaL_addlstring(&joined, (const char *)v->data + at + 1, v->data[at]);
	luaL_pushresult(&joined);
	lua_setfield(L, -2, "text");
}

static void set_field(lua_State *L, const char *name, enum gr_dns_kind kind, const struct gr_dns_value *v)
{
	char text[INET6_ADDRSTRLEN];

	switch (kind) {
	case GR_DNS_U8:
	case GR_DNS_U16:
	case GR_DNS_U32:
		set_number(L, name, v->number);
		break;
	case GR_DNS_IP4:
	case GR_DNS_IP6:
		inet_ntop(kind == GR_DNS_IP4 ? AF_INET : AF_INET6, v->data, text, sizeof(text));
		set_string(L, name, text, strlen(text));
		break;
	case GR_DNS_NAME:
	case GR_DNS_WHOLE:
		set_string(L, name, v->name, strlen(v->name));
		break;
	case GR_DNS_STRINGS:
		set_strings(L, v);
		break;
	case GR_DNS_STRING:
	case GR_DNS_REST:
		set_string(L, name, v->data, v->len);
		break;
	case GR_DNS_END:
		break;
	}
}

bool gr_dns_push_record(lua_State *L, const struct gr_dns_record *record)
{
	struct gr_dns_reader r = record->data;
	size_t len = r.end - r.at;
	const struct gr_dns_type *t = gr_dns_layout(record->type, record->class, len);
	struct gr_dns_value v;

	lua_createtable(L, 0, 6);
	set_string(L, "name", record->name, strlen(record->name));
	set_type(L, record->type);
	set_class(L, record->class);
	set_number(L, "ttl", record->ttl);
	if (t == NULL)
		set_string(L, "data", r.msg + r.at, len);
	for (int i = 0; t && i < GR_DNS_FIELDS && t->fields[i].kind; i++) {
		if (gr_dns_read_field(&r, t->fields[i].kind, &v) < 0) {
			lua_pop(L, 1);
			return false;
		}
		set_field(L, t->fields[i].name, t->fields[i].kind, &v);
	}
	return true;
}

/* ---- Parsing ---- */

static void push_header(lua_State *L, const struct gr_dns_header *h)
{
	lua_createtable(L, 0, 18);
	set_number(L, "id", h->id);
	for (int i = 0; i < GR_DNS_FLAGS; i++) {
		lua_pushboolean(L, (h->flags & gr_dns_flags[i].number) != 0);
		lua_setfield(L, -2, gr_dns_flags[i].name);
	}
	set_number(L, "opcode", h->flags >> 11 & 15);
	set_number(L, "rcode", h->flags & 15);
}

static int push_questions(lua_State *L, struct gr_dns_reader *r, int count)
{
	struct gr_dns_question question;

	lua_newtable(L);
	for (int i = 1; i <= count; i++) {
		if (gr_dns_read_question(r, &question) < 0)
			return GR_PROTOCOL;
		lua_createtable(L, 0, 3);
		set_string(L, "name", question.name, strlen(question.name));
		set_type(L, question.type);
		set_class(L, question.class);
		lua_rawseti(L, -2, i);
	}
	return 0;
}

static int push_edns_options(lua_State *L, struct gr_dns_reader r)
{
	struct gr_dns_value code, len, data;
	int n = 0;

	lua_newtable(L);
	while (r.at < r.end) {
		struct gr_dns_reader piece;

		if (gr_dns_read_field(&r, GR_DNS_U16, &code) < 0 || gr_dns_read_field(&r, GR_DNS_U16, &len) < 0 ||
		    r.end - r.at < len.number)
			return GR_PROTOCOL;
		piece = (struct gr_dns_reader){r.msg, r.at, r.at + len.number};
		gr_dns_read_field(&piece, GR_DNS_REST, &data);
		r.at += len.number;
		lua_createtable(L, 0, 2);
		set_number(L, "code", code.number);
		set_string(L, "data", data.data, data.len);
		lua_rawseti(L, -2, ++n);
	}
	return 0;
}

/* RFC 6891 section 6.1. `message` is the index of the message's table, which gets the upper bits of the return code. */
static int set_edns(lua_State *L, int message, const struct gr_dns_record *record)
{
	lua_getfield(L, message, "edns");
	if (!lua_isnil(L, -1) || strcmp(record->name, ".") != 0)
		return GR_PROTOCOL;
	lua_pop(L, 1);
	lua_createtable(L, 0, 5);
	set_number(L, "udp_size", record->class);
	set_number(L, "version", record->ttl >> 16 & 255);
	lua_pushboolean(L, (record->ttl & GR_DNS_DNSSEC_OK) != 0);
	lua_setfield(L, -2, "dnssec_ok");
	set_number(L, "flags", record->ttl & 0x7fff);
	if (push_edns_options(L, record->data) < 0)
		return GR_PROTOCOL;
	lua_setfield(L, -2, "options");
	lua_setfield(L, message, "edns");
	lua_getfield(L, message, "rcode");
	lua_pushnumber(L, lua_tonumber(L, -1) + (record->ttl >> 24) * 16);
	lua_setfield(L, message, "rcode");
	lua_pop(L, 1);
	return 0;
}

static int push_records(lua_State *L, int message, struct gr_dns_reader *r, int count, bool additional)
{
	struct gr_dns_record record;
	int n = 0;

	lua_newtable(L);
	while (count-- > 0) {
		if (gr_dns_read_record(r, &record) < 0)
			return GR_PROTOCOL;
		if (additional && record.type == GR_DNS_OPT) {
			if (set_edns(L, message, &record) < 0)
				return GR_PROTOCOL;
			continue;
		}
		if (!gr_dns_push_record(L, &record))
			return GR_PROTOCOL;
		lua_rawseti(L, -2, ++n);
	}
	return 0;
}

static int push_sections(lua_State *L, int message, struct gr_dns_reader *r, const struct gr_dns_header *h)
{
	int rc = 0;

	for (int i = 0; i < 4 && rc == 0; i++) {
		rc = i == 0 ? push_questions(L, r, h->counts[0]) : push_records(L, message, r, h->counts[i], i == 3);
		if (rc == 0)
			lua_setfield(L, message, gr_dns_sections[i]);
	}
	return rc;
}

int gr_dns_l_parse(lua_State *L)
{
	size_t len;
	const uint8_t *msg = (const uint8_t *)luaL_checklstring(L, 1, &len);
	struct gr_dns_header h;
	struct gr_dns_reader r;

	lua_settop(L, 1);
	if (gr_dns_check(msg, len) < 0 || gr_dns_read_header(&r, msg, len, &h) < 0)
		return gr_lua_fail(L, GR_PROTOCOL);
	push_header(L, &h);
	return push_sections(L, 2, &r, &h) < 0 ? gr_lua_fail(L, GR_PROTOCOL) : (lua_settop(L, 2), 1);
}
