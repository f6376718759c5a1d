/* SPDX-License-Identifier: MIT */
/* Where a stalled loop is. */
#define _GNU_SOURCE
#include "core/stall.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>
#include <unwind.h>

#include "core/hub.h"
#include "core/log.h"
#include "core/watchdog.h"

/* Where the process's own stack begins; ld.so's. */
extern void *__libc_stack_end;

struct gr_watchdog_asks gr_watchdog_asks;

enum { FRAMES = 40, SHOWN = 8, LINES = 2048, UNWINDER_REACH = 4096 };

enum place {
	SOMEWHERE,   /* nothing is known */
	IN_C,        /* in a C function of others that Lua called */
	IN_VM,       /* in the VM's own code */
	IN_VM_CALL,  /* in a function of the VM that the interpreter called */
	IN_COMPILED, /* in a trace, or below one */
};

/* What the handler found. Written before `answered` is set, by the loop's OS thread; `lines` before `placed`. */
static struct {
	_Atomic bool asked, answered, placed;
	uint64_t switches;
	bool on_green;
	uint64_t id;
	char name[64], site[80];
	const char *what; /* it waited on last */
	enum place place;
	const void *pc[FRAMES];
	int frames;
	bool told_by_handler; /* the lines are there already */
	bool lines_told;
	size_t length;
	char lines[LINES];
	long call; /* the system call in which it waits, or -1 */
} stall;

/* ---- In the signal handler ---- */

struct walk {
	const void *interrupted;
	bool inside;       /* past the handler's own frames */
	int vm;            /* frames of the VM's library so far */
	uintptr_t first;   /* function of the interrupted frame */
	uintptr_t last[2]; /* functions of the last two frames of the VM's library */
};

static struct dl_find_object vm_text, unwinder_text;

/* Below the VM's functions come the interpreter and the function that entered it, such as lua_pcall. If that was not the
 * interpreter itself that was interrupted, but a function that it has called, it has left everything in order. */
static void leave_vm(const struct walk *walk)
{
	stall.place = walk->first != walk->last[1] ? IN_VM_CALL : IN_VM;
}

static _Unwind_Reason_Code look_at_frame(struct _Unwind_Context *context, void *data)
{
	struct walk *walk = data;
	const void *pc = (const void *)_Unwind_GetIP(context);
	uintptr_t function = _Unwind_GetRegionStart(context);
	struct dl_find_object object;

	if (!walk->inside && pc != walk->interrupted)
		return _URC_NO_REASON;
	if (!walk->inside)
		walk->first = function;
	walk->inside = true;
	if (walk->vm == 0 && function == (uintptr_t)gr_watchdog_asks.wrapper) {
		stall.place = IN_C;
		return _URC_END_OF_STACK;
	}
	if (pc == NULL || _dl_find_object((void *)pc, &object) != 0) {
		stall.place = pc ? IN_COMPILED : stall.place;
		return _URC_END_OF_STACK;
	}
	if (object.dlfo_map_start == vm_text.dlfo_map_start) {
		walk->vm++;
		walk->last[1] = walk->last[0];
		walk->last[0] = function;
		stall.place = IN_VM;
	} else if (walk->vm > 0) {
		leave_vm(walk);
		return _URC_END_OF_STACK;
	}
	stall.pc[stall.frames++] = pc;
	return stall.frames < FRAMES ? _URC_NO_REASON : _URC_END_OF_STACK;
}

/* Unwinding takes a lock while LuaJIT has code of its own registered. If the unwinder was interrupted itself, some word near
 * the top of the stack points into its code. */
__attribute__((no_sanitize("address"))) static bool unwinder_at_work(uintptr_t pc, uintptr_t sp)
{
	uintptr_t from = (uintptr_t)unwinder_text.dlfo_map_start, to = (uintptr_t)unwinder_text.dlfo_map_end;
	uintptr_t top = (uintptr_t)(gr_on_green() ? gr_stack_top(&gr_current->stack) : __libc_stack_end);
	uintptr_t end = sp + UNWINDER_REACH < top ? sp + UNWINDER_REACH : top;

	if (pc >= from && pc < to)
		return true;
	for (const uintptr_t *word = (const uintptr_t *)(sp & ~(uintptr_t)7); (uintptr_t)word < end; word++)
		if (*word >= from && *word < to)
			return true;
	return false;
}

