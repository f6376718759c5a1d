/* SPDX-License-Identifier: MIT */
/* DNS for Lua: grun.core.dns, that is resolve, query, reverse and their configuration. */
#include "bind/lib_dns.h"

#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bind/luautil.h"
#include "core/hub.h"
#include "net/dnscache.h"
#include "net/dnsquery.h"
#include "net/resolve.h"

enum { TIMEOUT_MAX = 3600, TRIES_MAX = 10 };

static void free_answer(struct gr_dns_answer **a)
{
	gr_dns_answer_free(*a);
}

/* ---- Options ---- */

/* Raises "bad argument #idx to 'f' (option 'name': … expected, got …)" for the value on top of the stack. */
static int bad_option(lua_State *L, int idx, const char *name, const char *wanted)
{
	const char *got = luaL_typename(L, -1);

	return luaL_argerror(L, idx, lua_pushfstring(L, "option '%s': %s expected, got %s", name, wanted, got));
}

static void check_names(lua_State *L, int idx, const char *const *names)
{
	if (lua_isnoneornil(L, idx))
		return;
	luaL_checktype(L, idx, LUA_TTABLE);
	lua_pushnil(L);
	while (lua_next(L, idx)) {
		const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
		int i = 0;

		while (names[i] && strcmp(names[i], name) != 0)
			i++;
		if (names[i] == NULL)
			luaL_argerror(L, idx, lua_pushfstring(L, "unknown option '%s'", name));
		lua_pop(L, 1);
	}
}

/* Pushes the option's value; false, with nothing pushed, if it is not given. */
static bool get(lua_State *L, int idx, const char *name)
{
	if (lua_isnoneornil(L, idx))
		return false;
	lua_getfield(L, idx, name);
	if (!lua_isnil(L, -1))
		return true;
	lua_pop(L, 1);
	return false;
}

static bool get_number(lua_State *L, int idx, const char *name, double min, double max, double *out)
{
	if (!get(L, idx, name))
		return false;
	if (lua_type(L, -1) != LUA_TNUMBER || !(lua_tonumber(L, -1) >= min && lua_tonumber(L, -1) <= max))
		luaL_argerror(L, idx,
			      lua_pushfstring(L, "option '%s': number from %d to %d expected", name, (int)min,
					      (int)max));
	*out = lua_tonumber(L, -1);
	lua_pop(L, 1);
	return true;
}

static bool get_int(lua_State *L, int idx, const char *name, int min, int max, int *out)
{
	double n;
	bool given = get_number(L, idx, name, min, max, &n);

	if (given)
		*out = (int)n;
	return given;
}

/* The end of a call that starts now, from opts.timeout; *seconds stays as it is if there is none. */
static double get_timeout(lua_State *L, int idx, double *seconds)
{
	if (!get(L, idx, "timeout"))
		return INFINITY;
	if (lua_type(L, -1) != LUA_TNUMBER || !(lua_tonumber(L, -1) >= 0))
		bad_option(L, idx, "timeout", "number of seconds");
	*seconds = lua_tonumber(L, -1);
	lua_pop(L, 1);
	return gr_until(*seconds);
}

/* 4, "inet" or 6, "inet6". */
static int get_family(lua_State *L, int idx)
{
	int family = AF_UNSPEC;
	const char *text;

	if (!get(L, idx, "family"))
		return AF_UNSPEC;
	text = lua_type(L, -1) == LUA_TNUMBER || lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
	if (strcmp(text, "4") == 0 || strcmp(text, "inet") == 0)
		family = AF_INET;
	else if (strcmp(text, "6") == 0 || strcmp(text, "inet6") == 0)
		family = AF_INET6;
	else
		luaL_argerror(L, idx, "option 'family': 4, 6, \"inet\" or \"inet6\" expected");
	lua_pop(L, 1);
	return family;
}

static bool get_servers(lua_State *L, int idx, struct gr_resolv_how *how)
{
	int n;

	if (!get(L, idx, "servers"))
		return false;
	if (!lua_istable(L, -1))
		bad_option(L, idx, "servers", "list of addresses");
	n = (int)lua_objlen(L, -1);
	if (n < 1 || n > GR_RESOLV_SERVERS)
		luaL_argerror(L, idx,
			      lua_pushfstring(L, "option 'servers': 1 to %d addresses expected", GR_RESOLV_SERVERS));
	for (int i = 0; i < n; i++) {
		lua_rawgeti(L, -1, i + 1);
		if (lua_type(L, -1) != LUA_TSTRING || gr_resolv_server(lua_tostring(L, -1), &how->servers[i]) < 0)
			luaL_argerror(L, idx,
				      lua_pushfstring(L,
						      "option 'servers': [%d] is not an address such as "
						      "\"127.0.0.1\" or \"[::1]:5353\"",
						      i + 1));
		lua_pop(L, 1);
	}
	how->nservers = n;
	lua_pop(L, 1);
	return true;
}

