/* SPDX-License-Identifier: MIT */
/* Finds the functions that ours stand in front of, and keeps grun's own calls away from ours.
 *
 * The linker (--wrap, see the Makefile) turns every call of an exported name from within this executable, libev's among
 * them, into one of __wrap_<name>: those below, which go straight on. Only calls of shared libraries reach the interposed
 * functions. */
#define _GNU_SOURCE
#include "posix/next.h"

#include <dlfcn.h>
#include <stdlib.h>

#include "posix/coop.h"
#include "posix/fdwait.h"

struct gr_next gr_next;

static const struct {
	const char *name;
	void *slot;
} names[] = {
	{"read", &gr_next.read},
	{"readv", &gr_next.readv},
	{"write", &gr_next.write},
	{"writev", &gr_next.writev},
	{"recv", &gr_next.recv},
	{"recvfrom", &gr_next.recvfrom},
	{"recvmsg", &gr_next.recvmsg},
	{"recvmmsg", &gr_next.recvmmsg},
	{"send", &gr_next.send},
	{"sendto", &gr_next.sendto},
	{"sendmsg", &gr_next.sendmsg},
	{"sendmmsg", &gr_next.sendmmsg},
	{"sendfile", &gr_next.sendfile},
	{"connect", &gr_next.connect},
	{"accept", &gr_next.accept},
	{"accept4", &gr_next.accept4},
	{"close", &gr_next.close},
	{"poll", &gr_next.poll},
	{"ppoll", &gr_next.ppoll},
	{"select", &gr_next.select},
	{"pselect", &gr_next.pselect},
	{"epoll_wait", &gr_next.epoll_wait},
	{"epoll_pwait", &gr_next.epoll_pwait},
	{"sleep", &gr_next.sleep},
	{"usleep", &gr_next.usleep},
	{"nanosleep", &gr_next.nanosleep},
	{"clock_nanosleep", &gr_next.clock_nanosleep},
	{"waitpid", &gr_next.waitpid},
	{"wait4", &gr_next.wait4},
	{"waitid", &gr_next.waitid},
	{"system", &gr_next.system},
	{"popen", &gr_next.popen},
	{"pclose", &gr_next.pclose},
	{"exit", &gr_next.exit},
	{"flock", &gr_next.flock},
	{"lockf", &gr_next.lockf},
	{"getaddrinfo", &gr_next.getaddrinfo},
	{"getnameinfo", &gr_next.getnameinfo},
	{"gethostbyname2", &gr_next.gethostbyname2},
	{"gethostbyname2_r", &gr_next.gethostbyname2_r},
	{"gethostbyaddr", &gr_next.gethostbyaddr},
	{"gethostbyaddr_r", &gr_next.gethostbyaddr_r},
	{"pthread_mutex_lock", &gr_next.mutex_lock},
	{"pthread_mutex_trylock", &gr_next.mutex_trylock},
	{"pthread_mutex_unlock", &gr_next.mutex_unlock},
	{"pthread_rwlock_rdlock", &gr_next.rwlock_rdlock},
	{"pthread_rwlock_wrlock", &gr_next.rwlock_wrlock},
	{"pthread_rwlock_tryrdlock", &gr_next.rwlock_tryrdlock},
	{"pthread_rwlock_trywrlock", &gr_next.rwlock_trywrlock},
	{"pthread_rwlock_unlock", &gr_next.rwlock_unlock},
	{"pthread_once", &gr_next.once},
};

static void find_next(void)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		*(void **)names[i].slot = dlsym(RTLD_NEXT, names[i].name);
		if (*(void **)names[i].slot == NULL)
			abort();
	}
}

/* Before the constructors of any library, which may call what is found here. */
__attribute__((section(".preinit_array"), used)) static void (*const preinit)(void) = find_next;

/* ---- grun's own calls ---- */

ssize_t __wrap_read(int fd, void *buf, size_t n);
ssize_t __wrap_readv(int fd, const struct iovec *iov, int n);
ssize_t __wrap_write(int fd, const void *buf, size_t n);
ssize_t __wrap_writev(int fd, const struct iovec *iov, int n);
ssize_t __wrap_recv(int fd, void *buf, size_t n, int flags);
ssize_t __wrap_recvfrom(int fd, void *buf, size_t n, int flags, struct sockaddr *from, socklen_t *len);
ssize_t __wrap_recvmsg(int fd, struct msghdr *msg, int flags);
int __wrap_recvmmsg(int fd, struct mmsghdr *msgs, unsigned n, int flags, struct timespec *timeout);
ssize_t __wrap_send(int fd, const void *buf, size_t n, int flags);
ssize_t __wrap_sendto(int fd, const void *buf, size_t n, int flags, const struct sockaddr *to, socklen_t len);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags);
int __wrap_sendmmsg(int fd, struct mmsghdr *msgs, unsigned n, int flags);
ssize_t __wrap_sendfile(int out, int in, off_t *offset, size_t n);
ssize_t __wrap_sendfile64(int out, int in, off_t *offset, size_t n);
int __wrap_connect(int fd, const struct sockaddr *to, socklen_t len);
int __wrap_accept(int fd, struct sockaddr *from, socklen_t *len);
int __wrap_accept4(int fd, struct sockaddr *from, socklen_t *len, int flags);
int __wrap_close(int fd);
int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout);
int __wrap_ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask);
int __wrap_select(int n, fd_set *r, fd_set *w, fd_set *e, struct timeval *timeout);
int __wrap_epoll_wait(int fd, struct epoll_event *events, int n, int timeout);
int __wrap_nanosleep(const struct timespec *wanted, struct timespec *left);
int __wrap_usleep(useconds_t microseconds);
pid_t __wrap_waitpid(pid_t pid, int *status, int options);
pid_t __wrap_wait4(pid_t pid, int *status, int options, struct rusage *usage);
int __wrap_waitid(idtype_t type, id_t id, siginfo_t *info, int options);
void __wrap_exit(int status);
int __wrap_flock(int fd, int operation);
int __wrap_pthread_mutex_lock(pthread_mutex_t *m);
int __wrap_pthread_mutex_trylock(pthread_mutex_t *m);
int __wrap_pthread_mutex_unlock(pthread_mutex_t *m);
int __wrap_pthread_once(pthread_once_t *once, void (*init)(void));

