/* SPDX-License-Identifier: MIT */
/* Images of parked stacks: how they are packed, and the blocks of memory that they lie in. */
#define _GNU_SOURCE
#include "core/image.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { WORDS_MAX = GR_IMAGE_MAX / 8, TRUSTED_MAX = 4 };

/* ---- Whose code has frames on a stack ----
 *
 * A function that waits has left a return address to itself on the stack. Old addresses lie around there too, so this errs
 * on the safe side only. */

static struct {
	uintptr_t start, end;
} trusted[TRUSTED_MAX];
static int ntrusted;

static const char us; /* an address in the object that this is in */

void gr_image_trust(const void *code)
{
	struct dl_find_object object;

	if (ntrusted == 0 && code != &us)
		gr_image_trust(&us);
	if (ntrusted == TRUSTED_MAX || _dl_find_object((void *)code, &object) != 0)
		return;
	trusted[ntrusted].start = (uintptr_t)object.dlfo_map_start;
	trusted[ntrusted++].end = (uintptr_t)object.dlfo_map_end;
}

static bool is_trusted(uintptr_t address)
{
	if (ntrusted == 0)
		gr_image_trust(&us);
	for (int i = 0; i < ntrusted; i++)
		if (address >= trusted[i].start && address < trusted[i].end)
			return true;
	return false;
}

bool gr_image_trusts(const void *code)
{
	return is_trusted((uintptr_t)code);
}

/* The stack has poisoned parts in the eyes of ASan. aarch64 may keep a signature in the upper bits of a return address. */
__attribute__((no_sanitize("address"))) bool gr_image_suspects(const void *sp, const void *top)
{
	struct dl_find_object object;

	for (const uint64_t *word = sp; word < (const uint64_t *)top; word++) {
		uintptr_t address = *word & ((1ULL << 48) - 1);

		if (address > 4096 && !is_trusted(address) &&
		    _dl_find_object((void *)address, &object) == 0) // NOLINT(performance-no-int-to-ptr)
			return true;
	}
	return false;
}

/* ---- Packing ----
 *
 * Most words are zero, addresses in the executable and its heap, or addresses near each other. An image is the number of
 * words, two bits for each that tell its kind, and then the bytes of each that its kind needs. */

enum kind {
	ZERO,
	NEAR_US,   /* 4 bytes: distance from `us` */
	NEAR_LAST, /* 4 bytes: distance from the last word that needed all its bytes */
	WHOLE,     /* 8 bytes */
};

struct image {
	uint16_t nwords;
	uint8_t kinds[];
};

static size_t kinds_size(size_t nwords)
{
	return (nwords + 3) / 4;
}

static enum kind kind_of(uint64_t word, uint64_t last)
{
	if (word == 0)
		return ZERO;
	if ((int64_t)(word - (uintptr_t)&us) == (int32_t)(word - (uintptr_t)&us))
		return NEAR_US;
	if ((int64_t)(word - last) == (int32_t)(word - last))
		return NEAR_LAST;
	return WHOLE;
}

/* Writes a word's bytes and returns where the next ones go. */
static uint8_t *put(uint8_t *out, enum kind kind, uint64_t word, uint64_t *last)
{
	uint32_t distance = (uint32_t)(word - (kind == NEAR_US ? (uintptr_t)&us : *last));

	if (kind == ZERO)
		return out;
	if (kind == WHOLE) {
		*last = word;
		memcpy(out, &word, 8);
		return out + 8;
	}
	memcpy(out, &distance, 4);
	return out + 4;
}

static const uint8_t *get(const uint8_t *in, enum kind kind, uint64_t *word, uint64_t *last)
{
	int32_t distance;

	*word = 0;
	if (kind == ZERO)
		return in;
	if (kind == WHOLE) {
		memcpy(word, in, 8);
		*last = *word;
		return in + 8;
	}
	memcpy(&distance, in, 4);
	*word = (kind == NEAR_US ? (uintptr_t)&us : *last) + (uint64_t)(int64_t)distance;
	return in + 4;
}

/* Returns the image's size. */
__attribute__((no_sanitize("address"))) static size_t pack(struct image *image, const uint64_t *words, size_t n)
{
	uint8_t *out = image->kinds + kinds_size(n);
	uint64_t last = 0;

	image->nwords = (uint16_t)n;
	memset(image->kinds, 0, kinds_size(n));
	for (size_t i = 0; i < n; i++) {
		enum kind kind = kind_of(words[i], last);

		image->kinds[i / 4] |= (uint8_t)(kind << i % 4 * 2);
		out = put(out, kind, words[i], &last);
	}
	return (size_t)(out - (uint8_t *)image);
}

__attribute__((no_sanitize("address"))) void *gr_image_unpack(const void *packed, void *top)
{
	const struct image *image = packed;
	const uint8_t *in = image->kinds + kinds_size(image->nwords);
	uint64_t *words = (uint64_t *)top - image->nwords, last = 0;

	for (size_t i = 0; i < image->nwords; i++) {
		uint64_t word;

		in = get(in, (enum kind)(image->kinds[i / 4] >> i % 4 * 2 & 3), &word, &last);
		words[i] = word;
	}
	return words;
}

