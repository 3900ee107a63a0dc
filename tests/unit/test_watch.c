/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The watch over the files of a configuration, with a clock of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "config_folder.h"
#include "core/tenant_file.h"
#include "core/watch.h"

#define PAUSE_NS (WATCH_PAUSE_MS * 1000000ull)

struct scene {
    struct watch watch;
    struct config *config;
    uint64_t now_ns;
};

/* certbot's order of things: live/a has links into archive/a. */
static void make_files(void)
{
    assert_int_equal(system("rm -rf live archive more/*.yaml t.db && mkdir -p live/a archive/a"), 0);
    write_file("archive/a/cert1.pem", "certificate", 0644);
    write_file("archive/a/key1.pem", "key", 0600);
    assert_int_equal(symlink("../../archive/a/cert1.pem", "live/a/cert.pem"), 0);
    assert_int_equal(symlink("../../archive/a/key1.pem", "live/a/key.pem"), 0);
    write_file("main.yaml",
               "global: {watch: true}\n" XMPP "include: more\ntenants_file: sqlite:t.db\n"
               "tenants:\n- {domains: [a.example], certificate: live/a/cert.pem, key: "
               "live/a/key.pem, trunks: [{uri: 'sip:192.0.2.1'}]}\n", 0644);
    write_file("more/1.yaml", "partners: [{domain: x.example}]\n", 0644);
    struct tenant_file *file = NULL;
    char error[300];
    assert_int_equal(tenant_file_open(&file, "t.db", TENANT_FILE_WRITE, error, sizeof(error)), 0);
    assert_int_equal(tenant_file_commit(file), 0);
    tenant_file_close(&file);
}

static void arm(struct scene *scene)
{
    *scene = (struct scene){.config = opened("main.yaml"), .now_ns = 1};
    watch_init(&scene->watch);
    watch_arm(&scene->watch, scene->config, scene->now_ns);
    assert_true(scene->watch.fd >= 0);
    assert_false(watch_turn(&scene->watch, scene->config, scene->now_ns));
    assert_false(scene->watch.is_due);
}

static void begin(struct scene *scene)
{
    make_files();
    arm(scene);
}

static void end(struct scene *scene)
{
    watch_fini(&scene->watch);
    config_close(&scene->config);
}

static bool turn(struct scene *scene, uint64_t after_ns)
{
    scene->now_ns += after_ns;
    return watch_turn(&scene->watch, scene->config, scene->now_ns);
}

/* A change has just been made: it is told when it has stayed for two looks, once; then the new
   files are read, and nothing is to be told any more. */
static void check_change(struct scene *scene)
{
    assert_false(turn(scene, 0));
    assert_false(turn(scene, PAUSE_NS - 1));
    assert_false(turn(scene, 1));
    assert_true(turn(scene, PAUSE_NS));
    assert_false(turn(scene, 10 * PAUSE_NS));
    config_close(&scene->config);
    scene->config = opened("main.yaml");
    watch_arm(&scene->watch, scene->config, scene->now_ns);
    assert_false(turn(scene, 10 * PAUSE_NS));
    assert_false(scene->watch.is_due);
}

static void test_changes_are_seen(void **state)
{
    (void)state;
    static const char *const changes[] = {
        "sed s/192.0.2.1/192.0.2.2/ main.yaml > new && mv new main.yaml",
        "echo '# more' >> main.yaml",
        "echo 'partners: [{domain: y.example}]' > more/2.yaml",
        "rm more/2.yaml",
        "echo '# more' >> more/1.yaml",
        "touch dev/xmpp.pem",
        "cp -p dev/xmpp.key new && mv new dev/xmpp.key",
        /* The links are set to new files; a file behind a link is written anew. */
        "echo c > archive/a/cert2.pem && ln -sf ../../archive/a/cert2.pem live/a/cert.pem",
        "echo d > new && mv new archive/a/cert2.pem",
        "chmod 640 archive/a/key1.pem",
    };
    struct scene scene;
    begin(&scene);
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        assert_int_equal(system(changes[i]), 0);
        check_change(&scene);
    }
    struct tenant_file *file = NULL;
    char error[300];
    assert_int_equal(tenant_file_open(&file, "t.db", TENANT_FILE_WRITE, error, sizeof(error)), 0);
    assert_int_equal(tenant_file_put(file, TENANT_TABLE_PARTNERS, "z.example", "{}"), 0);
    assert_false(turn(&scene, 10 * PAUSE_NS)); /* not before it is committed */
    assert_false(turn(&scene, 10 * PAUSE_NS));
    assert_int_equal(tenant_file_commit(file), 0);
    tenant_file_close(&file);
    check_change(&scene);
    end(&scene);
}

