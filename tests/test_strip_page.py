"""The page of a strip, in a browser: its keys and its slider, and that it asks for nothing else."""

import json

from browser import MARKS, opened
from diffusion_lab.figures import Token, TokenStrip, strip_page

pytestmark = MARKS


def test_keys_and_slider_show_one_snapshot_at_a_time_and_print_shows_all(tmp_path):
    rows = [[Token(None)] * 200, [Token("a", 0.5)] * 200, [Token("</script>", 0.7)] * 200]
    page = tmp_path / "strip.html"
    page.write_text(strip_page(TokenStrip("Denoising", ["start", "t = 0.50", "t = 0.00"], [rows] * 2)).html)
    with opened(tmp_path / "profile", (700, 900)) as browser:
        browser.get(page.as_uri())

        def shown():
            seen = "[...document.querySelectorAll('li')].filter(line => line.offsetHeight > 0)"
            return browser.execute_script(f"return {seen}.map(line => line.dataset.number).join('')")

        def press(key):
            browser.execute_script(f"document.dispatchEvent(new KeyboardEvent('keydown', {{key: '{key}'}}))")
            return shown()

        assert shown() == "012012"
        assert [press(key) for key in ("ArrowLeft", "Home", "ArrowLeft", "End")] == ["11", "00", "00", "22"]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
        assert shown() == "012012"
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "screen"})
        browser.find_element("id", "single").click()
        assert shown() == "012012"
        assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        assert browser.get_log("browser") == []
        told = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
        asked = [one["params"] for one in told if one["method"] == "Network.requestWillBeSent"]
        assert {one["request"]["url"] for one in asked if one["documentURL"] == page.as_uri()} == {page.as_uri()}
