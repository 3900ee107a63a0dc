/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * For LD_PRELOAD into Kamailio 5.6, whose xmpp module ends with a segmentation fault at the first
 * element of any stream: it looks for an empty name behind the attributes, where expat has a null
 * pointer (xstream.c, _xode_put_expatattribs). Its handler gets a copy of the attributes with an
 * empty name at the end. That is all; nothing is made faster or slower but by this copy.
 */
#include <dlfcn.h>
#include <expat.h>
#include <stddef.h>

#define SHIM_ATTRIBUTES_MAX 64 /* name and value pairs; the generator's stanzas have four */

typedef void (*shim_set_fn)(XML_Parser, XML_StartElementHandler, XML_EndElementHandler);

static XML_StartElementHandler shim_handler; /* the module has one */

static void shim_start(void *context, const XML_Char *name, const XML_Char **attributes)
{
    const XML_Char *copy[2 * SHIM_ATTRIBUTES_MAX + 1];
    size_t i = 0;
    while (attributes[i] != NULL && i < 2 * SHIM_ATTRIBUTES_MAX) {
        copy[i] = attributes[i];
        i++;
    }
    copy[i] = "";
    shim_handler(context, name, copy);
}

void XML_SetElementHandler(XML_Parser parser, XML_StartElementHandler start,
                           XML_EndElementHandler end)
{
    union {
        void *symbol;
        shim_set_fn function;
    } real = {.symbol = dlsym(RTLD_NEXT, "XML_SetElementHandler")};
    shim_handler = start;
    real.function(parser, start != NULL ? shim_start : NULL, end);
}
