/* SPDX-License-Identifier: MIT */
/* The PROXY protocol, versions 1 and 2, and fields about forwarding. */
#define _GNU_SOURCE
#include "http/proxy.h"

#include <arpa/inet.h>
#include <string.h>

enum { V1_MAX = 107, V2_HEAD = 16 };

static const char v2_signature[] = "\r\n\r\n\0\r\nQUIT\n";

/* ---- Addresses from text. ---- */

static bool port_number(struct gr_slice s, uint16_t *port)
{
	int64_t n = s.len <= 5 ? gr_text_number(s.p, s.len) : -1;

	*port = (uint16_t)n;
	return n >= 0 && n <= 65535;
}

/* A literal address without a zone. */
static bool literal(struct gr_slice s, uint16_t port, struct gr_addr *addr)
{
	char text[INET6_ADDRSTRLEN];

	if (s.len == 0 || s.len >= sizeof(text) || memchr(s.p, '%', s.len) || memchr(s.p, '\0', s.len))
		return false;
	memcpy(text, s.p, s.len);
	text[s.len] = '\0';
	return gr_addr_literal(text, port, addr) == 0;
}

/* ---- Version 1: "PROXY TCP4 1.2.3.4 5.6.7.8 1234 80\r\n". ---- */

static struct gr_slice next_word(struct gr_slice *line)
{
	const char *space = memchr(line->p, ' ', line->len);
	size_t len = space ? (size_t)(space - line->p) : line->len;
	struct gr_slice word = {line->p, len};

	len += space ? 1 : 0;
	line->p += len;
	line->len -= len;
	return word;
}

static bool is_word(struct gr_slice s, const char *word)
{
	return s.len == strlen(word) && memcmp(s.p, word, s.len) == 0;
}

static int v1_line(struct gr_proxy *proxy, struct gr_slice line)
{
	struct gr_slice protocol = next_word(&line), from, to, port;
	int family = is_word(protocol, "TCP4") ? AF_INET : is_word(protocol, "TCP6") ? AF_INET6 : AF_UNSPEC;
	uint16_t from_port, to_port;

	if (is_word(protocol, "UNKNOWN")) {
		proxy->local = true;
		return 0;
	}
	from = next_word(&line);
	to = next_word(&line);
	port = next_word(&line);
	if (family == AF_UNSPEC || !port_number(port, &from_port) || !port_number(line, &to_port) ||
	    !literal(from, from_port, &proxy->from) || !literal(to, to_port, &proxy->to))
		return GR_HTTP_BAD_PROXY;
	return proxy->from.u.sa.sa_family == family && proxy->to.u.sa.sa_family == family ? 0 : GR_HTTP_BAD_PROXY;
}

static ssize_t parse_v1(struct gr_proxy *proxy, const char *p, size_t len)
{
	const char *lf = memchr(p, '\n', len < V1_MAX ? len : V1_MAX);
	size_t line = lf ? (size_t)(lf - p) : 0;
	int rc;

	if (!lf)
		return len < V1_MAX ? 0 : GR_HTTP_BAD_PROXY;
	if (line < 7 || p[line - 1] != '\r')
		return GR_HTTP_BAD_PROXY;
	rc = v1_line(proxy, (struct gr_slice){p + 6, line - 7});
	return rc < 0 ? rc : (ssize_t)line + 1;
}

/* ---- Version 2: binary. ---- */

enum { INET4_SIZE = 12, INET6_SIZE = 36, UNIX_PATH = 108, UNIX_SIZE = 2 * UNIX_PATH };

static void set_v4(struct gr_addr *addr, const char *ip, const char *port)
{
	memset(addr, 0, sizeof(*addr));
	addr->len = sizeof(addr->u.in);
	addr->u.in.sin_family = AF_INET;
	memcpy(&addr->u.in.sin_addr, ip, 4);
	memcpy(&addr->u.in.sin_port, port, 2);
}

static void set_v6(struct gr_addr *addr, const char *ip, const char *port)
{
	memset(addr, 0, sizeof(*addr));
	addr->len = sizeof(addr->u.in6);
	addr->u.in6.sin6_family = AF_INET6;
	memcpy(&addr->u.in6.sin6_addr, ip, 16);
	memcpy(&addr->u.in6.sin6_port, port, 2);
}

