/* SPDX-License-Identifier: MIT */
/* Images: what a parked stack holds, packed into as few bytes as possible. */
#ifndef GR_CORE_IMAGE_H
#define GR_CORE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>

/* The largest piece of a stack that is packed, in bytes. */
enum { GR_IMAGE_MAX = 16 << 10 };

/* The object (executable or library) that holds this address keeps to the rule that nothing points into a parked stack.
 * The one that this code is in does already. */
void gr_image_trust(const void *code);

/* True if the address is in such an object. */
bool gr_image_trusts(const void *code);

/* True if one of the words points into an object that is not trusted. Its code may have frames there then; or the word is
 * left over from a call that has ended. */
bool gr_image_suspects(const void *sp, const void *top);

/* Packs the words from `sp` up to `top`, at most GR_IMAGE_MAX bytes. Returns NULL if there is no memory. */
void *gr_image_pack(const void *sp, const void *top);

/* Writes the words back where they were and returns that `sp`. */
void *gr_image_unpack(const void *image, void *top);

void gr_image_free(void *image);

/* Bytes that all images use together, what is set aside for further ones included. */
size_t gr_image_bytes(void);

#endif
