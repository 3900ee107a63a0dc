/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/precis.h"

#include <assert.h>

#include <unicase.h>
#include <unictype.h>
#include <uninorm.h>

#include "proto/utf8.h"

/* One pass and three more, RFC 8264 §7. */
#define PASSES_MAX 4

struct text {
    uint32_t data[PRECIS_SIZE_MAX];
    size_t count;
};

enum property { PVALID, FREE_PVAL, CONTEXT, DISALLOWED };

/* RFC 8264 §9.6 (the exceptions of RFC 5892 §2.6); FREE_PVAL stands for "no exception". */
static enum property exception(uint32_t c)
{
    switch (c) {
    case 0x00DF:
    case 0x03C2:
    case 0x06FD:
    case 0x06FE:
    case 0x0F0B:
    case 0x3007: return PVALID;
    case 0x00B7:
    case 0x0375:
    case 0x05F3:
    case 0x05F4:
    case 0x30FB: return CONTEXT;
    case 0x0640:
    case 0x07FA:
    case 0x302E:
    case 0x302F:
    case 0x303B: return DISALLOWED;
    default: break;
    }
    if (c >= 0x3031 && c <= 0x3035)
        return DISALLOWED;
    bool is_arabic_digit = (c >= 0x0660 && c <= 0x0669) || (c >= 0x06F0 && c <= 0x06F9);
    return is_arabic_digit ? CONTEXT : FREE_PVAL;
}

/* Leading, vowel and trailing jamo, RFC 8264 §9.9. */
static bool is_old_hangul_jamo(uint32_t c)
{
    return (c >= 0x1100 && c <= 0x11FF) || (c >= 0xA960 && c <= 0xA97C) ||
           (c >= 0xD7B0 && c <= 0xD7FB);
}

/* NFKC makes at most 18 code points of one and NFC at most 3 (UAX #15 §11): with so much room
   libunistring puts the result into our memory and hands out none of its own. */
enum { NFKC_EXPANSION_MAX = 18, NFC_EXPANSION_MAX = 3 };

/* NFKC changes it, RFC 8264 §9.17. */
static bool has_compatibility(uint32_t c)
{
    uint32_t buffer[NFKC_EXPANSION_MAX];
    size_t count = NFKC_EXPANSION_MAX;
    uint32_t *result = u32_normalize(UNINORM_NFKC, &c, 1, buffer, &count);
    if (result == NULL)
        return true;
    assert(result == buffer);
    return count != 1 || buffer[0] != c;
}

/* The algorithm of RFC 8264 §8, in its order. */
static enum property derive(uint32_t c)
{
    enum property special = exception(c);
    if (special != FREE_PVAL)
        return special;
    if (c >= 0x21 && c <= 0x7E)
        return PVALID;
    if (uc_is_general_category(c, UC_UNASSIGNED) || is_old_hangul_jamo(c))
        return DISALLOWED;
    if (c == 0x200C || c == 0x200D)
        return CONTEXT;
    if (uc_is_property_default_ignorable_code_point(c) || uc_is_property_not_a_character(c) ||
        uc_is_general_category(c, UC_CONTROL))
        return DISALLOWED;
    if (has_compatibility(c))
        return FREE_PVAL;
    const uint32_t letters = UC_CATEGORY_MASK_Ll | UC_CATEGORY_MASK_Lu | UC_CATEGORY_MASK_Lo |
                             UC_CATEGORY_MASK_Nd | UC_CATEGORY_MASK_Lm | UC_CATEGORY_MASK_Mn |
                             UC_CATEGORY_MASK_Mc;
    if (uc_is_general_category_withtable(c, letters))
        return PVALID;
    const uint32_t others = UC_CATEGORY_MASK_Lt | UC_CATEGORY_MASK_Nl | UC_CATEGORY_MASK_No |
                            UC_CATEGORY_MASK_Me | UC_CATEGORY_MASK_Zs | UC_CATEGORY_MASK_S |
                            UC_CATEGORY_MASK_P;
    return uc_is_general_category_withtable(c, others) ? FREE_PVAL : DISALLOWED;
}

