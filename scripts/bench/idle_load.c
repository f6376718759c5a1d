/* SPDX-License-Identifier: MIT */
/* The client of the idle bench: opens connections, each of which exchanges one message (so that the server has served it)
 * and then is silent, and reports what one weighs in the server: the growth of its memory by the last of them, divided by
 * their number. The first connections are not counted, so that what the server sets up only once is not either.
 * usage: idle_load PORT PID CONNECTIONS [http]     http: the message is a request */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FIRST = 500 };

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

/* A field of the process's smaps_rollup in KiB. */
static double memory(const char *pid, const char *field)
{
	char path[64], line[256], format[32];
	double kib = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%s/smaps_rollup", pid);
	snprintf(format, sizeof(format), "%s: %%lf", field);
	file = fopen(path, "r");
	if (file == NULL)
		fail(path);
	while (kib < 0 && fgets(line, sizeof(line), file))
		sscanf(line, format, &kib);
	fclose(file);
	return kib;
}

static const char PING[] = "ping", REQUEST[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

static void open_one(int port, const char *message)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	char answer[4];

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		fail("connect");
	if (send(fd, message, strlen(message), 0) != (ssize_t)strlen(message) || recv(fd, answer, 4, MSG_WAITALL) != 4)
		fail("no answer");
}

int main(int argc, char **argv)
{
	int port = argc > 3 ? atoi(argv[1]) : 0, n = argc > 3 ? atoi(argv[3]) : 0;
	const char *message = argc > 4 && strcmp(argv[4], "http") == 0 ? REQUEST : PING;
	double rss, pss;

	if (port <= 0 || n <= 0) {
		fprintf(stderr, "usage: idle_load PORT PID CONNECTIONS [http]\n");
		return 2;
	}
	for (int i = 0; i < FIRST; i++)
		open_one(port, message);
	rss = memory(argv[2], "Rss");
	pss = memory(argv[2], "Pss");
	for (int i = 0; i < n; i++)
		open_one(port, message);
	sleep(1); /* whatever the server still puts away */
	printf("connections=%d rss_kib=%.3f pss_kib=%.3f\n", n, (memory(argv[2], "Rss") - rss) / n,
	       (memory(argv[2], "Pss") - pss) / n);
	return 0;
}