ssize_t __wrap_read(int fd, void *buf, size_t n)
{
	return gr_next.read(fd, buf, n);
}

ssize_t __wrap_readv(int fd, const struct iovec *iov, int n)
{
	return gr_next.readv(fd, iov, n);
}

ssize_t __wrap_write(int fd, const void *buf, size_t n)
{
	return gr_next.write(fd, buf, n);
}

ssize_t __wrap_writev(int fd, const struct iovec *iov, int n)
{
	return gr_next.writev(fd, iov, n);
}

ssize_t __wrap_recv(int fd, void *buf, size_t n, int flags)
{
	return gr_next.recv(fd, buf, n, flags);
}

ssize_t __wrap_recvfrom(int fd, void *buf, size_t n, int flags, struct sockaddr *from, socklen_t *len)
{
	return gr_next.recvfrom(fd, buf, n, flags, from, len);
}

ssize_t __wrap_recvmsg(int fd, struct msghdr *msg, int flags)
{
	return gr_next.recvmsg(fd, msg, flags);
}

int __wrap_recvmmsg(int fd, struct mmsghdr *msgs, unsigned n, int flags, struct timespec *timeout)
{
	return gr_next.recvmmsg(fd, msgs, n, flags, timeout);
}

ssize_t __wrap_send(int fd, const void *buf, size_t n, int flags)
{
	return gr_next.send(fd, buf, n, flags);
}

ssize_t __wrap_sendto(int fd, const void *buf, size_t n, int flags, const struct sockaddr *to, socklen_t len)
{
	return gr_next.sendto(fd, buf, n, flags, to, len);
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	return gr_next.sendmsg(fd, msg, flags);
}

int __wrap_sendmmsg(int fd, struct mmsghdr *msgs, unsigned n, int flags)
{
	return gr_next.sendmmsg(fd, msgs, n, flags);
}

ssize_t __wrap_sendfile(int out, int in, off_t *offset, size_t n)
{
	return gr_next.sendfile(out, in, offset, n);
}

ssize_t __wrap_sendfile64(int out, int in, off_t *offset, size_t n)
{
	return gr_next.sendfile(out, in, offset, n);
}

int __wrap_connect(int fd, const struct sockaddr *to, socklen_t len)
{
	return gr_next.connect(fd, to, len);
}

int __wrap_accept(int fd, struct sockaddr *from, socklen_t *len)
{
	return gr_next.accept(fd, from, len);
}

int __wrap_accept4(int fd, struct sockaddr *from, socklen_t *len, int flags)
{
	return gr_next.accept4(fd, from, len, flags);
}

/* A library may wait for a descriptor that grun closes. */
int __wrap_close(int fd)
{
	if (gr_coop_on)
		gr_fdwait_closing(fd);
	return gr_next.close(fd);
}

int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout)
{
	return gr_next.poll(fds, n, timeout);
}

int __wrap_ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask)
{
	return gr_next.ppoll(fds, n, timeout, mask);
}

int __wrap_select(int n, fd_set *r, fd_set *w, fd_set *e, struct timeval *timeout)
{
	return gr_next.select(n, r, w, e, timeout);
}

int __wrap_epoll_wait(int fd, struct epoll_event *events, int n, int timeout)
{
	return gr_next.epoll_wait(fd, events, n, timeout);
}

int __wrap_nanosleep(const struct timespec *wanted, struct timespec *left)
{
	return gr_next.nanosleep(wanted, left);
}

int __wrap_usleep(useconds_t microseconds)
{
	return gr_next.usleep(microseconds);
}

pid_t __wrap_waitpid(pid_t pid, int *status, int options)
{
	return gr_next.waitpid(pid, status, options);
}

pid_t __wrap_wait4(pid_t pid, int *status, int options, struct rusage *usage)
{
	return gr_next.wait4(pid, status, options, usage);
}

int __wrap_waitid(idtype_t type, id_t id, siginfo_t *info, int options)
{
	return gr_next.waitid(type, id, info, options);
}

void __wrap_exit(int status)
{
	gr_coop_on = false;
	gr_next.exit(status);
}

int __wrap_flock(int fd, int operation)
{
	return gr_next.flock(fd, operation);
}

int __wrap_pthread_mutex_lock(pthread_mutex_t *m)
{
	return gr_next.mutex_lock(m);
}

int __wrap_pthread_mutex_trylock(pthread_mutex_t *m)
{
	return gr_next.mutex_trylock(m);
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t *m)
{
	return gr_next.mutex_unlock(m);
}

int __wrap_pthread_once(pthread_once_t *once, void (*init)(void))
{
	return gr_next.once(once, init);
}