/* ---- Blocks of images of one size ----
 *
 * malloc would need more for each, and could not give pages back after a million of them went in any order. */

enum {
	UNIT = 16,
	BLOCK_SIZE = 64 << 10, /* and alignment */
	SLAB_BLOCKS = 1024,
	SIZE_MAX_PACKED = GR_IMAGE_MAX + WORDS_MAX / 4 + UNIT,
	CLASSES = SIZE_MAX_PACKED / UNIT + 1,
};

/* Where slabs should be: far from LuaJIT's machine code, as those of stacks. */
static const uintptr_t SLAB_AREA = 0x210000000000;

struct cell {
	struct cell *next;
};

struct block {
	struct block *next, *previous; /* with room, of the same size */
	struct cell *free;
	uint32_t size;  /* of a cell */
	uint32_t fresh; /* offset of the first cell that was never used */
	uint32_t used;  /* cells */
};

static struct {
	struct block *with_room[CLASSES];
	char *slab, *slab_end; /* not yet handed out */
	uintptr_t hint;
	struct block *spare;  /* unused, but keeps its memory: one thread that comes and goes needs no system calls */
	struct block **empty; /* unused and without memory, in a vector since they cannot hold a link */
	size_t nempty, nblocks;
} arena = {.hint = SLAB_AREA};

static bool is_full(const struct block *b)
{
	return b->free == NULL && b->fresh + b->size > BLOCK_SIZE;
}

static void link_block(struct block *b)
{
	struct block **first = &arena.with_room[b->size / UNIT];

	b->next = *first;
	b->previous = NULL;
	if (*first)
		(*first)->previous = b;
	*first = b;
}

static void unlink_block(struct block *b)
{
	if (b->previous)
		b->previous->next = b->next;
	else
		arena.with_room[b->size / UNIT] = b->next;
	if (b->next)
		b->next->previous = b->previous;
}

/* Maps another slab, and makes room in `empty` for all blocks that there will be. */
static bool grow(void)
{
	size_t size = (size_t)SLAB_BLOCKS * BLOCK_SIZE;
	struct block **grown = realloc(arena.empty, (arena.nblocks + SLAB_BLOCKS) * sizeof(struct block *));
	char *p;

	if (grown == NULL)
		return false;
	arena.empty = grown;
	p = mmap((void *)arena.hint, size + BLOCK_SIZE, PROT_READ | PROT_WRITE, // NOLINT(performance-no-int-to-ptr)
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return false;
	madvise(p, size + BLOCK_SIZE, MADV_NOHUGEPAGE);
	arena.hint += size + BLOCK_SIZE;
	arena.nblocks += SLAB_BLOCKS;
	arena.slab = p + (-(uintptr_t)p & (BLOCK_SIZE - 1));
	arena.slab_end = arena.slab + size;
	return true;
}

static struct block *take_block(uint32_t size)
{
	struct block *b;

	if (arena.spare) {
		b = arena.spare;
		arena.spare = NULL;
	} else if (arena.nempty > 0) {
		b = arena.empty[--arena.nempty];
	} else {
		if (arena.slab == arena.slab_end && !grow())
			return NULL;
		b = (struct block *)(void *)arena.slab;
		arena.slab += BLOCK_SIZE;
	}
	*b = (struct block){.size = size, .fresh = (sizeof(*b) + UNIT - 1) & ~(UNIT - 1U)};
	link_block(b);
	return b;
}

static void give_block(struct block *b)
{
	unlink_block(b);
	if (arena.spare == NULL) {
		arena.spare = b;
		return;
	}
	madvise(b, BLOCK_SIZE, MADV_DONTNEED);
	arena.empty[arena.nempty++] = b;
}

static void *allocate(size_t n)
{
	uint32_t size = (uint32_t)(n + UNIT - 1) & ~(UNIT - 1U);
	struct block *b = arena.with_room[size / UNIT];
	struct cell *cell;

	if (b == NULL)
		b = take_block(size);
	if (b == NULL)
		return NULL;
	cell = b->free;
	if (cell) {
		b->free = cell->next;
	} else {
		cell = (struct cell *)(void *)((char *)b + b->fresh);
		b->fresh += size;
	}
	b->used++;
	if (is_full(b))
		unlink_block(b);
	return cell;
}

void gr_image_free(void *image)
{
	struct block *b =
		(struct block *)((uintptr_t)image & ~(uintptr_t)(BLOCK_SIZE - 1)); // NOLINT(performance-no-int-to-ptr)
	struct cell *cell = image;

	if (is_full(b))
		link_block(b);
	cell->next = b->free;
	b->free = cell;
	if (--b->used == 0)
		give_block(b);
}

void *gr_image_pack(const void *sp, const void *top)
{
	static union {
		struct image image;
		char bytes[SIZE_MAX_PACKED];
	} work;
	size_t size = pack(&work.image, sp, (size_t)((const uint64_t *)top - (const uint64_t *)sp));
	void *image = allocate(size);

	if (image)
		memcpy(image, &work, size);
	return image;
}

size_t gr_image_bytes(void)
{
	size_t unused = arena.nempty + (size_t)(arena.slab_end - arena.slab) / BLOCK_SIZE;

	return (arena.nblocks - unused) * BLOCK_SIZE;
}
