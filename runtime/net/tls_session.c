/* SPDX-License-Identifier: MIT */
/* Sessions that clients can resume: a small table for each context, where a newer one takes an older one's place. */
#include <stdlib.h>
#include <string.h>

#include "net/tls_context.h"

enum { SLOTS = 256 };

struct slot {
	char *peer; /* NULL = empty */
	SSL_SESSION *session;
};

struct gr_tls_sessions {
	struct slot slots[SLOTS];
};

static void clear(struct slot *slot)
{
	if (slot->peer == NULL)
		return;
	free(slot->peer);
	ossl.SSL_SESSION_free(slot->session);
	slot->peer = NULL;
}

static struct slot *slot_of(struct gr_tls_sessions *table, const char *peer)
{
	uint32_t hash = 2166136261u; /* FNV-1a */

	for (; *peer; peer++)
		hash = (hash ^ (unsigned char)*peer) * 16777619u;
	return &table->slots[(hash ^ hash >> 16) % SLOTS];
}

void gr_tls_session_offer(struct gr_tls_context *ctx, const char *peer, SSL *ssl)
{
	struct slot *slot = ctx->sessions ? slot_of(ctx->sessions, peer) : NULL;

	if (slot == NULL || slot->peer == NULL || strcmp(slot->peer, peer) != 0)
		return;
	ossl.SSL_set_session(ssl, slot->session);
	/* RFC 8446 appendix C.4: who sees the wire could tell that two connections are of one client. */
	if (ossl.SSL_SESSION_get_protocol_version(slot->session) >= TLS1_3_VERSION)
		clear(slot);
}

void gr_tls_session_keep(struct gr_tls_context *ctx, const char *peer, SSL_SESSION *session)
{
	char *copy = strdup(peer);
	struct slot *slot;

	if (ctx->sessions == NULL)
		ctx->sessions = calloc(1, sizeof(*ctx->sessions));
	if (copy == NULL || ctx->sessions == NULL || !ossl.SSL_SESSION_is_resumable(session)) {
		free(copy);
		ossl.SSL_SESSION_free(session);
		return;
	}
	slot = slot_of(ctx->sessions, peer);
	clear(slot);
	slot->peer = copy;
	slot->session = session;
}

void gr_tls_sessions_free(struct gr_tls_context *ctx)
{
	if (ctx->sessions == NULL)
		return;
	for (int i = 0; i < SLOTS; i++)
		clear(&ctx->sessions->slots[i]);
	free(ctx->sessions);
	ctx->sessions = NULL;
}
