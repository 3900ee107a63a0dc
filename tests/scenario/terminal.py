# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs for people, on a terminal: what is typed, and all that was on the screen."""
import os
import pathlib
import pty
import signal
import threading

import peers

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Terminal:
    """A shell command, started in the project's folder; words before it may set variables."""

    def __init__(self, command):
        self.screen, self._text = "", bytearray()
        self.process, self._terminal = pty.fork()
        if self.process == 0:
            os.chdir(ROOT)
            os.environ.update(TERM="xterm", LINES="24", COLUMNS="100")
            os.execv("/bin/sh", ["sh", "-c", f"exec env {command}"])
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self):
        while True:
            try:
                self._text += os.read(self._terminal, 4096)
            except OSError:
                return
            self.screen = self._text.decode(errors="replace")

    def type(self, text):
        os.write(self._terminal, text.encode())

    def wait_for(self, text):
        peers.wait_for(f"{text!r} on the screen of {self.screen[-2000:]!r}",
                       lambda: text in self.screen)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.kill(self.process, signal.SIGTERM)
        os.waitpid(self.process, 0)


class Baresip(Terminal):
    """baresip without sound, registered by UDP; `contact` is whom its messages go to."""

    def __init__(self, folder, uri, proxy_port, contact):
        folder.mkdir()
        (folder / "config").write_text(
            f"sip_listen {peers.ADDRESS}:0\nnet_interface {peers.ADDRESS}\n"
            "module_path /usr/lib/baresip/modules\nmodule stdio.so\nmodule_tmp account.so\n"
            "module_app contact.so\nmodule_app menu.so\n")
        (folder / "accounts").write_text(
            f"<{uri}>;regint=600;answermode=manual;"
            f'outbound="sip:{peers.ADDRESS}:{proxy_port};transport=udp"\n')
        (folder / "contacts").write_text(f'"contact" <{contact}>\n')
        (folder / "current_contact").write_text(contact)
        super().__init__(f"baresip -f {folder}")

    def send(self, text):
        self.type(f"/message {text}\n")
