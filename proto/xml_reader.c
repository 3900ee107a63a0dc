/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/xml_reader.h"

#include <assert.h>

#include "proto/xml_stream_priv.h"

/* Expat keeps a buffer of twice what it is fed at once, so it is fed small slices. */
#define SLICE_SIZE 2048
/* What is worth keeping: more streams than this seldom have half a stanza at the same time. */
#define SPARE_MAX 16
/* Expat remembers every name it has seen, and a large stanza leaves large buffers. */
#define SPARE_SIZE_MAX 65536

struct xml_pool {
    const struct memory *memory;
    struct xml_reader *spare;
    size_t spare_count;
};

struct xml_pool *xml_pool_open(const struct memory *memory)
{
    assert(memory != NULL);
    struct xml_pool *pool = memory->alloc(memory->context, sizeof *pool);
    if (pool != NULL)
        *pool = (struct xml_pool){.memory = memory};
    return pool;
}

void xml_pool_close(struct xml_pool **pool)
{
    struct xml_pool *old = *pool;
    *pool = NULL;
    if (old == NULL)
        return;
    while (old->spare != NULL) {
        struct xml_reader *reader = old->spare;
        old->spare = reader->next;
        xml_reader_close(&reader);
    }
    old->memory->release(old->memory->context, old);
}

struct xml_reader *xml_reader_open(const struct memory *memory)
{
    struct xml_reader *reader = memory->alloc(memory->context, sizeof *reader);
    if (reader == NULL)
        return NULL;
    /* Not the bindings, of which few are ever used. */
    memset(reader, 0, offsetof(struct xml_reader, names));
    reader->names.count = 0;
    reader->next = NULL;
    xml_account_init(&reader->account, memory, sizeof *reader);
    xml_tree_init(&reader->tree, &reader->account.memory);
    xml_account_enter(&reader->account);
    reader->expat = XML_ParserCreate_MM("UTF-8", xml_account_suite(), NULL);
    xml_account_leave();
    if (reader->expat == NULL)
        xml_reader_close(&reader);
    else
        xml_handlers_install(reader);
    return reader;
}

void xml_reader_close(struct xml_reader **reader)
{
    struct xml_reader *old = *reader;
    *reader = NULL;
    if (old->expat != NULL)
        XML_ParserFree(old->expat);
    xml_tree_fini(&old->tree);
    xml_account_give(&old->account, old->input);
    assert(old->account.held == sizeof *old);
    const struct memory *memory = old->account.outer;
    memory->release(memory->context, old);
}

/* Nobody's root element; the handlers say nothing of it. */
static bool open_root(struct xml_reader *reader)
{
    static const char root[] = "<" XML_READER_ROOT ">";
    assert(reader->stream == NULL);
    xml_account_enter(&reader->account);
    enum XML_Status status = XML_Parse(reader->expat, root, (int)sizeof(root) - 1, XML_FALSE);
    xml_account_leave();
    reader->fed = reader->boundary = sizeof(root) - 1;
    return status == XML_STATUS_OK;
}

struct xml_reader *xml_reader_take(struct xml_pool *pool, const struct memory *memory)
{
    struct xml_reader *reader = pool != NULL ? pool->spare : NULL;
    if (reader != NULL) {
        pool->spare = reader->next;
        pool->spare_count--;
        return reader;
    }
    reader = xml_reader_open(memory);
    if (reader != NULL && !open_root(reader))
        xml_reader_close(&reader);
    return reader;
}

bool xml_reader_rests(const struct xml_reader *reader)
{
    return !reader->suspended && reader->input_start == reader->input_size &&
           reader->boundary == reader->fed && reader->tree.depth == 0;
}

void xml_reader_give(struct xml_pool *pool, struct xml_reader **given)
{
    struct xml_reader *reader = *given;
    assert(xml_reader_rests(reader));
    *given = NULL;
    xml_tree_reset(&reader->tree, true);
    if (pool == NULL || pool->spare_count == SPARE_MAX ||
        reader->account.held > SPARE_SIZE_MAX) {
        xml_reader_close(&reader);
        return;
    }
    reader->stream = NULL;
    reader->names.count = 0;
    reader->account.refused = false;
    reader->next = pool->spare;
    pool->spare = reader;
    pool->spare_count++;
}

void xml_reader_trim(struct xml_reader *reader)
{
    assert(reader->input_start == reader->input_size);
    xml_account_give(&reader->account, reader->input);
    reader->input = NULL;
    reader->input_capacity = reader->input_start = reader->input_size = 0;
    if (reader->tree.depth == 0)
        xml_tree_reset(&reader->tree, false);
}

char *xml_reader_room(struct xml_reader *reader, size_t size)
{
    if (size > reader->input_capacity) {
        xml_account_give(&reader->account, reader->input);
        reader->input_capacity = 0;
        reader->input = xml_account_take(&reader->account, size);
        if (reader->input == NULL) {
            /* The caller may try again when there is memory: this is no fault of the peer. */
            reader->account.refused = false;
            return NULL;
        }
        reader->input_capacity = size;
    }
    reader->input_start = reader->input_size = 0;
    return reader->input;
}

enum XML_Status xml_reader_run(struct xml_reader *reader)
{
    enum XML_Status status;
    xml_account_enter(&reader->account);
    if (reader->suspended) {
        status = XML_ResumeParser(reader->expat);
    } else {
        size_t size = reader->input_size - reader->input_start;
        if (size > SLICE_SIZE)
            size = SLICE_SIZE;
        const char *slice = reader->input + reader->input_start;
        reader->input_start += size;
        reader->fed += size;
        status = XML_Parse(reader->expat, slice, (int)size, XML_FALSE);
    }
    xml_account_leave();
    reader->suspended = status == XML_STATUS_SUSPENDED;
    return status;
}
