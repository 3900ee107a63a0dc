/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/ramp.h"

#include <assert.h>

void ramp_start(struct ramp *ramp, double first, double most)
{
    assert(first > 0 && most > 0);
    *ramp = (struct ramp){.most = most, .next = first < most ? first : most};
}

static double ramp_choose(const struct ramp *ramp)
{
    if (ramp->failed == 0) {
        if (ramp->held >= ramp->most)
            return 0;
        return 2 * ramp->held < ramp->most ? 2 * ramp->held : ramp->most;
    }
    if (ramp->held == 0)
        return ramp->failed / 2 >= RAMP_LEAST ? ramp->failed / 2 : 0;
    return ramp->failed > ramp->held * RAMP_NEAR ? (ramp->held + ramp->failed) / 2 : 0;
}

void ramp_tell(struct ramp *ramp, bool held)
{
    assert(ramp->next > 0);
    if (!held && !ramp->again) {
        ramp->again = true;
        return;
    }
    ramp->again = false;
    if (held)
        ramp->held = ramp->next;
    else
        ramp->failed = ramp->next;
    ramp->next = ramp_choose(ramp);
}