static void set_unix(struct gr_addr *addr, const char *path)
{
	memset(addr, 0, sizeof(*addr));
	addr->len = sizeof(addr->u.un);
	addr->u.un.sun_family = AF_UNIX;
	memcpy(addr->u.un.sun_path, path, UNIX_PATH);
}

/* `family` is the byte of family and transport; those that no TCP or unix stream has leave the addresses unknown. */
static int v2_addresses(struct gr_proxy *proxy, int family, const char *p, size_t len)
{
	size_t need = family == 0x11 ? INET4_SIZE : family == 0x21 ? INET6_SIZE : family == 0x31 ? UNIX_SIZE : 0;

	if (len < need)
		return GR_HTTP_BAD_PROXY;
	proxy->local = need == 0;
	if (family == 0x11) {
		set_v4(&proxy->from, p, p + 8);
		set_v4(&proxy->to, p + 4, p + 10);
	} else if (family == 0x21) {
		set_v6(&proxy->from, p, p + 32);
		set_v6(&proxy->to, p + 16, p + 34);
	} else if (family == 0x31) {
		set_unix(&proxy->from, p);
		set_unix(&proxy->to, p + UNIX_PATH);
	}
	return 0;
}

static ssize_t parse_v2(struct gr_proxy *proxy, const char *p, size_t len)
{
	size_t size;
	int command, rc = 0;

	if (len < V2_HEAD)
		return 0;
	size = (size_t)(uint8_t)p[14] << 8 | (uint8_t)p[15];
	command = (uint8_t)p[12];
	if (command != 0x20 && command != 0x21)
		return GR_HTTP_BAD_PROXY;
	if (len < V2_HEAD + size)
		return 0;
	if (command == 0x20)
		proxy->local = true;
	else
		rc = v2_addresses(proxy, (uint8_t)p[13], p + V2_HEAD, size);
	return rc < 0 ? rc : (ssize_t)(V2_HEAD + size);
}

/* Every byte decides as soon as it is there. */
ssize_t gr_proxy_parse(struct gr_proxy *proxy, const char *p, size_t len)
{
	size_t v1 = len < 6 ? len : 6, v2 = len < 12 ? len : 12;

	memset(proxy, 0, sizeof(*proxy));
	if (len == 0)
		return 0;
	if (memcmp(p, "PROXY ", v1) == 0)
		return v1 < 6 ? 0 : parse_v1(proxy, p, len);
	if (memcmp(p, v2_signature, v2) == 0)
		return v2 < 12 ? 0 : parse_v2(proxy, p, len);
	return GR_HTTP_BAD_PROXY;
}

/* ---- Fields about forwarding. ---- */

bool gr_forwarded_node(struct gr_slice node, struct gr_addr *addr)
{
	const char *colon = memchr(node.p, ':', node.len), *bracket;
	struct gr_slice host = node, port = {"0", 1};
	uint16_t n;

	if (node.len > 0 && *node.p == '[') {
		bracket = memchr(node.p, ']', node.len);
		if (!bracket)
			return false;
		host = (struct gr_slice){node.p + 1, (size_t)(bracket - node.p) - 1};
		colon = bracket + 1;
		if (!memchr(host.p, ':', host.len) || (colon < node.p + node.len && *colon != ':'))
			return false;
		colon = colon < node.p + node.len ? colon : NULL;
	} else if (colon && memchr(colon + 1, ':', node.len - (size_t)(colon + 1 - node.p))) {
		colon = NULL; /* IPv6 without brackets, as X-Forwarded-For has it */
	} else if (colon) {
		host.len = (size_t)(colon - node.p);
	}
	if (colon)
		port = (struct gr_slice){colon + 1, node.len - (size_t)(colon + 1 - node.p)};
	return port_number(port, &n) && literal(host, n, addr);
}

bool gr_forwarded_element(struct gr_slice list, unsigned trusted, struct gr_slice *element)
{
	const char *comma;

	for (; trusted > 0; trusted--) {
		comma = memrchr(list.p, ',', list.len);
		if (trusted == 1) {
			const char *from = comma ? comma + 1 : list.p;

			*element = gr_slice_trim(from, (size_t)(list.p + list.len - from));
			return element->len > 0;
		}
		if (!comma)
			return false;
		list.len = (size_t)(comma - list.p);
	}
	return false;
}

bool gr_forwarded_for(struct gr_slice list, unsigned trusted, struct gr_addr *addr)
{
	struct gr_slice node;

	return gr_forwarded_element(list, trusted, &node) && gr_forwarded_node(node, addr);
}