#if defined(__x86_64__)
static uintptr_t pc_of(const ucontext_t *c)
{
	return (uintptr_t)c->uc_mcontext.gregs[REG_RIP];
}

static uintptr_t sp_of(const ucontext_t *c)
{
	return (uintptr_t)c->uc_mcontext.gregs[REG_RSP];
}
#else
static uintptr_t pc_of(const ucontext_t *c)
{
	return (uintptr_t)c->uc_mcontext.pc;
}

static uintptr_t sp_of(const ucontext_t *c)
{
	return (uintptr_t)c->uc_mcontext.sp;
}
#endif

static void note_site(void)
{
	int line = 0;
	const char *source = stall.on_green && gr_hub.spawn_site ? gr_hub.spawn_site(gr_current, &line) : NULL;

	if (source)
		snprintf(stall.site, sizeof(stall.site), "%s:%d", source, line);
}

static void note_thread(const struct gr_green *g)
{
	stall.switches = __atomic_load_n(&gr_switches, __ATOMIC_RELAXED);
	stall.on_green = gr_on_green();
	stall.id = g->id;
	stall.what = g->what;
	stall.name[0] = stall.site[0] = '\0';
	if (g->name)
		strncat(stall.name, g->name, sizeof(stall.name) - 1);
}

/* `in_order`: the VM has left the Lua stack as it should be, or nearly: it may be moving it just now. Then a bad address may
 * come up, and there are no lines. */
static void note_lines(bool in_order)
{
	sigjmp_buf back;

	if (sigsetjmp(back, 1) == 0) {
		gr_hub.on_fault = &back;
		note_site();
		if (in_order && gr_watchdog_asks.lines)
			stall.length = gr_watchdog_asks.lines(stall.lines, sizeof(stall.lines));
	}
	gr_hub.on_fault = NULL;
}

static void note_place(const ucontext_t *context)
{
	struct walk walk = {.interrupted = (void *)pc_of(context)};

	stall.place = SOMEWHERE;
	stall.frames = 0;
	if (unwinder_at_work(pc_of(context), sp_of(context)))
		return;
	_Unwind_Backtrace(look_at_frame, &walk);
	if (stall.on_green && stall.place >= IN_C && stall.place != IN_VM)
		note_lines(stall.place != IN_COMPILED);
}

/* True where no lock of the C library or the dynamic linker can be held: in the VM and in its compiled code. */
static bool outside_libc(const void *pc)
{
	struct dl_find_object object;

	return _dl_find_object((void *)pc, &object) != 0 || object.dlfo_map_start == vm_text.dlfo_map_start;
}

static void answer(const ucontext_t *context)
{
	note_thread(gr_current);
	note_place(context);
	stall.told_by_handler = stall.length > 0;
	if (!stall.told_by_handler && stall.on_green && gr_watchdog_asks.arm)
		gr_watchdog_asks.arm();
	atomic_store(&stall.answered, true);
}

static void on_signal(int number, siginfo_t *info, void *context)
{
	int saved = errno;

	(void)number;
	if (info->si_code == SI_TIMER)
		gr_watchdog_tick(outside_libc((const void *)pc_of(context)));
	else if (atomic_load(&stall.asked) && !atomic_load(&stall.answered))
		answer(context);
	errno = saved;
}

/* ---- In the hook ---- */

void gr_watchdog_at(const char *lines, size_t n)
{
	if (!atomic_load(&stall.asked) || atomic_load(&stall.placed) || stall.switches != gr_switches)
		return;
	stall.length = n < LINES ? n : LINES;
	memcpy(stall.lines, lines, stall.length);
	note_site();
	atomic_store(&stall.placed, true);
}

/* ---- On the watchdog's OS thread ---- */

