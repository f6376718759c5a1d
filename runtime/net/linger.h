/* SPDX-License-Identifier: MIT */
/* The last bytes of a connection that is closed already: they still go out when the socket has room. */
#ifndef GR_NET_LINGER_H
#define GR_NET_LINGER_H

#include <stddef.h>

/* Takes over the socket and copies the bytes, sends them without anybody waiting, then closes the socket; also when the
 * peer takes nothing for 10 s, or at once without memory. Does nothing for a negative descriptor. Never parks. */
void gr_linger(int fd, const char *data, size_t len);

#endif
