/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The mesh: one ck_ring (single producer, single consumer) from every thread to every other,
 * and a pool of parcels for each thread. Each ring can hold every parcel there is, so posting
 * never fails; the bound, and so the back-pressure, is the pool: a thread that cannot take a
 * parcel stops reading its source until one comes home. The last parcels of a pool are kept for
 * MESH_CONTROL, which is for parcels that come home soon, so that neither answers nor what is
 * handed from thread to thread wait for traffic. Wake-ups are batched: mesh_flush wakes each
 * thread that was posted to, once a turn; ring_wake costs nothing while one is pending.
 */
#ifndef PASSERELLE_CORE_MESH_H
#define PASSERELLE_CORE_MESH_H

#include "core/parcel.h"
#include "net/ring.h"

#define MESH_THREAD_MAX     64
#define MESH_CONTROL_RESERVE 64

enum mesh_class { MESH_TRAFFIC, MESH_CONTROL };

struct mesh;

/* `thread_count` threads with `parcel_count` parcels each (power of two). -ENOMEM, -EINVAL. */
int mesh_open(struct mesh **mesh, unsigned thread_count, unsigned parcel_count) MUST_USE;
void mesh_close(struct mesh **mesh); /* after every thread has ended */
/* Each thread says once which ring wakes it (before any thread runs traffic). */
void mesh_attach(struct mesh *mesh, unsigned self, struct ring *ring);

/* `self` is always the calling thread's index. NULL when the pool is empty for this class. The
   parcel is cleared but for its text. */
struct parcel *mesh_take(struct mesh *mesh, unsigned self, enum mesh_class class) MUST_USE;
/* True when mesh_take would give one. */
bool mesh_has(const struct mesh *mesh, unsigned self, enum mesh_class class);
/* How many parcels are left for MESH_TRAFFIC. */
unsigned mesh_free(const struct mesh *mesh, unsigned self);
/* Gives an own parcel back that was never posted or has come home; *parcel becomes NULL. */
void mesh_give(struct mesh *mesh, unsigned self, struct parcel **parcel);
/* Moves the parcel to thread `target` (may be self); *parcel becomes NULL. */
void mesh_post(struct mesh *mesh, unsigned self, unsigned target, struct parcel **parcel);
/* Sends it home with its outcome (directly readable there when home is self, through the
   ring). */
void mesh_return(struct mesh *mesh, unsigned self, struct parcel **parcel);
/* The next parcel that arrived; round-robin over the sources. NULL when there is none. */
struct parcel *mesh_next(struct mesh *mesh, unsigned self) MUST_USE;
/* Wakes whom we posted to since the last flush. Once per loop. */
void mesh_flush(struct mesh *mesh, unsigned self);
/* Parcels of this thread's pool that are out (ledger). */
unsigned mesh_out(const struct mesh *mesh, unsigned self);
unsigned mesh_thread_count(const struct mesh *mesh);

#endif
