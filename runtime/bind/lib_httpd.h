/* SPDX-License-Identifier: MIT */
/* HTTP servers for Lua: grun.core.httpd, that is connections (lib_httpd.c), their requests and their responses. */
#ifndef GR_BIND_LIB_HTTPD_H
#define GR_BIND_LIB_HTTPD_H

#include <lauxlib.h>
#include <lua.h>

#include "bind/http_message.h"
#include "core/turn.h"
#include "http/http1.h"
#include "net/stream.h"

/* What all connections of a server share. A userdata. Times are seconds, INFINITY = none. */
struct gr_httpd_config {
	const char *class;
	double header_timeout; /* from a request's first byte to the end of its head */
	double idle_timeout;   /* to the first byte of a request */
	double body_timeout;   /* of each read of a body */
	double write_timeout;  /* of each write */
	struct gr_http_limits limits;
	int64_t max_body;      /* bytes that are read into one string, unless the caller says otherwise */
	uint32_t max_requests; /* on one connection; 0 = any number */
	bool stopping;         /* each response is its connection's last */
	bool https;
	int arguments;        /* of the handler: the request, the response, or fewer */
	bool proxy_protocol;  /* connections begin with a header that says whom they come from */
	double min_rate;      /* bytes per second below which a body is too slow; 0 = none */
	int gzip;             /* level at which responses are compressed; 0 = they are not */
	int64_t gzip_min;     /* bytes from which on that is worth it */
	char gzip_types[512]; /* a list of media types, and of beginnings such as "text/" */
	unsigned trusted;     /* so many proxies in front of us tell the truth in X-Forwarded-* */
	char server[64];      /* the Server field; empty = none */
};

enum gr_httpd_reply {
	GR_REPLY_OPEN,    /* nothing is sent yet */
	GR_REPLY_STARTED, /* the head is out, the body follows in pieces */
	GR_REPLY_DONE,
};

/* The slots of a connection's environment. */
enum gr_httpd_env {
	GR_HTTPD_CONN = 1, /* what keeps these alive: the grun.conn … */
	GR_HTTPD_STATE,    /* … and the struct gr_httpd_conn */
	GR_HTTPD_REQUEST,  /* the present request, if it is made, or false */
	GR_HTTPD_FIELDS,   /* what the handler has set of the response: name, value, name, value … */
	GR_HTTPD_KNOWN,    /* the environment of requests whose head is the known one */
};

/* The head of an earlier request, for the next one to be compared with: most clients send the same fields each time, and many
 * the same head. A userdata. */
struct gr_httpd_known {
	struct gr_http_head head;
	const char *bytes;
	size_t room;                   /* bytes of what follows */
	bool shared;                   /* by requests, so that it has to stay as it is */
	struct gr_http_field fields[]; /* then the bytes */
};

/* One connection. A userdata. */
struct gr_httpd_conn {
	const char *class;
	struct gr_stream *stream;
	const struct gr_httpd_config *config;
	uint32_t turn;       /* number of the present request: objects of earlier ones are over */
	bool busy;           /* there is one, … */
	bool made;           /* … and an object of it */
	bool idle;           /* waits for the first byte of a request … */
	double idle_since;   /* … since then */
	bool keep;           /* goes on after the present response */
	bool refused;        /* what it sent last was no request */
	bool taken;          /* upgraded: its bytes are no longer HTTP */
	struct gr_addr peer; /* also when it has gone; as a PROXY protocol header says; len 0 = unknown */
	/* the request */
	struct gr_httpd_known *known; /* NULL: none */
	bool want_continue;           /* the client waits for "100 Continue" before it sends the body */
	struct gr_body body;
	int fallback; /* status if the handler chooses none; 0 = the usual one */
	/* the response */
	uint8_t method;             /* of the request: enum gr_http_method */
	uint8_t minor;              /* of the request's version */
	uint8_t reply;              /* enum gr_httpd_reply */
	uint8_t framing;            /* enum gr_http_body of the response */
	int status;                 /* 0 = not chosen */
	int nfields;                /* numbers in GR_HTTPD_FIELDS */
	int64_t to_send;            /* bytes promised and not sent yet */
	uint64_t sent;              /* bytes of the body */
	int compress;               /* level at which the body is compressed if the client likes it; 0 = it is not */
	struct gr_httpd_gzip *gzip; /* heap; while one is */
	bool logged;                /* somebody wants to know about each response … */
	double began;               /* … and when its request's head was complete */
	/* heap: what is to be sent, maybe several responses; only who has the turn touches it */
	struct gr_turn sending;
	char *out;
	size_t out_len, out_cap;
	size_t head_at; /* where in it the present response begins; SIZE_MAX: some of that is sent */
};

