"""What the operator says at its end."""

from mailpush.controller.election import LeadershipLostError
from mailpush.controller.main import leaves


def test_the_end_of_leadership_is_told_with_its_reason_from_however_deep() -> None:
    lost = LeadershipLostError("the Lease was not renewed for 10 s")
    group = ExceptionGroup("outer", [ExceptionGroup("inner", [lost]), OSError("beside it")])
    assert [str(error) for error in leaves(group)] == [str(lost), "beside it"]
