/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/mesh.h"

#include <assert.h>
#include <ck_ring.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

/* ck_ring orders by assembler that ThreadSanitizer cannot see: it is told here. The accesses
   inside ck_ring.h itself are in tests/tsan.supp. */
#ifdef __SANITIZE_THREAD__
void __tsan_acquire(void *address);
void __tsan_release(void *address);
#define mesh_tsan_acquire(address) __tsan_acquire(address)
#define mesh_tsan_release(address) __tsan_release(address)
#else
#define mesh_tsan_acquire(address) ((void)(address))
#define mesh_tsan_release(address) ((void)(address))
#endif

/* What one thread touches often, on cache lines of its own. */
struct mesh_endpoint {
    _Alignas(64) struct parcel *free; /* LIFO, so that warm parcels are used again first */
    unsigned free_count;
    unsigned cursor;                  /* whose ring mesh_next looks at next */
    struct ring *ring;
    bool posted[MESH_THREAD_MAX];     /* rings that were empty when we posted to them */
    struct parcel *self_first, *self_last; /* posted to ourselves */
    char *block; /* all parcels of this pool */
};

/* From one parcel to the next. A cache line more than their size: at a power of two the heads of
   all parcels would fall on the same few lines of the caches. */
#define PARCEL_STRIDE (PARCEL_SIZE + 64)
#define PARCEL_WARM   (sizeof(struct parcel) + 768) /* what a usual message takes of it */

/* One direction between two threads. */
struct mesh_lane {
    _Alignas(64) ck_ring_t ring;
    ck_ring_buffer_t *slots;
};

struct mesh {
    unsigned thread_count, parcel_count;
    unsigned lane_size; /* slots of a lane: more than all parcels, so an enqueue never fails */
    struct mesh_endpoint *endpoints;
    struct mesh_lane *lanes; /* [source * thread_count + target] */
};

static struct mesh_lane *mesh_lane(struct mesh *mesh, unsigned source, unsigned target)
{
    assert(source < mesh->thread_count);
    assert(target < mesh->thread_count);
    return &mesh->lanes[source * mesh->thread_count + target];
}

static int mesh_open_lanes(struct mesh *mesh)
{
    size_t count = (size_t)mesh->thread_count * mesh->thread_count;
    mesh->lanes = aligned_alloc(64, count * sizeof(*mesh->lanes));
    if (mesh->lanes == NULL)
        return -ENOMEM;
    memset(mesh->lanes, 0, count * sizeof(*mesh->lanes));
    for (size_t i = 0; i < count; i++) {
        struct mesh_lane *lane = &mesh->lanes[i];
        lane->slots = calloc(mesh->lane_size, sizeof(*lane->slots));
        if (lane->slots == NULL)
            return -ENOMEM;
        ck_ring_init(&lane->ring, mesh->lane_size);
    }
    return 0;
}

static int mesh_open_pool(struct mesh *mesh, unsigned self)
{
    struct mesh_endpoint *endpoint = &mesh->endpoints[self];
    size_t size = (size_t)mesh->parcel_count * PARCEL_STRIDE;
    /* mmap: untouched pages of parcels that were never used cost nothing. */
    char *block = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED)
        return -ENOMEM;
    endpoint->block = block;
    for (unsigned i = mesh->parcel_count; i > 0; i--) {
        struct parcel *parcel = (struct parcel *)(void *)(block + (size_t)(i - 1) * PARCEL_STRIDE);
        parcel->magic = PARCEL_MAGIC;
        parcel->home = (uint16_t)self;
        parcel->next = endpoint->free;
        endpoint->free = parcel;
    }
    endpoint->free_count = mesh->parcel_count;
    return 0;
}

int mesh_open(struct mesh **result, unsigned thread_count, unsigned parcel_count)
{
    *result = NULL;
    if (thread_count == 0 || thread_count > MESH_THREAD_MAX ||
        parcel_count <= MESH_CONTROL_RESERVE || (parcel_count & (parcel_count - 1)) != 0)
        return -EINVAL;
    struct mesh *mesh = calloc(1, sizeof(*mesh));
    if (mesh == NULL)
        return -ENOMEM;
    mesh->thread_count = thread_count;
    mesh->parcel_count = parcel_count;
    /* A ck_ring holds one less than its size; a power of two above the sum of all pools. */
    mesh->lane_size = 2;
    while (mesh->lane_size <= thread_count * parcel_count)
        mesh->lane_size *= 2;
    int status = -ENOMEM;
    mesh->endpoints = aligned_alloc(64, thread_count * sizeof(*mesh->endpoints));
    if (mesh->endpoints == NULL)
        goto fail;
    memset(mesh->endpoints, 0, thread_count * sizeof(*mesh->endpoints));
    status = mesh_open_lanes(mesh);
    for (unsigned i = 0; status == 0 && i < thread_count; i++)
        status = mesh_open_pool(mesh, i);
    if (status != 0)
        goto fail;
    *result = mesh;
    return 0;
fail:
    mesh_close(&mesh);
    return status;
}

void mesh_close(struct mesh **place)
{
    struct mesh *mesh = *place;
    *place = NULL;
    if (mesh == NULL)
        return;
    for (unsigned i = 0; mesh->endpoints != NULL && i < mesh->thread_count; i++) {
        if (mesh->endpoints[i].block != NULL)
            munmap(mesh->endpoints[i].block, (size_t)mesh->parcel_count * PARCEL_STRIDE);
    }
    for (size_t i = 0; mesh->lanes != NULL && i < (size_t)mesh->thread_count * mesh->thread_count;
         i++)
        free(mesh->lanes[i].slots);
    free(mesh->lanes);
    free(mesh->endpoints);
    free(mesh);
}