/* One request. A userdata; the spans of `head` count from `bytes`. Its environment is the connection's, until something is
 * kept with it; or one that keeps the head. */
struct gr_httpd_request {
	const char *class;
	struct gr_httpd_conn *conn;
	uint32_t turn;
	bool keeps;  /* it has an environment of its own */
	bool shares; /* its head is a struct gr_httpd_known's */
	const struct gr_http_head *head;
	const char *bytes;
};

int luaopen_grun_core_httpd(lua_State *L);

/* Pushes the client's address, or nil. */
void gr_httpd_push_peer(lua_State *L, const struct gr_httpd_conn *c);

/* ---- Requests (lib_httpd_request.c) ---- */

void gr_httpd_request_init(lua_State *L);

/* The request at index 1; raises if it is none. */
struct gr_httpd_request *gr_httpd_check_request(lua_State *L);

/* The connection of such a request that is still the present one; raises if it is over. */
struct gr_httpd_conn *gr_httpd_check_turn(lua_State *L);

/* Takes a head as the present request's. It is copied unless it is the known one; then there is no object either if the handler
 * takes none. `env` is the index of the connection's environment, here and below. */
void gr_httpd_take_request(lua_State *L, struct gr_httpd_conn *c, const struct gr_http_head *head, const char *bytes,
			   size_t len, int env);

/* Pushes the present request, or false when there is none. */
void gr_httpd_push_present(lua_State *L, struct gr_httpd_conn *c, int env);

/* Pushes the connection's environment; the request is at index 1. */
void gr_httpd_push_env(lua_State *L, const struct gr_httpd_request *r);

/* Takes note of the head of a request, unless it is too long, for the next one. */
void gr_httpd_remember(lua_State *L, struct gr_httpd_conn *c, const struct gr_http_head *head, const char *bytes,
		       size_t len, int env);

/* response(req) -> the response to a request that is still the present one */
int gr_httpd_l_response(lua_State *L);

/* parse_query(text) */
int gr_httpd_l_parse_query(lua_State *L);

/* ---- Bodies of requests (lib_httpd_body.c) ---- */

/* Whether gr_httpd_skip_body would try to: a client can be told beforehand when the connection is to end. */
bool gr_httpd_can_skip_body(const struct gr_httpd_conn *c);

/* Reads what is left of the body and drops it. Returns whether the connection can go on: the body has ended, and was
 * not too long to wait for. Parks. */
bool gr_httpd_skip_body(struct gr_httpd_conn *c);

/* body([max]) */
int gr_httpd_l_request_body(lua_State *L);

/* read(): the next piece. read(n): n bytes, fewer only at the end. read("a"): as body(). */
int gr_httpd_l_request_read(lua_State *L);

/* ---- Responses (lib_httpd_response.c) ---- */

void gr_httpd_response_init(lua_State *L);

/* Pushes the field of that name, at index 2, that the handler has set of the present response, the first one; nothing for
 * none. Index 1 is a response or a connection's state. Returns the number of values. */
int gr_httpd_push_field(lua_State *L, const struct gr_httpd_conn *c);

/* Pushes the response to the present request. */
void gr_httpd_push_response(lua_State *L, struct gr_httpd_conn *c, int env);

/* Sends what the handler returned, the values from `first` up to the top, unless it has sent a response itself. `env` is
 * the index of the connection's environment. Returns 0 or an error of the connection. Raises when the values are none.
 * Parks. */
int gr_httpd_finish(lua_State *L, struct gr_httpd_conn *c, int env, int first);

/* ---- Heads of responses (lib_httpd_head.c). `env` is the index of the connection's environment. ---- */

/* The string or number at idx, which stays there. */
struct gr_slice gr_httpd_slice_at(lua_State *L, int idx);

/* Appends a field to the list at GR_HTTPD_FIELDS; name and value are strings or numbers at these indices. */
void gr_httpd_set_field(lua_State *L, struct gr_httpd_conn *c, int env, int name, int value);

