/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The listening UNIX socket of the control thread: its file, and who may open it. */
#ifndef PASSERELLE_CORE_CONTROL_SOCKET_H
#define PASSERELLE_CORE_CONTROL_SOCKET_H

#include "proto/span.h"

/* Listens at `path`, readable for owner and group only; takes the place of a socket file that
   nobody answers. -EADDRINUSE when somebody does, -EEXIST when it is another kind of file. */
int control_socket_open(const char *path, int backlog, int *fd) MUST_USE;

#endif
