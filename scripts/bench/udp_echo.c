/* SPDX-License-Identifier: MIT */
/* Yardstick: a UDP echo server that does nothing but recvmmsg and sendmmsg, blocking, in batches of 64.
 *
 * Alone: cc -O2 -o udp_echo scripts/bench/udp_echo.c && ./udp_echo [PORT]
 * It prints its address and serves until SIGTERM. */
#include "bench.h"

enum { BATCH = 64, BUFFER = 2048 };

static struct mmsghdr messages[BATCH];
static struct iovec vectors[BATCH];
static struct sockaddr_in names[BATCH];
static char buffers[BATCH][BUFFER];

static void set_up(void)
{
	for (int i = 0; i < BATCH; i++) {
		messages[i].msg_hdr.msg_iov = &vectors[i];
		messages[i].msg_hdr.msg_iovlen = 1;
		messages[i].msg_hdr.msg_name = &names[i];
		messages[i].msg_hdr.msg_namelen = sizeof names[i];
		vectors[i].iov_base = buffers[i];
		vectors[i].iov_len = BUFFER;
	}
}

static void echo(int fd, int n)
{
	int done = 0, rc;

	for (int i = 0; i < n; i++)
		vectors[i].iov_len = messages[i].msg_len;
	while (done < n) {
		rc = sendmmsg(fd, messages + done, n - done, 0);
		done += rc > 0 ? rc : 1; /* one that cannot be sent is skipped */
	}
	for (int i = 0; i < n; i++) {
		vectors[i].iov_len = BUFFER;
		messages[i].msg_hdr.msg_namelen = sizeof names[i];
	}
}

int main(int argc, char **argv)
{
	int fd;

	fd = serve_on(SOCK_DGRAM, "udp", argc > 1 ? atoi(argv[1]) : 0);
	set_up();
	for (;;) {
		int n = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL);

		if (n > 0)
			echo(fd, n);
		else if (errno != EINTR)
			die("recvmmsg");
	}
}