/* Writes the head of a body of that length (-1: unknown), with what the handler has set and with the fields of the table at
 * the index `headers` (0: none): name = value or list of values; it goes out with the body. Raises if that is no valid head;
 * nothing is sent then. */
void gr_httpd_start(lua_State *L, struct gr_httpd_conn *c, int env, int headers, int64_t length);

/* Sends a response with that body for which the handler chose nothing else, if it is one of the usual ones, which takes
 * fewer steps. Returns 1, and nothing is done, if it is not; 0 or an error of the connection. Parks. */
int gr_httpd_send_usual(struct gr_httpd_conn *c, struct gr_slice body);

/* Sends a response of our own, with that text (NULL: the status's phrase). Nothing once another one was begun. Returns 0 or
 * an error of the connection. Parks. */
int gr_httpd_send_status(struct gr_httpd_conn *c, int status, const char *text);

/* ---- Sending (lib_httpd_send.c). What fails returns an error of the connection; -EALREADY: the response is over, another
 * thread has finished it while this one waited for its turn. ---- */

/* Last pieces of a body that are larger are sent from where they are, when nothing more is to go out with them. */
enum { GR_HTTPD_COPY_LAST = 2 << 10 };

/* Makes room for n more bytes behind what is collected. Returns 0 or -ENOMEM. */
int gr_httpd_reserve(struct gr_httpd_conn *c, size_t n);

/* Adds bytes to the body; the second one sends them at once. -EMSGSIZE: more than the head promised. Both park. */
int gr_httpd_add_body(struct gr_httpd_conn *c, const char *p, size_t n);
int gr_httpd_send_piece(struct gr_httpd_conn *c, const char *p, size_t n);

/* Ends the body, unless rc says that it failed; sends what has been collected, unless more requests are here already.
 * Parks. */
int gr_httpd_complete(struct gr_httpd_conn *c, int rc);

/* The same with the last bytes of the body. */
int gr_httpd_complete_with(struct gr_httpd_conn *c, const char *p, size_t n);

/* Sends bytes of a file as a part of the body; *sent grows. Results as of gr_stream_sendfile, or -EMSGSIZE. Parks. */
int gr_httpd_send_file(struct gr_httpd_conn *c, int fd, off_t from, size_t len, size_t *sent);

/* Sends what has been collected. Returns 0 or an error. Parks. */
int gr_httpd_flush(struct gr_httpd_conn *c);

/* What was collected is sent, or lost. */
void gr_httpd_give_back(struct gr_httpd_conn *c);

/* Returns rc. What was sent in part cannot be followed by another response: after an error the connection ends. */
int gr_httpd_checked(struct gr_httpd_conn *c, int rc);

/* ---- What is not sent yet (lib_httpd_hold.c) ---- */

/* Complete responses wait to go out together with the next one; but not longer than the thread runs. */
void gr_httpd_hold(struct gr_httpd_conn *c);

/* The connection goes away. */
void gr_httpd_unhold(const struct gr_httpd_conn *c);

/* Before a response that failed is given up: takes back what is written of it, if nothing was sent. Else makes sure that
 * its client does not take what it has for the whole. */
void gr_httpd_take_back(struct gr_httpd_conn *c);

/* ---- Compression (lib_httpd_gzip.c) ---- */

/* Bytes of the compressed body, to be sent. Returns 0 or an error. */
typedef int gr_httpd_sink(struct gr_httpd_conn *c, const char *p, size_t n);

/* Loads libz, which costs start-up nothing that way; raises when it is not there. First of all. */
void gr_httpd_gzip_load(lua_State *L);

/* Whether bodies of that media type are to be compressed. */
bool gr_httpd_gzip_type(const struct gr_httpd_config *config, struct gr_slice type);

/* Begins: length is the body's, -1: not known. Returns 0 or -ENOMEM. */
int gr_httpd_gzip_begin(struct gr_httpd_conn *c, int64_t length);

enum gr_httpd_gzip_flush { GR_GZIP_MORE, GR_GZIP_PIECE, GR_GZIP_END };

/* Compresses bytes; with PIECE all so far can be read by the client, END ends the body. Returns 0 or the sink's error. */
int gr_httpd_gzip_add(struct gr_httpd_conn *c, const char *p, size_t n, enum gr_httpd_gzip_flush flush,
		      gr_httpd_sink *sink);

void gr_httpd_gzip_free(struct gr_httpd_conn *c);

#endif
