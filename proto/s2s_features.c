/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/s2s_features.h"

#include "proto/sm.h"
#include "proto/xml_stream.h"

static void read_mechanisms(struct s2s_features *features, const struct xml_node *node)
{
    for (const struct xml_node *one = node->first_child; one; one = one->next) {
        if (!xml_node_is(one, SPAN(NS_SASL), SPAN("mechanism")))
            continue;
        struct span name = span_trim(xml_node_text(one));
        if (span_equal(name, SPAN("EXTERNAL")))
            features->external = true;
        if (features->mechanism_count < S2S_MECHANISM_MAX)
            features->mechanisms[features->mechanism_count++] = name;
    }
}

/* Digits only; 0 for anything else and for what does not fit. */
static uint32_t read_number(const struct xml_node *node)
{
    struct span text = span_trim(node != NULL ? xml_node_text(node) : SPAN_NONE);
    uint64_t number = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || number > UINT32_MAX / 10)
            return 0;
        number = number * 10 + (uint64_t)(text.data[i] - '0');
    }
    return number <= UINT32_MAX ? (uint32_t)number : 0;
}

void s2s_limits_read(const struct xml_node *node, uint32_t *max_bytes, uint32_t *idle_seconds)
{
    const struct xml_node *limits = xml_node_child(node, SPAN(NS_LIMITS), SPAN("limits"));
    *max_bytes = *idle_seconds = 0;
    if (limits == NULL)
        return;
    *max_bytes = read_number(xml_node_child(limits, SPAN(NS_LIMITS), SPAN("max-bytes")));
    *idle_seconds =
        read_number(xml_node_child(limits, SPAN(NS_LIMITS), SPAN("idle-seconds")));
}

void s2s_features_read(struct s2s_features *features, const struct xml_node *node)
{
    *features = (struct s2s_features){.starttls = false};
    for (const struct xml_node *child = node->first_child; child; child = child->next) {
        if (xml_node_is(child, SPAN(NS_TLS), SPAN("starttls"))) {
            features->starttls = true;
            features->starttls_required =
                xml_node_child(child, SPAN(NS_TLS), SPAN("required")) != NULL;
        } else if (xml_node_is(child, SPAN(NS_SASL), SPAN("mechanisms"))) {
            read_mechanisms(features, child);
        } else if (xml_node_is(child, SPAN(NS_DIALBACK_FEATURE), SPAN("dialback"))) {
            features->dialback = true;
        } else if (xml_node_is(child, SPAN(NS_SM), SPAN("sm"))) {
            features->sm = true;
        } else if (xml_node_is(child, SPAN(NS_BIDI_FEATURE), SPAN("bidi"))) {
            features->bidi = true;
        }
    }
    s2s_limits_read(node, &features->max_bytes, &features->idle_seconds);
}

static void write_limit(struct writer *writer, struct span name, uint32_t limit)
{
    if (limit == 0)
        return;
    writer_put_char(writer, '<');
    writer_put(writer, name);
    writer_put_char(writer, '>');
    writer_put_uint(writer, limit);
    writer_put_literal(writer, "</");
    writer_put(writer, name);
    writer_put_char(writer, '>');
}

void s2s_features_write(const struct s2s_features *features, struct writer *writer)
{
    writer_put_literal(writer, "<stream:features>");
    if (features->starttls && features->starttls_required)
        writer_put_literal(writer, "<starttls xmlns='" NS_TLS "'><required/></starttls>");
    else if (features->starttls)
        writer_put_literal(writer, "<starttls xmlns='" NS_TLS "'/>");
    if (features->external)
        writer_put_literal(writer, "<mechanisms xmlns='" NS_SASL
                                   "'><mechanism>EXTERNAL</mechanism></mechanisms>");
    if (features->dialback)
        writer_put_literal(writer,
                           "<dialback xmlns='" NS_DIALBACK_FEATURE "'><errors/></dialback>");
    if (features->bidi)
        writer_put_literal(writer, "<bidi xmlns='" NS_BIDI_FEATURE "'/>");
    if (features->sm)
        writer_put_literal(writer, SM_FEATURE);
    if (features->max_bytes > 0 || features->idle_seconds > 0) {
        writer_put_literal(writer, "<limits xmlns='" NS_LIMITS "'>");
        write_limit(writer, SPAN("max-bytes"), features->max_bytes);
        write_limit(writer, SPAN("idle-seconds"), features->idle_seconds);
        writer_put_literal(writer, "</limits>");
    }
    writer_put_literal(writer, "</stream:features>");
}
