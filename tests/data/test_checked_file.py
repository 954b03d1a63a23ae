import pytest

from diffusion_lab.data.checked_file import check_file, short_reason
from diffusion_lab.errors import LabError


@pytest.mark.parametrize(("text", "found"), [("x" * 160, "x" * 160), ("x" * 161, "x" * 160 + "…"), (" a\n  b ", "a b")])
def test_a_reason_is_one_line_of_at_most_160_characters(text, found):
    assert short_reason(OSError(text)) == found


def test_a_file_is_checked_by_its_md5_and_named_where_it_cannot_be_read(tmp_path):
    path = tmp_path / "a"
    with pytest.raises(LabError, match=f"^cannot read {path}: No such file or directory$"):
        check_file(path, "")
    path.write_bytes(b"abc")
    check_file(path, "900150983cd24fb0d6963f7d28e17f72")  # as RFC 1321 has it
    with pytest.raises(LabError, match=r"is damaged \(3 bytes, md5 900150983cd24fb0d6963f7d28e17f72, expected 9\)"):
        check_file(path, "9")