static const struct {
	long number;
	const char *name;
	bool ends; /* by a signal, whatever SA_RESTART says */
} calls[] = {
	{SYS_read, "read", false},
	{SYS_write, "write", false},
	{SYS_readv, "readv", false},
	{SYS_writev, "writev", false},
	{SYS_pread64, "pread", false},
	{SYS_pwrite64, "pwrite", false},
	{SYS_recvfrom, "recv", false},
	{SYS_recvmsg, "recvmsg", false},
	{SYS_sendto, "send", false},
	{SYS_sendmsg, "sendmsg", false},
	{SYS_connect, "connect", false},
	{SYS_accept, "accept", false},
	{SYS_accept4, "accept", false},
	{SYS_openat, "open", false},
	{SYS_flock, "flock", false},
	{SYS_fcntl, "fcntl", false},
	{SYS_ioctl, "ioctl", false},
	{SYS_fsync, "fsync", false},
	{SYS_fdatasync, "fdatasync", false},
	{SYS_wait4, "wait", false},
	{SYS_waitid, "wait", false},
	{SYS_futex, "futex (a lock)", false},
	{SYS_clone, "clone (a new process)", false},
#ifdef SYS_poll
	{SYS_poll, "poll", true},
	{SYS_select, "select", true},
	{SYS_epoll_wait, "epoll_wait", true},
	{SYS_pause, "pause", true},
#endif
	{SYS_ppoll, "poll", true},
	{SYS_pselect6, "select", true},
	{SYS_epoll_pwait, "epoll_wait", true},
	{SYS_nanosleep, "nanosleep", true},
	{SYS_clock_nanosleep, "nanosleep", true},
	{SYS_rt_sigtimedwait, "sigwait", true},
	{SYS_rt_sigsuspend, "sigsuspend", true},
	{SYS_semtimedop, "semop", true},
	{SYS_io_getevents, "io_getevents", true},
};

enum { N_CALLS = sizeof(calls) / sizeof(*calls) };

static ssize_t read_task_file(pid_t tid, const char *name, char *text, size_t size)
{
	char path[64];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/%s", tid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	n = read(fd, text, size - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	return n;
}

bool gr_stall_is_blocked(pid_t tid)
{
	char text[512], *state;

	if (read_task_file(tid, "stat", text, sizeof(text)) <= 0)
		return false;
	/* The program's name, in brackets, may hold anything. */
	state = strrchr(text, ')');
	return state && state[1] == ' ' && (state[2] == 'S' || state[2] == 'D');
}

static bool signal_is_ours(void)
{
	struct sigaction now;

	return sigaction(SIGURG, NULL, &now) == 0 && (now.sa_flags & SA_SIGINFO) && now.sa_sigaction == on_signal;
}

static int find_call(long number)
{
	for (int i = 0; i < N_CALLS; i++)
		if (calls[i].number == number)
			return i;
	return -1;
}

/* The number of the system call that the thread is in, -1 if in none, -2 if that cannot be told. */
static long current_call(pid_t tid)
{
	char text[256], *end;
	long number;

	if (read_task_file(tid, "syscall", text, sizeof(text)) <= 0)
		return -2;
	number = strtol(text, &end, 10);
	return end == text ? -1 : number;
}

bool gr_stall_ask(pthread_t loop, pid_t tid)
{
	bool blocked = gr_stall_is_blocked(tid);
	int i;

	stall.call = blocked ? current_call(tid) : -1;
	i = find_call(stall.call);
	stall.length = 0;
	stall.lines_told = stall.told_by_handler = false;
	stall.frames = 0;
	stall.place = SOMEWHERE;
	atomic_store(&stall.placed, false);
	atomic_store(&stall.answered, false);
	atomic_store(&stall.asked, true);
	if (stall.call == -2 || (i >= 0 && calls[i].ends) || (blocked && i < 0 && stall.call >= 0) ||
	    !signal_is_ours()) {
		note_thread(gr_current);
		return true;
	}
	pthread_kill(loop, SIGURG);
	return false;
}

bool gr_stall_answered(void)
{
	return atomic_load(&stall.answered);
}

bool gr_stall_placed(void)
{
	return atomic_load(&stall.placed) || stall.told_by_handler;
}

struct text {
	size_t n;
	char buffer[LINES + 2048];
};

