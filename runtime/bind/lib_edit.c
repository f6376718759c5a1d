/* SPDX-License-Identifier: MIT */
/* Reading lines at a prompt: grun.core.edit. On a terminal with libedit, if that is installed, else plain lines.
 *
 * libedit gets its characters from a function of ours, and that function parks: the thread waits below libedit's frames,
 * in the middle of an escape sequence too, while other threads run. They may take the line off the screen and bring it
 * back (hide, show). Descriptor 0 stays as it was found; the terminal's modes are changed only during a read. */
#define _GNU_SOURCE
#include "bind/lib_edit.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>
#include <wchar.h>

#include "bind/luautil.h"
#include "core/signal.h"
#include "core/wait.h"

/* ---- libedit, as far as it is used here ---- */

struct el;
struct history;

struct line_info {
	const char *buffer, *cursor, *last;
};

struct history_event {
	int number;
	const char *text;
};

enum el_op {
	EL_PROMPT = 0,
	EL_EDITOR = 2,
	EL_BIND = 4,
	EL_ADDFN = 9,
	EL_HIST = 10,
	EL_GETCFN = 13,
	EL_PREP_TERM = 16,
	EL_REFRESH = 20
};
enum history_op { H_SETSIZE = 1, H_ENTER = 10, H_SETUNIQUE = 20 };
enum el_result { CC_NORM = 0, CC_REFRESH = 4, CC_ERROR = 6 };

static struct {
	struct el *(*init)(const char *program, FILE *in, FILE *out, FILE *err);
	int (*set)(struct el *, int op, ...);
	const char *(*gets)(struct el *, int *length);
	const struct line_info *(*line)(struct el *);
	int (*insertstr)(struct el *, const char *);
	int (*source)(struct el *, const char *file);
	void (*resize)(struct el *);
	struct history *(*history_init)(void);
	int (*history)(struct history *, struct history_event *, int op, ...);
} lib;

static bool load_libedit(void)
{
	void *so = dlopen("libedit.so.2", RTLD_NOW | RTLD_LOCAL);

	if (so == NULL)
		return false;
	lib.init = (struct el * (*)(const char *, FILE *, FILE *, FILE *)) dlsym(so, "el_init");
	lib.set = (int (*)(struct el *, int, ...))dlsym(so, "el_set");
	lib.gets = (const char *(*)(struct el *, int *))dlsym(so, "el_gets");
	lib.line = (const struct line_info *(*)(struct el *))dlsym(so, "el_line");
	lib.insertstr = (int (*)(struct el *, const char *))dlsym(so, "el_insertstr");
	lib.source = (int (*)(struct el *, const char *))dlsym(so, "el_source");
	lib.resize = (void (*)(struct el *))dlsym(so, "el_resize");
	lib.history_init = (struct history * (*)(void)) dlsym(so, "history_init");
	lib.history = (int (*)(struct history *, struct history_event *, int, ...))dlsym(so, "history");
	return lib.init && lib.set && lib.gets && lib.line && lib.insertstr && lib.source && lib.resize &&
	       lib.history_init && lib.history;
}

/* ---- State: there is one standard input ---- */

static const int HISTORY_SIZE = 1000;

static struct {
	struct el *el; /* NULL: plain lines */
	struct history *history;
	struct gr_io input;
	int keys;             /* the terminal opened once more, non-blocking; or standard input if that fails */
	struct termios found; /* the terminal's modes outside a read */
	lua_State *L;         /* that reads now, or NULL */
	const char *prompt;   /* on its stack */
	int completer;        /* registry reference */
	int rc;               /* why a read ended early, or 0 */
	bool reading;         /* libedit has the terminal */
	bool hidden;
	bool interrupted;
} edit = {.completer = LUA_NOREF};

/* Returns 0, -EINTR after interrupt(), or what a wait may return. */
static int wait_input(void)
{
	struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};

	while (!edit.interrupted && poll(&p, 1, 0) <= 0) {
		int rc = gr_io_wait(&edit.input, INFINITY, "the prompt");

		if (rc < 0)
			return rc;
	}
	return edit.interrupted ? -EINTR : 0;
}