static bool has_script(uint32_t c, const char *name)
{
    const uc_script_t *script = uc_script(c);
    return script != NULL && strcmp(script->name, name) == 0;
}

static bool has_range(const struct text *text, uint32_t first, uint32_t last)
{
    for (size_t i = 0; i < text->count; i++)
        if (text->data[i] >= first && text->data[i] <= last)
            return true;
    return false;
}

static bool has_japanese(const struct text *text)
{
    for (size_t i = 0; i < text->count; i++)
        if (has_script(text->data[i], "Hiragana") || has_script(text->data[i], "Katakana") ||
            has_script(text->data[i], "Han"))
            return true;
    return false;
}

/* RFC 5892 A.1: the joiner stands between two characters that join. */
static bool joins(const struct text *text, size_t at)
{
    size_t left = at, right = at + 1;
    while (left > 0 && uc_joining_type(text->data[left - 1]) == UC_JOINING_TYPE_T)
        left--;
    while (right < text->count && uc_joining_type(text->data[right]) == UC_JOINING_TYPE_T)
        right++;
    if (left == 0 || right == text->count)
        return false;
    int before = uc_joining_type(text->data[left - 1]);
    int after = uc_joining_type(text->data[right]);
    return (before == UC_JOINING_TYPE_L || before == UC_JOINING_TYPE_D) &&
           (after == UC_JOINING_TYPE_R || after == UC_JOINING_TYPE_D);
}

/* The contextual rules of RFC 5892 appendix A. */
static bool context_allows(const struct text *text, size_t at)
{
    uint32_t c = text->data[at];
    uint32_t before = at > 0 ? text->data[at - 1] : 0;
    uint32_t after = at + 1 < text->count ? text->data[at + 1] : 0;
    bool is_after_virama = at > 0 && uc_combining_class(before) == UC_CCC_VR;
    switch (c) {
    case 0x200C: return is_after_virama || joins(text, at);
    case 0x200D: return is_after_virama;
    case 0x00B7: return before == 'l' && after == 'l';
    case 0x0375: return has_script(after, "Greek");
    case 0x05F3:
    case 0x05F4: return has_script(before, "Hebrew");
    case 0x30FB: return has_japanese(text);
    default: break;
    }
    assert(exception(c) == CONTEXT);
    return c <= 0x0669 ? !has_range(text, 0x06F0, 0x06F9) : !has_range(text, 0x0660, 0x0669);
}

static bool has_class(const struct text *text, enum precis_profile profile)
{
    for (size_t i = 0; i < text->count; i++) {
        enum property property = derive(text->data[i]);
        if (property == DISALLOWED)
            return false;
        if (property == FREE_PVAL && profile == PRECIS_USERNAME)
            return false;
        if (property == CONTEXT && !context_allows(text, i))
            return false;
    }
    return true;
}

static void map_width(struct text *text)
{
    for (size_t i = 0; i < text->count; i++) {
        int tag;
        ucs4_t decomposed[UC_DECOMPOSITION_MAX_LENGTH];
        int count = uc_decomposition(text->data[i], &tag, decomposed);
        if (count == 1 && (tag == UC_DECOMP_WIDE || tag == UC_DECOMP_NARROW))
            text->data[i] = decomposed[0];
    }
}

/* Simple mapping of each character: the final sigma rule of full strings would make the result
   depend on the context. */
static void map_case(struct text *text)
{
    for (size_t i = 0; i < text->count; i++)
        text->data[i] = uc_tolower(text->data[i]);
}

static void map_spaces(struct text *text)
{
    for (size_t i = 0; i < text->count; i++)
        if (uc_is_general_category(text->data[i], UC_SPACE_SEPARATOR))
            text->data[i] = ' ';
}