void mesh_attach(struct mesh *mesh, unsigned self, struct ring *ring)
{
    assert(self < mesh->thread_count);
    mesh->endpoints[self].ring = ring;
}

bool mesh_has(const struct mesh *mesh, unsigned self, enum mesh_class class)
{
    assert(self < mesh->thread_count);
    return mesh->endpoints[self].free_count > (class == MESH_TRAFFIC ? MESH_CONTROL_RESERVE : 0);
}

unsigned mesh_free(const struct mesh *mesh, unsigned self)
{
    assert(self < mesh->thread_count);
    unsigned count = mesh->endpoints[self].free_count;
    return count > MESH_CONTROL_RESERVE ? count - MESH_CONTROL_RESERVE : 0;
}

/* Other threads had it: its lines come from their caches while the one before it is filled. */
static void mesh_prefetch(const struct parcel *parcel)
{
    for (size_t at = 0; parcel != NULL && at < PARCEL_WARM; at += 64)
        __builtin_prefetch((const char *)parcel + at, 1);
}

struct parcel *mesh_take(struct mesh *mesh, unsigned self, enum mesh_class class)
{
    struct mesh_endpoint *endpoint = &mesh->endpoints[self];
    if (!mesh_has(mesh, self, class))
        return NULL;
    struct parcel *parcel = endpoint->free;
    assert(parcel->magic == PARCEL_MAGIC);
    assert(parcel->kind == PARCEL_FREE);
    endpoint->free = parcel->next;
    endpoint->free_count--;
    mesh_prefetch(endpoint->free);
    memset(parcel, 0, sizeof(*parcel));
    parcel->magic = PARCEL_MAGIC;
    parcel->home = (uint16_t)self;
    parcel->left = mesh_free(mesh, self);
    return parcel;
}

void mesh_give(struct mesh *mesh, unsigned self, struct parcel **place)
{
    struct parcel *parcel = *place;
    *place = NULL;
    assert(parcel->magic == PARCEL_MAGIC);
    assert(parcel->home == self);
    struct mesh_endpoint *endpoint = &mesh->endpoints[self];
    parcel->kind = PARCEL_FREE;
    parcel->next = endpoint->free;
    endpoint->free = parcel;
    endpoint->free_count++;
    assert(endpoint->free_count <= mesh->parcel_count);
}

static void mesh_post_self(struct mesh_endpoint *endpoint, struct parcel *parcel)
{
    parcel->next = NULL;
    if (endpoint->self_last != NULL)
        endpoint->self_last->next = parcel;
    else
        endpoint->self_first = parcel;
    endpoint->self_last = parcel;
}

void mesh_post(struct mesh *mesh, unsigned self, unsigned target, struct parcel **place)
{
    struct parcel *parcel = *place;
    *place = NULL;
    assert(parcel->magic == PARCEL_MAGIC);
    assert(parcel->kind != PARCEL_FREE);
    struct mesh_endpoint *endpoint = &mesh->endpoints[self];
    parcel->source = (uint16_t)self;
    if (target == self) {
        mesh_post_self(endpoint, parcel);
        return;
    }
    struct mesh_lane *lane = mesh_lane(mesh, self, target);
    /* Releases the parcel's content; pairs with the dequeue in mesh_next. */
    mesh_tsan_release(lane);
    bool queued = ck_ring_enqueue_spsc(&lane->ring, lane->slots, parcel);
    assert(queued);
    endpoint->posted[target] = true;
}

void mesh_return(struct mesh *mesh, unsigned self, struct parcel **place)
{
    struct parcel *parcel = *place;
    parcel->is_return = true;
    mesh_post(mesh, self, parcel->home, place);
}

struct parcel *mesh_next(struct mesh *mesh, unsigned self)
{
    assert(self < mesh->thread_count);
    struct mesh_endpoint *endpoint = &mesh->endpoints[self];
    struct parcel *parcel = endpoint->self_first;
    if (parcel != NULL) {
        endpoint->self_first = parcel->next;
        if (endpoint->self_first == NULL)
            endpoint->self_last = NULL;
        parcel->next = NULL;
        return parcel;
    }
    for (unsigned i = 0; i < mesh->thread_count; i++) {
        unsigned source = endpoint->cursor;
        struct mesh_lane *lane = mesh_lane(mesh, source, self);
        endpoint->cursor = (endpoint->cursor + 1) % mesh->thread_count;
        if (source == self)
            continue;
        /* Acquires what the producer wrote; pairs with the enqueue in mesh_post. */
        if (ck_ring_dequeue_spsc(&lane->ring, lane->slots, &parcel)) {
            mesh_tsan_acquire(lane);
            assert(parcel->magic == PARCEL_MAGIC);
            parcel->next = NULL;
            return parcel;
        }
    }
    return NULL;
}

void mesh_flush(struct mesh *mesh, unsigned self)
{
    struct mesh_endpoint *endpoint = &mesh->endpoints[self];
    for (unsigned target = 0; target < mesh->thread_count; target++) {
        if (!endpoint->posted[target])
            continue;
        endpoint->posted[target] = false;
        /* ring_wake is free while a wake-up of the target is still pending. */
        if (mesh->endpoints[target].ring != NULL)
            ring_wake(mesh->endpoints[target].ring);
    }
}

unsigned mesh_out(const struct mesh *mesh, unsigned self)
{
    assert(self < mesh->thread_count);
    return mesh->parcel_count - mesh->endpoints[self].free_count;
}

unsigned mesh_thread_count(const struct mesh *mesh)
{
    return mesh->thread_count;
}
