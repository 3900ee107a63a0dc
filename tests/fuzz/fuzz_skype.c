/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Exports of PowerShell: what cannot be read says why; what can becomes settings that the schema
   knows, never a partner who could prove himself by nothing, and each object has its row. */
#include "fuzz.h"
#include "tools/ctl_powershell.h"
#include "tools/ctl_skype.h"

static bool is(const json_t *pair, const char *key, const char *word)
{
    const char *text = json_string_value(json_object_get(pair, key));
    return text != NULL && strcmp(text, word) == 0;
}

static void check_pairs(const struct skype *skype)
{
    size_t i;
    const json_t *pair;
    json_array_foreach(skype->pairs, i, pair)
    {
        bool has_sasl = !is(pair, "sasl", "not_supported") && !is(pair, "tls", "not_supported");
        CHECK(json_is_string(json_object_get(pair, "tls")));
        CHECK(json_is_string(json_object_get(pair, "type")));
        CHECK(has_sasl || is(pair, "dialback", "true"));
    }
}

static void check_settings(const struct skype *skype, bool replaces)
{
    char problem[SETTINGS_PROBLEM_SIZE];
    json_t *settings = json_object();
    CHECK(skype_merge(skype, settings, replaces));
    CHECK(settings_tidy(settings, "tenants", problem));
    json_t *before = json_deep_copy(settings);
    CHECK(skype_merge(skype, settings, false)); /* again: there is nothing new */
    CHECK(settings_tidy(settings, "tenants", problem));
    CHECK(json_equal(before, settings));
    json_decref(before);
    json_decref(settings);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char problem[SETTINGS_PROBLEM_SIZE] = "";
    json_t *objects = powershell_read((const char *)data, size, problem);
    CHECK(objects != NULL || problem[0] != '\0');
    if (objects == NULL)
        return 0;
    struct skype skype;
    CHECK(skype_init(&skype));
    skype_take(&skype, "export", objects);
    skype_map(&skype);
    CHECK(json_array_size(skype.report) >= 1);
    check_pairs(&skype);
    check_settings(&skype, (size & 1) != 0);
    skype_fini(&skype);
    json_decref(objects);
    return 0;
}
