# SPDX-License-Identifier: GPL-3.0-or-later
"""What the README promises to newcomers, as they would type it."""
import re
import signal
import subprocess

from terminal import ROOT, Terminal

BUILD_S = 300
FOLDER = ROOT / "build/peers"


def test_quickstart_with_real_peers_ends_by_itself():
    result = subprocess.run([ROOT / "tools/quickstart", "--peers", "--once"], timeout=BUILD_S,
                            capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(r"bob's baresip shows: .*Wherefore art thou", result.stdout)
    assert re.search(r"juliet's client shows: .*Right here", result.stdout)
    assert re.search(r"juliet's client shows:  not delivered, item-not-found", result.stdout)
    assert not FOLDER.exists()


def test_the_lines_of_the_quickstart_work_by_hand():
    """romeo's profanity and alice's baresip, by the lines that it prints, chat both ways."""
    shown = subprocess.Popen([ROOT / "tools/peers/show"], stdout=subprocess.PIPE, text=True)
    try:
        lines = []
        for line in shown.stdout:
            lines.append(line)
            if line.startswith("and the configuration"):
                break
        text = "".join(lines)
        chat = re.search(r"^  (XDG_DATA_HOME.* profanity .*)$", text, re.M)[1]
        phone = re.search(r"^  (baresip .*)$", text, re.M)[1]
        with Terminal(chat) as romeo, Terminal(phone) as alice:
            alice.wait_for("200 OK")
            romeo.wait_for("logged in successfully")
            romeo.type("/msg alice@sip.example Good evening\r")
            alice.wait_for('"Good evening"')
            alice.type("/message Good evening, romeo\n")
            romeo.wait_for("Good evening, romeo")
    finally:
        shown.send_signal(signal.SIGINT)
        rest, _ = shown.communicate(timeout=30)
    assert "Ending everything" in rest
    assert not FOLDER.exists()