/* ---- The terminal ---- */

/* At exit, also when a signal ends the process: async-signal-safe. */
static void restore_terminal(void)
{
	if (!edit.reading)
		return;
	tcsetattr(STDIN_FILENO, TCSANOW, &edit.found);
	if (write(STDOUT_FILENO, "\n", 1) < 0)
		return;
}

static int terminal_columns(void)
{
	struct winsize size;

	return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

static int text_columns(const char *text, size_t length)
{
	mbstate_t state = {0};
	int columns = 0;

	while (length > 0) {
		wchar_t c;
		size_t n = mbrtowc(&c, text, length, &state);
		int width = n > 0 && n <= length ? wcwidth(c) : 1;

		if (n == 0 || n > length) {
			memset(&state, 0, sizeof(state));
			n = 1;
		}
		columns += width > 0 ? width : 0;
		text += n;
		length -= n;
	}
	return columns;
}

/* Takes prompt and line off the screen. Returns false if there was nothing to take. */
static bool hide(void)
{
	const struct line_info *line;
	int before;

	if (!edit.reading || edit.hidden)
		return false;
	line = lib.line(edit.el);
	before = text_columns(edit.prompt, strlen(edit.prompt));
	before += text_columns(line->buffer, (size_t)(line->cursor - line->buffer));
	if (before >= terminal_columns())
		fprintf(stdout, "\033[%dA", before / terminal_columns());
	fputs("\r\033[J", stdout);
	fflush(stdout);
	edit.hidden = true;
	return true;
}

static void show(void)
{
	if (edit.reading && edit.hidden)
		lib.set(edit.el, EL_REFRESH);
	edit.hidden = false;
}

static void on_resize(int number)
{
	bool hid = hide();

	(void)number;
	if (edit.reading)
		lib.resize(edit.el);
	if (hid)
		show();
}

/* ^Z: the shell finds the terminal as it was, and we find it as we need it when the process goes on. */
static void on_suspend(int number)
{
	(void)number;
	if (edit.reading)
		lib.set(edit.el, EL_PREP_TERM, 0);
	kill(getpid(), SIGSTOP);
	if (edit.reading) {
		lib.set(edit.el, EL_PREP_TERM, 1);
		lib.set(edit.el, EL_REFRESH);
	}
}

/* ---- What libedit calls ---- */

static char *prompt(struct el *el)
{
	(void)el;
	return (char *)(uintptr_t)edit.prompt;
}

/* Parks. Returns 1 and a character, 0 at the end of input, -1 when the read shall end. */
static int read_key(struct el *el, wchar_t *out)
{
	char bytes[MB_LEN_MAX];
	size_t n = 0, used;

	(void)el;
	for (;;) {
		mbstate_t state = {0};
		ssize_t got;

		edit.rc = wait_input();
		if (edit.rc < 0)
			return -1;
		/* ^C makes the terminal drop its input after poll(2) has seen it: a blocking read would hang here. */
		got = read(edit.keys, bytes + n, 1);
		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (got <= 0)
			return (int)got;
		used = mbrtowc(out, bytes, ++n, &state);
		if (used <= n)
			return 1;
		/* Incomplete, or no character at all: forget that. */
		if (used == (size_t)-1 || n == sizeof(bytes))
			n = 0;
	}
}

/* Calls the completer with the line up to the cursor. It returns what to insert there, or nil, and a text to show above
 * the line, or nil. */
static int l_complete(lua_State *L)
{
	unsigned char *result = lua_touserdata(L, 1);
	const struct line_info *line = lib.line(edit.el);

	lua_rawgeti(L, LUA_REGISTRYINDEX, edit.completer);
	lua_pushlstring(L, line->buffer, (size_t)(line->cursor - line->buffer));
	lua_call(L, 1, 2);
	if (lua_isstring(L, -2) && lib.insertstr(edit.el, lua_tostring(L, -2)) == 0)
		*result = CC_REFRESH;
	if (lua_isstring(L, -1)) {
		fprintf(stdout, "\n%s\n", lua_tostring(L, -1));
		lib.set(edit.el, EL_REFRESH);
		*result = CC_NORM;
	}
	return 0;
}

static unsigned char on_tab(struct el *el, int c)
{
	unsigned char result = CC_ERROR;

	(void)el;
	(void)c;
	if (lua_cpcall(edit.L, l_complete, &result) != 0)
		lua_pop(edit.L, 1);
	return result;
}

/* ---- Opening ---- */

static void bind_keys(void)
{
	static const char *const keys[][2] = {
		{"^I", "grun-complete"},      {"^R", "em-inc-search-prev"}, {"\\e[3~", "ed-delete-next-char"},
		{"\\e[1~", "ed-move-to-beg"}, {"\\e[4~", "ed-move-to-end"}, {"\\e[H", "ed-move-to-beg"},
		{"\\e[F", "ed-move-to-end"},  {"\\e[1;5C", "em-next-word"}, {"\\e[1;5D", "ed-prev-word"},
	};

	lib.set(edit.el, EL_EDITOR, "emacs");
	lib.set(edit.el, EL_ADDFN, "grun-complete", "complete a name", on_tab);
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		lib.set(edit.el, EL_BIND, keys[i][0], keys[i][1], NULL);
}

static void init_history(void)
{
	struct history_event event;

	edit.history = lib.history_init();
	if (edit.history == NULL)
		return;
	lib.history(edit.history, &event, H_SETSIZE, HISTORY_SIZE);
	lib.history(edit.history, &event, H_SETUNIQUE, 1);
	lib.set(edit.el, EL_HIST, lib.history, edit.history);
}

static bool open_editor(void)
{
	const char *terminal = getenv("TERM");

	if (edit.el)
		return true;
	if (terminal == NULL || strcmp(terminal, "dumb") == 0 || !isatty(STDOUT_FILENO) ||
	    tcgetattr(STDIN_FILENO, &edit.found) < 0 || !load_libedit())
		return false;
	/* libedit takes the encoding of the keyboard from the locale. Only classes of characters change. */
	setlocale(LC_CTYPE, "");
	edit.el = lib.init("grun", stdin, stdout, stderr);
	if (edit.el == NULL)
		return false;
	edit.keys = open("/proc/self/fd/0", O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (edit.keys < 0)
		edit.keys = STDIN_FILENO;
	lib.set(edit.el, EL_PROMPT, prompt);
	lib.set(edit.el, EL_GETCFN, read_key);
	bind_keys();
	init_history();
	lib.source(edit.el, NULL); /* the user's ~/.editrc */
	atexit(restore_terminal);
	gr_signal_at_exit = restore_terminal;
	return true;
}

/* open(completer) -> is there line editing (else use read_plain). For completer see l_complete. */
static int l_edit_open(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TFUNCTION);
	lua_settop(L, 1);
	luaL_unref(L, LUA_REGISTRYINDEX, edit.completer);
	edit.completer = luaL_ref(L, LUA_REGISTRYINDEX);
	lua_pushboolean(L, open_editor());
	return 1;
}

/* ---- Reading ---- */

static const char *read_edited(lua_State *L, int *length)
{
	const char *line;

	edit.L = L;
	edit.prompt = lua_tostring(L, 1);
	edit.rc = 0;
	edit.hidden = edit.interrupted = false;
	tcgetattr(STDIN_FILENO, &edit.found);
	edit.reading = true;
	gr_signal_watch(SIGWINCH, on_resize);
	gr_signal_watch(SIGTSTP, on_suspend);
	lib.set(edit.el, EL_PREP_TERM, 1); /* before the prompt appears, so that nothing is typed in the other mode */
	line = lib.gets(edit.el, length);
	gr_signal_watch(SIGTSTP, NULL);
	gr_signal_watch(SIGWINCH, NULL);
	edit.reading = false;
	edit.L = NULL;
	return line;
}

/* Ends a read that brought no line: nil at the end of input, false after interrupt(). */
static int no_line(lua_State *L, int rc)
{
	if (rc < 0 && rc != -EINTR)
		return gr_lua_fail(L, rc);
	if (rc == -EINTR)
		lua_pushboolean(L, 0);
	else
		lua_pushnil(L);
	return 1;
}

/* read(prompt) -> line without its end; nil at the end of input; false after interrupt(). With editing. Parks. */
static int l_edit_read(lua_State *L)
{
	const char *line;
	int length, rc;

	luaL_checkstring(L, 1);
	rc = gr_lua_enter_wait(L);
	if (rc)
		return rc;
	if (edit.el == NULL || edit.reading)
		return luaL_error(L, edit.el ? "another thread reads at the prompt" : "no line editing");
	line = read_edited(L, &length);
	if (line && length > 0 && edit.rc == 0) {
		lua_pushlstring(L, line, (size_t)length - (line[length - 1] == '\n'));
		return 1;
	}
	fputc('\n', stdout);
	fflush(stdout);
	return no_line(L, edit.rc);
}

/* glibc's stdio: how much is read ahead can only be seen in its fields. */
static bool have_buffered(const FILE *f)
{
	return f->_IO_read_ptr < f->_IO_read_end;
}

/* read_plain() -> the same from stdin's own buffer, so that io.read in a chunk gets the next line. Parks. */
static int l_edit_read_plain(lua_State *L)
{
	int rc = gr_lua_enter_wait(L), c = 0;
	luaL_Buffer b;

	if (rc)
		return rc;
	edit.interrupted = false;
	luaL_buffinit(L, &b);
	for (;;) {
		rc = have_buffered(stdin) ? 0 : wait_input();
		if (rc < 0)
			return no_line(L, rc);
		errno = 0;
		c = getc(stdin);
		if (c == EOF && (errno == EAGAIN || errno == EINTR)) {
			clearerr(stdin);
			continue;
		}
		if (c == EOF || c == '\n')
			break;
		luaL_addchar(&b, (char)c);
	}
	luaL_pushresult(&b);
	if (c == '\n' || lua_objlen(L, -1) > 0)
		return 1;
	return no_line(L, 0);
}

/* interrupt(): makes the present read return false. */
static int l_edit_interrupt(lua_State *L)
{
	(void)L;
	edit.interrupted = true;
	if (edit.input.waiter)
		gr_wake(edit.input.waiter, 0);
	return 0;
}

/* hide() -> true if a line was being edited; it is off the screen until show(). */
static int l_edit_hide(lua_State *L)
{
	lua_pushboolean(L, hide());
	return 1;
}

static int l_edit_show(lua_State *L)
{
	(void)L;
	show();
	return 0;
}

/* ---- History ---- */

/* remember(line): for the arrow keys. */
static int l_edit_remember(lua_State *L)
{
	struct history_event event;
	const char *line = luaL_checkstring(L, 1);

	if (edit.history)
		lib.history(edit.history, &event, H_ENTER, line);
	return 0;
}

/* append(file, line): the file is made for its owner's eyes only. Failures are nobody's concern. */
static int l_edit_append(lua_State *L)
{
	const char *file = luaL_checkstring(L, 1), *line;
	size_t length;
	int fd;

	lua_pushfstring(L, "%s\n", luaL_checkstring(L, 2));
	line = lua_tolstring(L, -1, &length);
	fd = open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	lua_pushboolean(L, fd >= 0 && write(fd, line, length) == (ssize_t)length);
	if (fd >= 0)
		close(fd);
	return 1;
}

static const luaL_Reg functions[] = {
	{"open", l_edit_open},           {"read", l_edit_read},     {"read_plain", l_edit_read_plain},
	{"interrupt", l_edit_interrupt}, {"hide", l_edit_hide},     {"show", l_edit_show},
	{"remember", l_edit_remember},   {"append", l_edit_append}, {NULL, NULL},
};

int luaopen_grun_core_edit(lua_State *L)
{
	gr_io_init(&edit.input, STDIN_FILENO, EV_READ);
	lua_newtable(L);
	for (const luaL_Reg *f = functions; f->name; f++) {
		lua_pushcfunction(L, f->func);
		lua_setfield(L, -2, f->name);
	}
	return 1;
}
