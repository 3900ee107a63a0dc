/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The certificates of tenants that a thread keeps ready: which are read when, and which go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "certificates.h"
#include "core/config.h"
#include "core/stats.h"
#include "core/tls_store.h"

#define TENANTS 5

struct scene {
    struct certificates files;
    struct config *config;
    struct thread thread;
    struct tls_store store;
    char path[256];
};

static void write_config(struct scene *scene, unsigned certificates_max)
{
    FILE *file = fopen(scene->path, "w");
    assert_non_null(file);
    fprintf(file, "xmpp: {certificate: own.pem, key: own.key, ca_file: root.pem, "
                  "certificates_max: %u}\ntenants:\n", certificates_max);
    for (unsigned i = 0; i < TENANTS; i++)
        fprintf(file, "- {domains: [t%u.example], trunks: [{uri: 'sip:192.0.2.1'}], "
                      "certificate: t.pem, key: t.key}\n", i);
    assert_int_equal(fclose(file), 0);
}

static struct config *loaded(const struct scene *scene, const struct config *previous)
{
    struct config *config = NULL;
    char error[600];
    const struct config_source source = {.path = scene->path, .previous = previous};
    if (config_read(&config, &source, error, sizeof(error)) != 0)
        fail_msg("%s", error);
    return config;
}

static void begin(struct scene *scene, unsigned certificates_max)
{
    char error[600];
    *scene = (struct scene){0};
    assert_int_equal(certificates_open(&scene->files), 0);
    assert_int_equal(certificates_root(&scene->files, "root"), 0);
    assert_int_equal(certificates_issue(&scene->files, "own", "root",
                                        "subjectAltName=DNS:own.example"), 0);
    assert_int_equal(certificates_issue(&scene->files, "t", "root",
                                        "subjectAltName=DNS:*.example"), 0);
    certificates_path(&scene->files, "c.yaml", scene->path);
    write_config(scene, certificates_max);
    scene->config = loaded(scene, NULL);
    scene->thread = (struct thread){.config = scene->config,
                                    .stats = stats_open(scene->config->tenant_slots)};
    assert_non_null(scene->thread.stats);
    assert_int_equal(tls_store_open(&scene->store, &scene->thread, TLS_STORE_XMPP, error,
                                    sizeof(error)), 0);
}

static void end(struct scene *scene)
{
    tls_store_close(&scene->store);
    stats_close(&scene->thread.stats);
    config_close(&scene->config);
    certificates_close(&scene->files);
}

static struct tls_context *context_of(struct scene *scene, unsigned tenant)
{
    return tls_store_of(&scene->store, &scene->config->tenants[tenant]);
}

static void test_they_are_read_when_needed(void **state)
{
    (void)state;
    struct scene scene;
    begin(&scene, 1024);
    assert_int_equal(scene.store.entries.count, 0); /* none at the start */
    struct tls_context *context = context_of(&scene, 1);
    assert_ptr_not_equal(context, scene.store.common);
    assert_ptr_equal(context_of(&scene, 1), context);
    assert_ptr_equal(tls_store_choose(&scene.store, "t1.example"), context);
    assert_ptr_equal(tls_store_choose(&scene.store, "other.example"), scene.store.common);
    assert_int_equal(scene.store.entries.count, 1);
    end(&scene);
}

static void test_the_least_used_one_goes(void **state)
{
    (void)state;
    struct scene scene;
    struct tls_session *session = NULL;
    begin(&scene, 2);
    struct tls_context *first = context_of(&scene, 0);
    assert_int_equal(tls_connect(&session, first, "x.example", TLS_ALPN_NONE), 0);
    (void)context_of(&scene, 1);
    assert_ptr_equal(context_of(&scene, 0), first); /* now the second one is the older one */
    (void)context_of(&scene, 2);
    assert_int_equal(scene.store.entries.count, 2);
    assert_ptr_equal(context_of(&scene, 0), first);
    for (unsigned i = 0; i < TENANTS; i++)
        assert_ptr_not_equal(context_of(&scene, i), scene.store.common);
    assert_int_equal(scene.store.entries.count, 2);
    /* What a session uses lives on with it. */
    struct net_buffer output;
    net_buffer_init(&output, 65536);
    assert_int_equal(tls_handshake(session, &output), TLS_MORE);
    net_buffer_fini(&output);
    tls_close(&session);
    end(&scene);
}

static void test_another_limit_after_a_reload(void **state)
{
    (void)state;
    struct scene scene;
    begin(&scene, 4);
    for (unsigned i = 0; i < TENANTS; i++)
        (void)context_of(&scene, i);
    assert_int_equal(scene.store.entries.count, 4);
    write_config(&scene, 1);
    struct config *next = loaded(&scene, scene.config);
    config_close(&scene.config);
    scene.config = next;
    scene.thread.config = next;
    (void)context_of(&scene, 0);
    assert_int_equal(scene.store.entries.count, 1);
    end(&scene);
}

/* One that has gone bad since it was checked. */
static void test_a_bad_one_leaves_the_common_one(void **state)
{
    (void)state;
    struct scene scene;
    begin(&scene, 4);
    assert_int_equal(certificates_run(&scene.files, "echo no > t.pem"), 0);
    assert_ptr_equal(context_of(&scene, 3), scene.store.common);
    assert_int_equal(scene.store.entries.count, 0);
    end(&scene);
}

/* A start takes what is there; a reload looks at the pair of a tenant that is new. */
static void test_a_new_tenant_is_looked_at_in_a_reload(void **state)
{
    (void)state;
    struct scene scene;
    struct config *config = NULL;
    char error[600];
    begin(&scene, 4);
    assert_int_equal(certificates_run(&scene.files,
                                      "echo no > bad.pem && sed -i 's/t4/new/; $ s/t.pem/bad.pem/' "
                                      "c.yaml"), 0);
    config = loaded(&scene, NULL);
    config_close(&config);
    const struct config_source source = {.path = scene.path, .previous = scene.config};
    assert_true(config_read(&config, &source, error, sizeof(error)) < 0);
    assert_non_null(strstr(error, "c.yaml:7: tenants[4].certificate: "));
    end(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_they_are_read_when_needed),
        cmocka_unit_test(test_the_least_used_one_goes),
        cmocka_unit_test(test_another_limit_after_a_reload),
        cmocka_unit_test(test_a_bad_one_leaves_the_common_one),
        cmocka_unit_test(test_a_new_tenant_is_looked_at_in_a_reload),
    };
    if (tls_start() != 0)
        return 1;
    int failures = cmocka_run_group_tests(tests, NULL, NULL);
    tls_stop();
    return failures;
}
