/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The two clocks. The simulation links its own. Any thread. */
#ifndef PASSERELLE_NET_CLOCK_H
#define PASSERELLE_NET_CLOCK_H

#include <stdint.h>

/* Monotonic nanoseconds. */
uint64_t clock_now_ns(void);
/* Milliseconds since the epoch, UTC. */
uint64_t clock_wall_ms(void);

#endif
