/* SPDX-License-Identifier: MIT */
/* C tracebacks of parked threads, by libgcc's unwinder; names from dladdr and from this program's own symbol table. */
#define _GNU_SOURCE
#include "core/traceback.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <unwind.h>

#include "core/hibernate.h"
#include "core/switch.h"

enum { MAX_TEXT = 256 };

struct walk {
	int skip, left;
	void (*add)(void *user, const char *text);
	void *user;
	/* This program's file; NULL if it cannot be read. */
	const char *image;
	size_t size;
	const ElfW(Sym) * symbols;
	size_t nsymbols;
	const char *names;
};

/* ---- Names ---- */

/* Finds the table of all symbols, which a stripped program lacks. Trusts the file that the kernel runs. */
static void find_symbols(struct walk *w)
{
	const ElfW(Ehdr) *header = (const void *)w->image;
	const ElfW(Shdr) *sections = (const void *)(w->image + header->e_shoff);

	for (int i = 0; i < header->e_shnum; i++) {
		if (sections[i].sh_type != SHT_SYMTAB)
			continue;
		w->symbols = (const void *)(w->image + sections[i].sh_offset);
		w->nsymbols = sections[i].sh_size / sizeof(*w->symbols);
		w->names = w->image + sections[sections[i].sh_link].sh_offset;
	}
}

static void map_program(struct walk *w)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *p = MAP_FAILED;

	if (fd >= 0 && fstat(fd, &st) == 0)
		p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (fd >= 0)
		close(fd);
	if (p == MAP_FAILED)
		return;
	w->image = p;
	w->size = (size_t)st.st_size;
	find_symbols(w);
}

/* The function of this program at that offset from where it is loaded. */
static const ElfW(Sym) * find_symbol(const struct walk *w, uintptr_t at)
{
	for (size_t i = 0; i < w->nsymbols; i++) {
		const ElfW(Sym) *s = &w->symbols[i];

		if (ELF64_ST_TYPE(s->st_info) == STT_FUNC && at >= s->st_value && at < s->st_value + s->st_size)
			return s;
	}
	return NULL;
}

static void describe(const struct walk *w, uintptr_t at, char *text)
{
	static const char here;
	Dl_info info, own;
	const char *object, *name;
	const ElfW(Sym) * s;

	if (dladdr((void *)at, &info) == 0) {
		snprintf(text, MAX_TEXT, "? %#zx", (size_t)at);
		return;
	}
	object = strrchr(info.dli_fname, '/');
	object = object ? object + 1 : info.dli_fname;
	name = info.dli_sname;
	if (dladdr(&here, &own) && own.dli_fbase == info.dli_fbase) {
		s = find_symbol(w, at - (uintptr_t)info.dli_fbase);
		name = s ? w->names + s->st_name : name;
		info.dli_saddr = s ? (char *)info.dli_fbase + s->st_value : info.dli_saddr;
	}
	if (name)
		snprintf(text, MAX_TEXT, "%s: %s + %zu", object, name, (size_t)(at - (uintptr_t)info.dli_saddr));
	else
		snprintf(text, MAX_TEXT, "%s + %#zx", object, (size_t)(at - (uintptr_t)info.dli_fbase));
}

/* ---- The walk ---- */

static _Unwind_Reason_Code visit(struct _Unwind_Context *context, void *user)
{
	struct walk *w = user;
	uintptr_t at = _Unwind_GetIP(context);
	char text[MAX_TEXT];

	if (w->skip > 0) {
		w->skip--;
		return _URC_NO_REASON;
	}
	if (at == 0 || w->left-- == 0)
		return _URC_END_OF_STACK;
	/* Return addresses: the call is before them. */
	describe(w, at - 1, text);
	w->add(w->user, text);
	return _URC_NO_REASON;
}

static void walk(void *user)
{
	_Unwind_Backtrace(visit, user);
}

void gr_traceback(struct gr_green *g, int max, void (*add)(void *user, const char *text), void *user)
{
	/* walk() and gr_switch_look come first. */
	struct walk w = {.skip = 2, .left = max, .add = add, .user = user};

	if (!gr_green_stands(g))
		return;
	gr_hibernate_wake(g);
	map_program(&w);
	gr_switch_look(g->sp, walk, &w);
	if (w.image)
		munmap((void *)w.image, w.size);
}