static bool normalize(struct text *text)
{
    uint32_t wide[NFC_EXPANSION_MAX * PRECIS_SIZE_MAX];
    size_t count = sizeof wide / sizeof *wide;
    uint32_t *result = u32_normalize(UNINORM_NFC, text->data, text->count, wide, &count);
    if (result == NULL)
        return false;
    assert(result == wide);
    bool fits = count <= PRECIS_SIZE_MAX;
    if (fits)
        memcpy(text->data, wide, count * sizeof *wide);
    text->count = fits ? count : 0;
    return fits;
}

static uint32_t bidi_bit(int class)
{
    assert(class >= 0 && class < 32);
    return (uint32_t)1 << class;
}

static bool has_bidi(uint32_t c, uint32_t mask)
{
    return (bidi_bit(uc_bidi_category(c)) & mask) != 0;
}

/* RFC 5893 §2, for a string with right-to-left characters in it. */
static bool obeys_bidi_rule(const struct text *text)
{
    const uint32_t rtl = bidi_bit(UC_BIDI_R) | bidi_bit(UC_BIDI_AL);
    const uint32_t numbers = bidi_bit(UC_BIDI_EN) | bidi_bit(UC_BIDI_AN);
    const uint32_t neutral = bidi_bit(UC_BIDI_ES) | bidi_bit(UC_BIDI_CS) |
                             bidi_bit(UC_BIDI_ET) | bidi_bit(UC_BIDI_ON) |
                             bidi_bit(UC_BIDI_BN) | bidi_bit(UC_BIDI_NSM);
    uint32_t seen = 0;
    for (size_t i = 0; i < text->count; i++)
        seen |= bidi_bit(uc_bidi_category(text->data[i]));
    if ((seen & (rtl | bidi_bit(UC_BIDI_AN))) == 0)
        return true;
    /* Condition 1 with such a character anywhere: only a label that starts right-to-left may
       have them (conditions 2 and 5). */
    if (!has_bidi(text->data[0], rtl) || (seen & ~(rtl | numbers | neutral)) != 0)
        return false;
    size_t last = text->count;
    while (last > 0 && has_bidi(text->data[last - 1], bidi_bit(UC_BIDI_NSM)))
        last--;
    return last > 0 && has_bidi(text->data[last - 1], rtl | numbers) &&
           (seen & numbers) != numbers;
}

static bool apply(enum precis_profile profile, struct text *text)
{
    switch (profile) {
    case PRECIS_USERNAME:
        map_width(text);
        if (!has_class(text, profile))
            return false;
        map_case(text);
        return normalize(text) && obeys_bidi_rule(text);
    case PRECIS_OPAQUE:
        if (!has_class(text, profile))
            return false;
        map_spaces(text);
        return normalize(text);
    }
    return false;
}

static bool decode(struct span bytes, struct text *text)
{
    text->count = 0;
    while (bytes.size > 0) {
        assert(text->count < PRECIS_SIZE_MAX);
        size_t size = utf8_decode(bytes, &text->data[text->count]);
        if (size == 0)
            return false;
        text->count++;
        bytes = span_from(bytes, size);
    }
    return true;
}

static size_t encode(const struct text *text, char *out)
{
    size_t used = 0;
    for (size_t i = 0; i < text->count; i++) {
        char bytes[4];
        size_t size = utf8_encode(text->data[i], bytes);
        if (size > PRECIS_SIZE_MAX - used)
            return 0;
        memcpy(out + used, bytes, size);
        used += size;
    }
    return used;
}

static bool same(const struct text *a, const struct text *b)
{
    return a->count == b->count && memcmp(a->data, b->data, a->count * sizeof *a->data) == 0;
}

size_t precis_prepare(enum precis_profile profile, struct span text, char *out)
{
    struct text current, before;
    if (text.size == 0 || text.size > PRECIS_SIZE_MAX || !decode(text, &current))
        return 0;
    for (int pass = 0; pass < PASSES_MAX; pass++) {
        before.count = current.count;
        memcpy(before.data, current.data, current.count * sizeof *current.data);
        if (!apply(profile, &current) || current.count == 0)
            return 0;
        if (same(&before, &current))
            return encode(&current, out);
    }
    return 0;
}
