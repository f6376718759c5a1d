/* SPDX-License-Identifier: MIT */
/* From another OS thread into the hub. */
#ifndef GR_CORE_ASYNC_H
#define GR_CORE_ASYNC_H

/* Something for the hub to do; part of what it is about. */
struct gr_post {
	struct gr_post *next;
	void (*run)(struct gr_post *post); /* in the hub; must not park */
};

/* Makes gr_async_post possible. Call it on the hub's thread before the first one; later calls do nothing. */
void gr_async_start(void);

/* Runs post->run(post) in the hub soon, posts of one thread in order. From any OS thread; does not block. The post must
 * stay until then. */
void gr_async_post(struct gr_post *post);

/* While a post is due that somebody waits for, the loop has to wait for it; the two in pairs, on the hub's thread. */
void gr_async_hold(void);
void gr_async_release(void);

#endif
