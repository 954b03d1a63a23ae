"""Tiny Shakespeare: a million characters of plays (Karpathy 2015)."""

from __future__ import annotations

from diffusion_lab.data.downloaded_text import DownloadedText


class TinyShakespeare(DownloadedText):
    """1,115,394 characters, 65 different ones; arguments as in `DownloadedText`."""

    name = "tiny_shakespeare"
    place = "tinyshakespeare/input.txt"
    md5 = "6fb458f1232090904fb40fe944165e91"
    address = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
    characters = "\n !$&',-.3:;?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