static const char *check_name(lua_State *L, int idx)
{
	size_t len;
	const char *name = luaL_checklstring(L, idx, &len);

	luaL_argcheck(L, strlen(name) == len, idx, "contains a NUL byte");
	return name;
}

/* ---- Addresses ---- */

/* The address without scheme, brackets and port. */
static void push_ip(lua_State *L, const struct gr_addr *addr)
{
	char text[GR_ADDR_TEXT], *begin = text + strlen("tcp://"), *end;

	gr_addr_format(addr, GR_SCHEME_TCP, text);
	end = strrchr(text, ':');
	if (*begin == '[')
		begin++, end--;
	lua_pushlstring(L, begin, (size_t)(end - begin));
}

static int l_dns_resolve(lua_State *L)
{
	static const char *const options[] = {"family", "timeout", NULL};
	const char *name = check_name(L, 1);
	struct gr_host host;
	double seconds, until;
	int family, rc;

	check_names(L, 2, options);
	family = get_family(L, 2);
	until = get_timeout(L, 2, &seconds);
	rc = gr_lua_enter_wait(L);
	if (rc)
		return rc;
	rc = gr_resolve_host(name, family, until, &host);
	if (rc < 0)
		return gr_lua_failf(L, rc, "cannot resolve %s", name);
	lua_createtable(L, rc, 0);
	for (int i = 0; i < rc; i++) {
		push_ip(L, &host.addrs[i]);
		lua_rawseti(L, -2, i + 1);
	}
	return 1;
}

/* ---- Records ---- */

/* Pushes the list of those records of the answer that `owner` has of the type, their time to live as it is now. */
static void push_records(lua_State *L, const struct gr_dns_answer *a, uint16_t type, const char *owner)
{
	uint32_t age = (uint32_t)(gr_now() - a->born);
	struct gr_dns_record record;
	struct gr_dns_reader r;
	unsigned left = gr_dns_answer_read(a, &r);
	int n = 0;

	lua_newtable(L);
	for (; left > 0 && gr_dns_read_record(&r, &record) == 0; left--) {
		if ((record.type != type && type != GR_DNS_ANY) || !gr_dns_same_name(record.name, owner))
			continue;
		record.ttl = record.ttl > age ? record.ttl - age : 0;
		if (gr_dns_push_record(L, &record))
			lua_rawseti(L, -2, ++n);
	}
}

/* Whom to ask, if opts say that. */
static const struct gr_resolv_how *get_how(lua_State *L, int idx, double seconds, struct gr_resolv_how *how)
{
	bool servers, tries;

	*how = gr_resolve_conf()->how;
	servers = get_servers(L, idx, how);
	tries = get_int(L, idx, "tries", 1, TRIES_MAX, &how->tries);
	if (!servers && !tries)
		return NULL;
	if (seconds < TIMEOUT_MAX)
		how->timeout = seconds / how->tries;
	return how;
}

static int l_dns_query(lua_State *L)
{
	static const char *const options[] = {"servers", "timeout", "tries", NULL};
	struct gr_dns_answer *answer __attribute__((cleanup(free_answer))) = NULL;
	const char *name = check_name(L, 1);
	int type = gr_dns_to_type(L, 2), rc;
	const struct gr_resolv_how *whom;
	char owner[GR_DNS_NAME_TEXT];
	double seconds = INFINITY, until;
	struct gr_resolv_how how;

	luaL_argcheck(L, type > 0, 2, "record type expected, such as \"A\", \"TYPE65\" or 65");
	check_names(L, 3, options);
	until = get_timeout(L, 3, &seconds);
	whom = get_how(L, 3, seconds, &how);
	rc = gr_lua_enter_wait(L);
	if (rc)
		return rc;
	rc = gr_resolve_records(name, (uint16_t)type, whom, until, &answer, owner);
	if (rc < 0)
		return gr_lua_failf(L, rc, "cannot query %s", name);
	push_records(L, answer, (uint16_t)type, owner);
	return 1;
}

static void push_targets(lua_State *L, const struct gr_dns_answer *a, const char *owner)
{
	struct gr_dns_record record;
	struct gr_dns_value v;
	struct gr_dns_reader r;
	unsigned left = gr_dns_answer_read(a, &r);
	int n = 0;

	lua_newtable(L);
	for (; left > 0 && gr_dns_read_record(&r, &record) == 0; left--) {
		if (record.type != GR_DNS_PTR || !gr_dns_same_name(record.name, owner) ||
		    gr_dns_read_field(&record.data, GR_DNS_NAME, &v) < 0)
			continue;
		lua_pushstring(L, v.name);
		lua_rawseti(L, -2, ++n);
	}
}

