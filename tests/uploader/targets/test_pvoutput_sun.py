from datetime import UTC, datetime

import astral.sun
from hypothesis import given
from hypothesis import strategies as st

from services.uploader.targets.pvoutput.sun import elevation


@given(st.floats(1.5e9, 2.2e9), st.floats(-66, 66), st.floats(-180, 180))
def test_the_sun_is_where_astral_sees_it(time: float, latitude: float, longitude: float) -> None:
    observer = astral.Observer(latitude, longitude, 0.0)
    seen = astral.sun.elevation(observer, datetime.fromtimestamp(time, UTC), with_refraction=False)
    assert abs(elevation(time, latitude, longitude) - seen) < 0.1