static void add(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(struct text *t, const char *format, ...)
{
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(t->buffer + t->n, sizeof(t->buffer) - t->n, format, ap);
	va_end(ap);
	t->n += n < 0 ? 0 : (size_t)n;
	if (t->n >= sizeof(t->buffer))
		t->n = sizeof(t->buffer) - 1;
}

static void add_thread(struct text *t)
{
	if (!stall.on_green)
		add(t, "the loop's own code");
	else
		add(t, stall.name[0] ? "thread #%llu \"%s\"" : "thread #%llu", (unsigned long long)stall.id,
		    stall.name);
}

static void add_call(struct text *t)
{
	int i = find_call(stall.call);

	if (i >= 0)
		add(t, ", blocked in the system call %s", calls[i].name);
	else if (stall.call >= 0)
		add(t, ", blocked in system call %ld", stall.call);
}

/* file.so: function, innermost first. Where Lua lines follow, those without a name say nothing more. */
static void add_frames(struct text *t)
{
	int shown = 0;

	for (int i = 0; i < stall.frames && shown < SHOWN; i++) {
		const char *file, *slash;
		Dl_info info;

		if (dladdr(stall.pc[i], &info) == 0 || (stall.told_by_handler && info.dli_sname == NULL))
			continue;
		file = info.dli_fname ? info.dli_fname : "?";
		slash = strrchr(file, '/');
		file = slash ? slash + 1 : file;
		shown++;
		if (info.dli_sname)
			add(t, "\n\t[C] %s: %s", file, info.dli_sname);
		else
			add(t, "\n\t[C] %s+0x%lx", file,
			    (unsigned long)((const char *)stall.pc[i] - (const char *)info.dli_fbase));
	}
}

static void add_lines(struct text *t)
{
	if (t->n + stall.length >= sizeof(t->buffer))
		return;
	memcpy(t->buffer + t->n, stall.lines, stall.length);
	t->n += stall.length;
	stall.lines_told = true;
}

static void add_place(struct text *t)
{
	static const char *const names[] = {
		[SOMEWHERE] = "",
		[IN_C] = ", in C",
		[IN_VM] = ", in LuaJIT",
		[IN_VM_CALL] = ", in a function of Lua's library or the collector",
		[IN_COMPILED] = ", in compiled code",
	};
	bool lua = atomic_load(&stall.placed);

	add_call(t);
	if (lua)
		add(t, ", in Lua");
	else
		add(t, "%s", names[stall.place]);
	if (stall.site[0])
		add(t, "; spawned at %s", stall.site);
	if (!lua && !stall.told_by_handler && stall.what)
		add(t, "; it waited last on %s", stall.what);
	if (!lua && stall.place != IN_COMPILED)
		add_frames(t);
	if (lua || stall.told_by_handler)
		add_lines(t);
}

bool gr_stall_report(double seconds, uint64_t untold)
{
	struct text t = {0};

	if (stall.switches != __atomic_load_n(&gr_switches, __ATOMIC_RELAXED))
		return false;
	add_thread(&t);
	add(&t,
	    stall.call >= 0 ? " keeps all others waiting: %.0f ms"
			    : " keeps all others waiting: %.0f ms without a switch",
	    seconds * 1000);
	add_place(&t);
	if (untold > 0)
		add(&t, "\n\t(stalls since the last report that were not reported: %llu)", (unsigned long long)untold);
	gr_log_text(GR_LOG_WARN, t.buffer, t.n);
	return true;
}

void gr_stall_report_end(double seconds)
{
	struct text t = {0};
	bool late = atomic_load(&stall.placed) && !stall.lines_told;

	add_thread(&t);
	add(&t, " ran %.3g s without a switch", seconds);
	if (late) {
		add(&t, "; it came back to Lua at");
		add_lines(&t);
	}
	gr_log_text(GR_LOG_WARN, t.buffer, t.n);
	atomic_store(&stall.asked, false);
}

void gr_stall_init(void)
{
	struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART}, now;

	if (gr_watchdog_asks.vm)
		_dl_find_object((void *)gr_watchdog_asks.vm, &vm_text);
	_dl_find_object((void *)_Unwind_Backtrace, &unwinder_text);
	sigemptyset(&action.sa_mask);
	if (sigaction(SIGURG, NULL, &now) == 0 && (now.sa_handler == SIG_DFL || now.sa_handler == SIG_IGN))
		sigaction(SIGURG, &action, NULL);
}