static int l_dns_reverse(lua_State *L)
{
	static const char *const options[] = {"timeout", NULL};
	struct gr_dns_answer *answer __attribute__((cleanup(free_answer))) = NULL;
	const char *ip = check_name(L, 1);
	char owner[GR_DNS_NAME_TEXT];
	double seconds, until;
	struct gr_addr addr;
	int rc;

	luaL_argcheck(L, gr_addr_literal(ip, 0, &addr) == 0, 1, "IP address expected");
	check_names(L, 2, options);
	until = get_timeout(L, 2, &seconds);
	rc = gr_lua_enter_wait(L);
	if (rc)
		return rc;
	rc = gr_resolve_reverse(&addr, until, &answer, owner);
	if (rc < 0)
		return gr_lua_failf(L, rc, "cannot find the name of %s", ip);
	if (answer) {
		push_targets(L, answer, owner);
	} else {
		lua_newtable(L);
		lua_pushstring(L, owner);
		lua_rawseti(L, -2, 1);
	}
	return 1;
}

/* ---- Configuration ---- */

static bool get_search(lua_State *L, int idx, struct gr_resolv_conf *c)
{
	if (!get(L, idx, "search"))
		return false;
	if (!lua_istable(L, -1))
		bad_option(L, idx, "search", "list of domains");
	for (int i = 0; i < (int)lua_objlen(L, -1); i++) {
		uint8_t name[GR_DNS_NAME_MAX];
		const char *text;

		lua_rawgeti(L, -1, i + 1);
		text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
		if (i == GR_RESOLV_SEARCH || strlen(text) >= sizeof(c->search[0]) || gr_dns_name_encode(text, name) < 0)
			luaL_argerror(L, idx,
				      lua_pushfstring(L, "option 'search': [%d] is not a domain, or one too many",
						      i + 1));
		gr_resolv_conf_add_search(c, text);
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
	return true;
}

/* A path; NULL if not given. It lies in the table meanwhile. */
static const char *get_path(lua_State *L, int idx, const char *name)
{
	const char *path;

	if (!get(L, idx, name))
		return NULL;
	if (lua_type(L, -1) != LUA_TSTRING)
		bad_option(L, idx, name, "path");
	path = lua_tostring(L, -1);
	lua_pop(L, 1);
	return path;
}

static int l_dns_configure(lua_State *L)
{
	static const char *const options[] = {"servers", "search",      "ndots", "timeout", "tries",
					      "rotate",  "resolv_conf", "hosts", NULL};
	struct gr_resolve_overrides o;
	const char *resolv_conf, *hosts;

	lua_settop(L, 1);
	check_names(L, 1, options);
	memset(&o, 0, sizeof(o));
	o.servers = get_servers(L, 1, &o.conf.how);
	o.search = get_search(L, 1, &o.conf);
	o.ndots = get_int(L, 1, "ndots", 0, 15, &o.conf.ndots);
	o.timeout = get_number(L, 1, "timeout", 0, TIMEOUT_MAX, &o.conf.how.timeout);
	o.tries = get_int(L, 1, "tries", 1, TRIES_MAX, &o.conf.how.tries);
	o.rotate = get(L, 1, "rotate");
	o.conf.how.rotate = o.rotate && lua_toboolean(L, -1);
	lua_settop(L, 1);
	resolv_conf = get_path(L, 1, "resolv_conf");
	hosts = get_path(L, 1, "hosts");
	o.resolv_conf = resolv_conf ? strdup(resolv_conf) : NULL;
	o.hosts = hosts ? strdup(hosts) : NULL;
	gr_resolve_configure(&o);
	return 0;
}

static int l_dns_cache_flush(lua_State *L)
{
	(void)L;
	gr_dnscache_flush();
	return 0;
}

static void set_number(lua_State *L, const char *key, double value)
{
	lua_pushnumber(L, value);
	lua_setfield(L, -2, key);
}

static int l_dns_stats(lua_State *L)
{
	struct gr_dnsquery_stats s = gr_dnsquery_stats();

	lua_createtable(L, 0, 7);
	set_number(L, "asked", (double)s.asked);
	set_number(L, "hits", (double)s.hits);
	set_number(L, "joined", (double)s.joined);
	set_number(L, "sent", (double)s.sent);
	set_number(L, "forged", (double)s.forged);
	set_number(L, "active", s.active);
	set_number(L, "cached", s.cached);
	return 1;
}

/* ---- The module ---- */

static const luaL_Reg functions[] = {
	{"resolve", l_dns_resolve},         {"query", l_dns_query},  {"reverse", l_dns_reverse},
	{"parse", gr_dns_l_parse},          {"pack", gr_dns_l_pack}, {"configure", l_dns_configure},
	{"cache_flush", l_dns_cache_flush}, {"stats", l_dns_stats},  {NULL, NULL},
};

int luaopen_grun_core_dns(lua_State *L)
{
	lua_newtable(L);
	for (const luaL_Reg *f = functions; f->name; f++) {
		lua_pushcfunction(L, f->func);
		lua_setfield(L, -2, f->name);
	}
	return 1;
}