static void test_noise_is_none(void **state)
{
    (void)state;
    struct scene scene;
    begin(&scene);
    assert_int_equal(system("touch other && rm other && touch more/notes.txt live/a/README"), 0);
    assert_false(turn(&scene, 0));
    assert_true(scene.watch.is_due);
    assert_false(turn(&scene, PAUSE_NS));
    assert_false(scene.watch.is_due);
    end(&scene);
}

static void test_who_writes_slowly_is_waited_for(void **state)
{
    (void)state;
    struct scene scene;
    begin(&scene);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(system("echo '# more' >> main.yaml"), 0);
        assert_false(turn(&scene, PAUSE_NS));
    }
    assert_true(turn(&scene, PAUSE_NS));
    end(&scene);
}

/* The load that follows is refused; the same files are not tried again, others are. */
static void test_a_bad_change_is_told_once(void **state)
{
    (void)state;
    struct scene scene;
    begin(&scene);
    assert_int_equal(system("mv live gone"), 0);
    (void)turn(&scene, 0);
    (void)turn(&scene, PAUSE_NS);
    assert_true(turn(&scene, PAUSE_NS));
    watch_arm(&scene.watch, scene.config, scene.now_ns);
    assert_false(turn(&scene, PAUSE_NS));
    assert_int_equal(system("touch other && rm other"), 0);
    for (int i = 0; i < 3; i++)
        assert_false(turn(&scene, PAUSE_NS));
    assert_int_equal(system("mv gone live && touch -h live/a/cert.pem archive/a/cert1.pem"), 0);
    check_change(&scene);
    end(&scene);
}

/* The folder of included files is a link, which is set to another folder. */
static void test_a_linked_folder_is_seen(void **state)
{
    (void)state;
    struct scene scene;
    make_files();
    assert_int_equal(system("mkdir -p deep/a deep/b && cp more/1.yaml deep/a && ln -sfn a deep/more"), 0);
    assert_int_equal(system("sed -i 's|include: more|include: deep/more|' main.yaml"), 0);
    arm(&scene);
    assert_int_equal(system("cp deep/a/1.yaml deep/b && ln -s b deep/new && mv -T deep/new deep/more"), 0);
    check_change(&scene);
    end(&scene);
}

/* Between the load and the first look. */
static void test_an_early_change_is_seen(void **state)
{
    (void)state;
    make_files();
    struct scene scene = {.config = opened("main.yaml"), .now_ns = 1};
    watch_init(&scene.watch);
    assert_int_equal(system("echo '# more' >> main.yaml"), 0);
    watch_arm(&scene.watch, scene.config, scene.now_ns);
    assert_false(turn(&scene, 0));
    assert_true(turn(&scene, PAUSE_NS));
    end(&scene);
}

static void test_nothing_is_watched_unless_wanted(void **state)
{
    (void)state;
    struct scene scene;
    begin(&scene);
    scene.config->watch = false;
    watch_arm(&scene.watch, scene.config, scene.now_ns);
    assert_int_equal(scene.watch.fd, -1);
    assert_int_equal(system("echo '# more' >> main.yaml"), 0);
    assert_false(turn(&scene, 10 * PAUSE_NS));
    end(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_changes_are_seen),
        cmocka_unit_test(test_noise_is_none),
        cmocka_unit_test(test_who_writes_slowly_is_waited_for),
        cmocka_unit_test(test_a_bad_change_is_told_once),
        cmocka_unit_test(test_a_linked_folder_is_seen),
        cmocka_unit_test(test_an_early_change_is_seen),
        cmocka_unit_test(test_nothing_is_watched_unless_wanted),
    };
    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
